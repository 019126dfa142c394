"""What stands for a gateway has no method that the real one lacks, and none that is called otherwise."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from dashd.drivers.openclaw_client import Client
from dashd.runtime.gateway_connection import Connection
from dashd.runtime.gateway_log import GatewayLog
from tests.fakes import desk
from tests.fakes.gateway_attempts import FakeClient, FakeGateway, FakeLog


def _called(method: Callable[..., Any]) -> tuple[bool, list[tuple[str, Any, Any]]]:
    """Whether it is awaited, and what it takes; a name that is not used may have an underscore."""
    taken = inspect.signature(method).parameters.values()
    shown = [(each.name.strip("_"), each.kind, each.default) for each in taken]
    return inspect.iscoroutinefunction(method), shown


@pytest.mark.parametrize(
    ("fake", "real", "of_tests"),
    [
        (FakeClient, Client, {"end"}),
        (FakeGateway, Connection, set()),
        (FakeLog, GatewayLog, set()),
        (desk.FakeClient, Client, set()),
    ],
)
def test_its_methods_are_called_as_the_real_ones_are(fake, real, of_tests) -> None:
    found = {name: each for name, each in vars(fake).items() if callable(each) and not name.startswith("_")}
    methods = {name: _called(each) for name, each in found.items() if name not in of_tests}
    assert methods
    assert methods == {name: _called(getattr(real, name)) for name in methods}


async def test_it_has_what_is_known_of_every_gateway() -> None:
    bare: Any = type("Bare", (Connection,), dict.fromkeys(Connection.__abstractmethods__))
    fake, real = FakeGateway(), bare(None)
    for name in ("link", "boot_id", "tag", "starts", "warmth"):
        assert type(getattr(fake, name)) is type(getattr(real, name)), name
