"""kill -9 of a holder at any instant of its agent's start: nothing of the agent's goes on by itself."""

import contextlib
import os
import random
import time
from pathlib import Path

import pytest
import trio

from dashd.jail import processes
from tests.jail.test_agent_start import spec
from tests.jail.world import World, gone

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("DASH_TORTURE", "40"))
START_S = 0.1
LEFT_S_MAX = 1.0


def marked(launch_id: str) -> dict[int, str]:
    """What there is of a launch: pid to name."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            here = Path("/proc", entry)
            ended = here.joinpath("stat").read_bytes().rpartition(b")")[2].split()[0] in b"ZX"
            if f"DASH_LAUNCH={launch_id}\0".encode() in here.joinpath("environ").read_bytes() and not ended:
                found[int(entry)] = here.joinpath("comm").read_text().strip()
    return found


def waits_for_ever(pid: int) -> bool:
    """A bwrap that was cloned by one killed before it told it to begin: it never will."""
    with contextlib.suppress(OSError):
        return not processes.children(pid) and Path(f"/proc/{pid}/comm").read_text() == "bwrap\n"
    return False


async def test_a_holder_killed_at_any_instant_leaves_nothing_that_goes_on(world: World, tmp_path: Path):
    chance = random.Random(7)
    for number in range(KILLS):
        launch_id = f"k{number}"
        wanted = spec(launch_id, tmp_path, "while :; do echo >> ran; sleep 0.01; done")
        holder = await world.launcher.launch(wanted)
        world.holders[launch_id] = holder, processes.start_time(holder) or 0
        await trio.sleep(chance.uniform(0, START_S))
        os.kill(holder, 9)
        await gone(holder)
        give_up_at = time.monotonic() + LEFT_S_MAX
        while not all(map(waits_for_ever, left := marked(launch_id))):
            assert time.monotonic() < give_up_at, f"kill {number}: {left}"
            await trio.sleep(0.005)
        began = time.monotonic()
        await trio.to_thread.run_sync(processes.end_marked, launch_id)  # what dashd does about a lost launch
        assert not marked(launch_id)
        assert time.monotonic() - began < LEFT_S_MAX
