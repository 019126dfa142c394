"""Never more writes than may be in any such time, and none waits without need."""

import pytest
import trio

from dashd.runtime.write_pace import WRITES_MAX, WRITES_S, WritePace


async def test_whoever_is_one_too_many_waits(autojump_clock) -> None:
    pace, times = WritePace(), []
    for _ in range(3 * WRITES_MAX):
        await pace.turn()
        times.append(trio.current_time())
        await trio.sleep(0.5)
    assert max(len([at for at in times if since <= at < since + WRITES_S]) for since in times) == WRITES_MAX
    assert times[WRITES_MAX - 1] == pytest.approx(0.5 * (WRITES_MAX - 1))
    assert times[WRITES_MAX] == pytest.approx(WRITES_S)
