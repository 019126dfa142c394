"""The real programs killed while their tools work: no task lost, no effect doubled, no orphan.

`./run live` does DASH_TORTURE kills of each kind, 2 by default; `./run torture` does 50.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from dashd.drivers.line_conversation import RESUMED
from tests.live.scenes import DONE, Scene, end_node, pids_of, scene
from tests.live.stepping import STEPS, Stepping
from tests.whole import daemons, door

pytestmark = [pytest.mark.live, pytest.mark.timeout(0)]

KILLS = min(50, int(os.environ.get("DASH_TORTURE") or 2))
AGENTS = 4 if KILLS > 2 else 2
SHELLS = {"pi": "bash", "openclaw": "exec"}
ROUND_S_MAX = 600.0
KILLS_A_SWARM = 5
EFFECTS_A_KILL = 2
"""Of all agents together, since the kill before: there are enough left for the last one."""


def _swarms(kills_each: int) -> Iterator[tuple[int, int]]:
    """(number, kills in it) of the swarms that all kills take."""
    for number, before in enumerate(range(0, KILLS, kills_each)):
        yield number, min(kills_each, KILLS - before)


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


async def _kills_of_agents(on: Scene, first: int, kills: int) -> int:
    """Of four agents, one after the other is killed at its next step, until there were so many kills."""
    items = [f"r{first}-{number}" for number in range(min(AGENTS, kills))]
    each = [kills // len(items) + (number < kills % len(items)) for number in range(len(items))]
    swarm = await on.swarm("step {item}", agents=len(items), items=items, limits={"retries": max(each)})
    one_call_at_a_time = trio.Lock()

    async def kill(number: int, item: str) -> None:
        for killed in range(each[number]):
            # Where there are fewer kills than steps, other rounds have them at other steps.
            await _marked(on.folder, item, 1 + killed + (first + number) % (1 + STEPS - each[number]))
            async with one_call_at_a_time:
                tasks = (await on.dash.call("task.list", swarm=swarm))["items"]
            end_node(next(task["agent"] for task in tasks if task["item"] == item))

    async with trio.open_nursery() as nursery:
        for number, item in enumerate(items):
            nursery.start_soon(kill, number, item)
    failed = await on.dash.events(swarm, "task.failed")
    reasons = {event["data"]["reason"] for event in failed}
    assert f"{on.driver} ended (signal 9) while working" in reasons
    return await _worked_out(on, swarm, items, attempts=len(items) + kills)


@pytest.mark.parametrize("driver", ["pi", "openclaw"])
async def test_its_program_is_killed_while_its_tool_works(start_daemon, request, tmp_path, driver) -> None:
    model = Stepping(DONE, tool=SHELLS[driver])
    daemon = start_daemon(**_environ(request, driver))
    async with scene(daemon, tmp_path, model, driver=driver, within_s=ROUND_S_MAX * KILLS) as on:
        spent = sum([await _kills_of_agents(on, *each) for each in _swarms(AGENTS * STEPS)])
        assert model.looked.total() >= KILLS / AGENTS  # else nothing was killed in the middle
        told = [message for body in model.bodies for message in body["messages"] if message["role"] == "user"]
        assert any(RESUMED in json.dumps(message) for message in told)
        assert model.bill_nusd <= spent


async def _kills_of_dashd(
    on: Scene, daemon: daemons.DaemonProcess, mode: dict[str, str], first: int, kills: int
) -> int:
    """One dashd after the other is killed, each at a step of another agent of the same four."""
    items = [f"d{first}-{each}" for each in range(AGENTS)]
    swarm = await on.swarm("step {item}", agents=AGENTS, items=items, limits={"retries": 0}, **mode)
    for number in range(kills):
        await _marked(on.folder, items[(first + number) % AGENTS], 1 + number)
        daemon.kill()
        daemon.start()
        on.dash = await on.doors.enter_async_context(door.open_door(daemon.socket))
        on.dash.wait_s = ROUND_S_MAX
    return await _worked_out(on, swarm, items, attempts=AGENTS, steps_done=KILLS_A_SWARM)


@pytest.mark.parametrize(
    ("driver", "mode"),
    [("pi", {}), ("openclaw", {}), ("openclaw", {"mode": "gateway"})],
    ids=["pi", "openclaw", "openclaw in a gateway"],
)
async def test_dashd_is_killed_while_their_tools_work(start_daemon, request, tmp_path, driver, mode) -> None:
    daemon = start_daemon(**_environ(request, driver))
    model = Stepping(DONE, tool=SHELLS[driver], steps=KILLS_A_SWARM)
    async with scene(daemon, tmp_path, model, driver=driver, within_s=ROUND_S_MAX * KILLS) as on:
        spent = sum([await _kills_of_dashd(on, daemon, mode, *each) for each in _swarms(KILLS_A_SWARM)])
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
    # One that cannot take up a session of the one before (rare, see gateway_warmth) is ended by Dash.
    ends = [each["data"]["reason"] for each in await on.dash.events(swarm, "gateway.down", kills)]
    assert [each for each in ends if "not at rest" not in each] == ["it ended (signal 9)"] * kills
    assert len(await on.dash.events(swarm, "gateway.up", 1 + kills)) == 1 + len(ends)
    assert [pid for n in range(1, 2 + len(ends)) for pid in pids_of(f"{swarm}-g{n}", "DASH_LAUNCH")] == []
    return spent


async def test_gateways_are_killed_while_their_tools_work(start_daemon, openclaw_environ, tmp_path) -> None:
    model = Stepping(DONE, tool=SHELLS["openclaw"], steps=KILLS_A_SWARM)
    within_s = ROUND_S_MAX * KILLS
    daemon = start_daemon(**openclaw_environ)
    async with scene(daemon, tmp_path, model, driver="openclaw", within_s=within_s) as on:
        spent = sum([await _kills_of_gateways(on, *each) for each in _swarms(KILLS_A_SWARM)])
        assert model.looked.total() >= KILLS  # else nothing was killed in the middle
        assert model.bill_nusd <= spent
