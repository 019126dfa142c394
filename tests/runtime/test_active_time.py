"""A deadline that can be held."""

import math

import trio

from dashd.runtime.active_time import ActiveTime


async def test_time_counts_only_while_it_runs(autojump_clock) -> None:
    active = ActiveTime(10)
    assert active.deadline == math.inf
    active.run()
    assert active.deadline == 10
    await trio.sleep(4)
    active.run()
    assert active.deadline == 10
    active.hold()
    active.hold()
    assert active.deadline == math.inf
    await trio.sleep(100)
    active.run()
    assert active.deadline == 110


async def test_nothing_left_is_over_at_once(autojump_clock) -> None:
    active = ActiveTime(0)
    active.run()
    assert active.deadline == trio.current_time()
