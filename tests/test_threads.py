"""A thread that there is no room for is waited for; whatever else goes wrong is told."""

import threading
from collections.abc import Callable

import pytest
import trio

from dashd import threads

Scarce = Callable[[int], list[str]]


async def test_it_is_waited_for(scarce: Scarce) -> None:
    tries = scarce(2)
    room = trio.CapacityLimiter(1)
    assert await threads.run(divmod, 7, 2, limiter=room) == (3, 1)
    assert tries == ["divmod"] * 3
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


async def test_whoever_can_go_without_is_told_that_there_is_none(scarce: Scarce) -> None:
    tries = scarce(1)
    with pytest.raises(threads.NoThread):
        await threads.at_once(divmod, 7, 2)
    assert await threads.at_once(divmod, 7, 2) == (3, 1)
    assert len(tries) == 2


async def test_what_must_be_done_is_done_here_where_there_is_none(scarce: Scarce) -> None:
    scarce(1)
    where = [await threads.or_here(threading.get_ident) for _ in range(2)]
    assert where[0] == threading.get_ident() != where[1]


async def test_one_that_is_left_to_itself_is_not_waited_for() -> None:
    ended = threading.Event()
    with trio.move_on_after(0.01) as limit:
        await threads.run(ended.wait, abandon_on_cancel=True)
    assert limit.cancelled_caught
    ended.set()


def test_only_that_one_error_is_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="of another kind"), threads.scarce():
        raise RuntimeError("of another kind")
