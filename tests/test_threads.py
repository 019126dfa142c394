"""A thread that there is no room for is waited for; whatever else goes wrong is told."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from dashd import threads

Scarce = Callable[[int], list[object]]


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Scarce:
    """The first so many threads cannot be started; all that are asked for."""

    def begin(count: int) -> list[object]:
        run_sync, tries = trio.to_thread.run_sync, []

        async def start(function: Any, *arguments: object, **options: Any) -> object:
            tries.append(function)
            if len(tries) <= count:
                raise RuntimeError("can't start new thread")
            return await run_sync(function, *arguments, **options)

        monkeypatch.setattr(trio.to_thread, "run_sync", start)
        return tries

    monkeypatch.setattr(threads, "AGAIN_S", 0)
    return begin


async def test_it_is_waited_for(scarce: Scarce) -> None:
    tries = scarce(2)
    room = trio.CapacityLimiter(1)
    assert await threads.run(divmod, 7, 2, limiter=room) == (3, 1)
    assert tries == [divmod] * 3
    assert room.borrowed_tokens == 0


async def test_whoever_waits_can_be_cancelled(scarce: Scarce, monkeypatch: pytest.MonkeyPatch) -> None:
    scarce(99)
    monkeypatch.setattr(threads, "AGAIN_S", 1_000)
    with trio.move_on_after(0) as limit:
        await threads.run(divmod, 7, 2)
    assert limit.cancelled_caught


async def test_what_it_raises_itself_is_told() -> None:
    def fails() -> None:
        raise RuntimeError("of another kind")

    with pytest.raises(RuntimeError, match="of another kind"):
        await threads.run(fails)
