"""The real programs killed while their tools work: no task lost, no effect doubled, no orphan.

`./run live` does DASH_TORTURE kills of each kind, 2 by default; `./run torture` does 50.
"""

import math
import os
from pathlib import Path

import pytest
import trio

from tests.live.scenes import DONE, Scene, end_node, pids_of, scene
from tests.live.stepping import STEPS, Stepping
from tests.whole import daemons, door

pytestmark = [pytest.mark.live, pytest.mark.timeout(0)]

KILLS = min(50, int(os.environ.get("DASH_TORTURE") or 2))
AGENTS = 4 if KILLS > 2 else 2
SHELLS = {"pi": "bash", "openclaw": "exec"}
ROUND_S_MAX = 600.0


def _environ(request: pytest.FixtureRequest, driver: str) -> dict[str, str]:
    found: dict[str, str] = request.getfixturevalue(f"{driver}_environ")
    return found


async def _marked(folder: Path, item: str, step: int) -> None:
    """Until the item's tool has had its effect."""
    marks = folder / f"{item}.marks"
    while not marks.exists() or len(marks.read_text().split()) < step:  # noqa: ASYNC110  # no bell
        await trio.sleep(0.02)


async def _worked_out(on: Scene, swarm: str, items: list[str], *, attempts: int) -> int:
    """All of it was done, once; nothing of it runs and nothing is held. What it cost, in nano-dollars."""
    report = await on.dash.ended(swarm)
    assert report["tasks"]["completed"] == len(items), report
    assert report["attempts"]["total"] == attempts, report
    steps = [str(step) for step in range(1, STEPS + 1)]
    assert {each: (on.folder / f"{each}.marks").read_text().split() for each in items} == dict.fromkeys(
        items, steps
    )
    assert [pid for number in range(1, len(items) + 1) for pid in pids_of(f"{swarm}-{number:03d}")] == []
    return round((await on.settled(swarm))["spent_usd"] * 1e9)


async def _kills_of_agents(on: Scene, first: int) -> int:
    """Each of four agents is killed once, at another step."""
    items = [f"r{first}-{number}" for number in range(AGENTS)]
    swarm = await on.swarm("step {item}", agents=AGENTS, items=items, limits={"retries": 1})
    one_call_at_a_time = trio.Lock()

    async def kill(item: str, step: int) -> None:
        await _marked(on.folder, item, step)
        async with one_call_at_a_time:
            tasks = (await on.dash.call("task.list", swarm=swarm))["items"]
        end_node(next(task["agent"] for task in tasks if task["item"] == item))

    async with trio.open_nursery() as nursery:
        for number, item in enumerate(items):
            nursery.start_soon(kill, item, 1 + (first + number) % STEPS)
    return await _worked_out(on, swarm, items, attempts=2 * AGENTS)


@pytest.mark.parametrize("driver", ["pi", "openclaw"])
async def test_its_program_is_killed_while_its_tool_works(start_daemon, request, tmp_path, driver) -> None:
    model = Stepping(DONE, tool=SHELLS[driver])
    rounds = math.ceil(KILLS / AGENTS)
    daemon = start_daemon(**_environ(request, driver))
    async with scene(daemon, tmp_path, model, driver=driver, within_s=ROUND_S_MAX * rounds) as on:
        spent = sum([await _kills_of_agents(on, number) for number in range(rounds)])
        assert model.looked.total() >= rounds  # else nothing was killed in the middle
        assert model.bill_nusd <= spent


async def _kill_of_dashd(on: Scene, daemon: daemons.DaemonProcess, number: int) -> int:
    items = [f"d{number}-{each}" for each in range(AGENTS)]
    swarm = await on.swarm("step {item}", agents=AGENTS, items=items, limits={"retries": 0})
    await _marked(on.folder, items[number % AGENTS], 1 + number % STEPS)
    daemon.kill()
    daemon.start()
    on.dash = await on.doors.enter_async_context(door.open_door(daemon.socket))
    on.dash.wait_s = ROUND_S_MAX
    return await _worked_out(on, swarm, items, attempts=AGENTS)


@pytest.mark.parametrize("driver", ["pi", "openclaw"])
async def test_dashd_is_killed_while_their_tools_work(start_daemon, request, tmp_path, driver) -> None:
    kills = KILLS if driver == "pi" else max(1, KILLS // 2)
    daemon = start_daemon(**_environ(request, driver))
    model = Stepping(DONE, tool=SHELLS[driver])
    async with scene(daemon, tmp_path, model, driver=driver, within_s=ROUND_S_MAX * kills) as on:
        spent = sum([await _kill_of_dashd(on, daemon, number) for number in range(kills)])
        assert model.bill_nusd <= spent
