"""What must not be dropped waits for the disk, and says so."""

import pytest
import trio

from dashd.store import insist
from dashd.wire import errors


class _Writer:
    """Full for the first `refusals` tries."""

    def __init__(self, refusals: int, error: type[errors.DashError] = errors.StoreFull) -> None:
        self.refusals = refusals
        self.error = error
        self.at: list[float] = []

    async def apply(self, operation):
        await trio.lowlevel.checkpoint()
        self.at.append(trio.current_time())
        if len(self.at) <= self.refusals:
            raise self.error
        return operation(None)


async def test_a_full_disk_only_delays_it(autojump_clock) -> None:
    writer, told = _Writer(2), []
    began = trio.current_time()
    assert await insist.apply(writer, lambda tx: "done", told.append) == "done"
    assert [at - began for at in writer.at] == [0, 1, 2]
    assert told == [errors.StoreFull().message] * 2


async def test_a_broken_store_is_not_waited_for(autojump_clock) -> None:
    with pytest.raises(errors.StoreBroken):
        await insist.apply(_Writer(1, errors.StoreBroken), lambda tx: None, lambda text: None)
