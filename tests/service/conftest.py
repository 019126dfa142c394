"""A short way to call the service: by method name and parameters, as they are on the wire."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from dashd.service import HANDLERS
from dashd.service.core import Caller, Core
from dashd.wire import methods

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def call(core: Core, caller: Caller) -> Call:
    """`await call("swarm.create", task="t", …)`: decoded as dispatch does, the answer of the table's type."""

    async def made(method: str, **params: Any) -> Any:
        row = methods.METHODS[method]
        decoded = msgspec.json.decode(msgspec.json.encode(params), type=row.params)
        answer = HANDLERS[method](core, caller, decoded)
        answer = await answer if inspect.isawaitable(answer) else answer
        assert isinstance(answer, row.result)
        # It must also be what the wire promises, not only of that class.
        msgspec.json.decode(msgspec.json.encode(answer), type=row.result)
        return answer

    return made
