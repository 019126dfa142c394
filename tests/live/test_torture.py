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
GATEWAY_KILLS = KILLS if KILLS > 4 else 2
"""Each of them is another start of OpenClaw's: fifteen seconds of a core."""
KILLS_A_SWARM = 5
EFFECTS_A_KILL = 2
"""Of all agents together, since the kill before: there are enough left for the last one."""


def _environ(request: pytest.FixtureRequest, driver: str) -> dict[str, str]:
    found: dict[str, str] = request.getfixturevalue(f"{driver}_environ")
    return found


async def _marked(folder: Path, item: str, step: int) -> None:
    """Until the item's tool has had its effect."""
    marks = folder / f"{item}.marks"
    while not marks.exists() or len(marks.read_text().split()) < step:  # noqa: ASYNC110  # no bell
        await trio.sleep(0.02)


async def _worked_out(
    on: Scene, swarm: str, items: list[str], *, attempts: int | None = None, steps_done: int = STEPS
) -> int:
    """All of it was done, once; nothing of it runs and nothing is held. What it cost, in nano-dollars.

    Without `attempts`: as many as were lost, and one for each item.
    """
    report = await on.dash.ended(swarm)
    assert report["tasks"]["completed"] == len(items), report
    expected = len(items) + report["attempts"]["lost"] if attempts is None else attempts
    assert report["attempts"]["total"] == expected, report
    steps = [str(step) for step in range(1, steps_done + 1)]
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


def _marks(folder: Path, items: list[str]) -> int:
    files = [folder / f"{item}.marks" for item in items]
    return sum(len(file.read_text().split()) for file in files if file.exists())


async def _kills_of_gateways(on: Scene, first: int, kills: int) -> int:
    """One gateway of a swarm after the other is killed, whenever tools have had some more effects."""
    items = [f"g{first}-{number}" for number in range(AGENTS)]
    limits = {"retries": 0}
    swarm = await on.swarm("step {item}", agents=AGENTS, items=items, mode="gateway", limits=limits)
    for number in range(kills):
        (*_, up) = await on.dash.events(swarm, "gateway.up", 1 + number)
        before = _marks(on.folder, items)
        while _marks(on.folder, items) < before + EFFECTS_A_KILL:  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
        end_node(up["data"]["gateway"], "DASH_LAUNCH")
    spent = await _worked_out(on, swarm, items, steps_done=KILLS_A_SWARM)
    assert len(await on.dash.events(swarm, "gateway.up", 1 + kills)) == 1 + kills
    assert [pid for n in range(1, 2 + kills) for pid in pids_of(f"{swarm}-g{n}", "DASH_LAUNCH")] == []
    return spent


async def test_gateways_are_killed_while_their_tools_work(start_daemon, openclaw_environ, tmp_path) -> None:
    model = Stepping(DONE, tool=SHELLS["openclaw"], steps=KILLS_A_SWARM)
    within_s = ROUND_S_MAX * GATEWAY_KILLS
    daemon = start_daemon(**openclaw_environ)
    async with scene(daemon, tmp_path, model, driver="openclaw", within_s=within_s) as on:
        spent, left = 0, GATEWAY_KILLS
        while left > 0:
            spent += await _kills_of_gateways(on, left, min(left, KILLS_A_SWARM))
            left -= KILLS_A_SWARM
        assert model.looked.total() >= GATEWAY_KILLS  # else nothing was killed in the middle
        assert model.bill_nusd <= spent
