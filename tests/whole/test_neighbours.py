"""Honest agents at real work, in clones of a repository and with a model, beside greedy neighbours and bombs.

One neighbour stays within its bounds and goes on throughout; bombs are those of test_bombs.py, bounded by
themselves, stopped while the work goes on. Every honest agent's work comes back.
"""

import pytest
import trio

from tests.jail.inside import of_grade
from tests.whole import daemons, door
from tests.whole.test_bombs import BOMBS, PYTHON, STOPPED_S_MAX
from tests.workspace.world import World

pytestmark = pytest.mark.slow

HONEST = 10
WORK_S_MAX = 180.0
"""For ten clones, twenty calls and ten merges back, on a machine that the others keep busy."""
GREEDY = f"""
import os, time
until = time.monotonic() + {WORK_S_MAX}
for _ in range(2):
    if os.fork() == 0:
        taken = bytearray(50 << 20)
        while time.monotonic() < until:
            taken[::4096] = b"x" * (len(taken) // 4096)
        os._exit(0)
while time.monotonic() < until:
    with open("f", "wb") as file:
        file.write(b"x" * (8 << 20))
    os.write(1, b"y" * 65536)
    time.sleep(0.05)
"""
STOPPED = ("memory of four", "disk", "forks")


@pytest.fixture
def walled(tmp_path):
    of_grade("B")
    (tmp_path / "d").mkdir()
    made = daemons.DaemonProcess(tmp_path / "d", DASH_JAIL_REQUIRED="true")
    try:
        made.start()
        yield made
        assert made.stop("stop") == 0
        assert made.processes() == []
    finally:
        made.end()


@pytest.fixture
async def dash(walled):
    async with door.open_door(walled.socket) as opened:
        opened.wait_s = WORK_S_MAX
        yield opened
        await opened.destroy_all()


async def _neighbour(dash, folder, script, **limits):
    folder.mkdir()
    limits = {"timeout_s": WORK_S_MAX, "retries": 0, **limits}
    return await dash.swarm("", argv=[PYTHON, "-c", script], cwd=str(folder), limits=limits)


async def test_honest_agents_work_and_finish_beside_bombs(dash, tmp_path) -> None:
    world = World(tmp_path.resolve())
    world.make_repo()
    bounds = {"memory_mb": 256, "processes": 20, "disk_mb": 64}
    greedy = await _neighbour(dash, tmp_path / "greedy", GREEDY, **bounds)
    await dash.events(greedy["id"], "agent.started")
    honest = await dash.call(
        "swarm.create",
        task="do `cat README > {item}.txt; git add {item}.txt; git commit -qm {item}; git log --format=%s`",
        driver="embedded",
        repo=str(world.repo),
        agents=HONEST,
        items=[f"part{number}" for number in range(HONEST)],
    )
    dash.swarms.append(honest["id"])
    bombs = [
        (name, await _neighbour(dash, tmp_path / name.split()[0], BOMBS[name][0], **BOMBS[name][1]))
        for name in STOPPED
    ]
    for name, bomb in bombs:
        await dash.events(bomb["id"], "agent.started")
        with trio.fail_after(STOPPED_S_MAX):
            (dead,) = await dash.events(bomb["id"], "task.dead")
        assert dead["data"]["cause"].startswith(BOMBS[name][2])
    report = await dash.ended(honest["id"])
    assert (report["outcome"], report["attempts"]["total"]) == ("complete", HONEST), report["failures"]
    for files, number in zip(report["files"], range(HONEST), strict=True):
        assert world.git("show", f"{files['branch']}:part{number}.txt") == "hello"
        assert world.git("log", "-1", "--format=%s", files["branch"]) == f"part{number}"
    costs = await dash.call("swarm.costs", swarm=honest["id"])
    assert costs["calls"] >= 2 * HONEST, "what to do, and that it was done"
    assert costs["held_usd"] == 0.0
    (seat,) = (await dash.call("agent.list", swarm=greedy["id"]))["items"]
    assert seat["state"] == "running", "it was to be there all the while"
