"""One warm gateway of the real OpenClaw through everything that providers, budgets and people do to its runs.

What fails is one run, never its neighbours, the gateway, or the next run of the same agent.
"""

import json

import pytest
import trio

from tests.fakes.provider import Act
from tests.live.casting import Casting
from tests.live.scenes import BUSY, DONE, HASTY, Scene, scene, tokens
from tests.live.test_gateway import WITHIN_S
from tests.live.test_openclaw import run

pytestmark = pytest.mark.live

FAULTS = {
    "429": (BUSY, DONE),
    "500": (Act(status=500, bills=False), DONE),
    "cut": (run("echo x >> cut"), Act(cut_at=400), DONE),
    "stalled": (run("echo x >> stalled"), Act(stall_at=400), DONE),
    "hung": (run("echo x >> hung"), Act(stall_at=0), DONE),
    "down": (Act(status=500, bills=False),),
}
BROKEN = ("cut", "stalled", "hung")
UNSURE = ("500", *BROKEN)
"""Nobody knows whether a provider that fails bills for it: those calls are shown apart."""


@pytest.fixture
def agent_environ(openclaw_environ):
    return openclaw_environ


def until(name: str) -> str:
    return f"until [ -e {name} ]; do sleep 0.1; done"


async def agents_of(there: Scene, swarm: str) -> dict[str, str]:
    """The seat of each item."""
    tasks = (await there.dash.call("task.list", swarm=swarm))["items"]
    return {task["item"]: task["agent"] for task in tasks}


async def booked(there: Scene, swarm: str, item: str, *, confirmed: bool = True) -> list[tuple[int, int]]:
    """The tokens of an item's calls, as the ledger has them."""
    (task,) = (each["id"] for each in (await there.dash.call("task.list", swarm=swarm))["items"]
               if each["item"] == item)  # fmt: skip
    rows = await there.calls(swarm)
    return sorted(tokens([row for row in rows if row["task"] == task and row["confirmed"] is confirmed]))


async def there_is(path) -> None:
    while not path.exists():  # noqa: ASYNC110  # a file rings no bell
        await trio.sleep(0.05)


async def test_each_fault_of_the_provider_is_one_calls_affair(start_daemon, tmp_path) -> None:
    """One seat has one after the other; each task has a session of its own."""
    model = Casting(FAULTS)
    async with scene(start_daemon(HASTY), tmp_path, model, driver="openclaw", within_s=WITHIN_S) as there:
        limits = {"retries": 0}
        swarm = await there.swarm("{item}", mode="gateway", agents=1, items=list(FAULTS), limits=limits)
        report = await there.ended_with(swarm, "partial")
        assert (report["tasks"]["completed"], report["attempts"]["total"]) == (len(FAULTS) - 1, len(FAULTS))
        (failure,) = report["failures"]
        assert failure["cause"].startswith("no model answered: 5")
        assert len(await there.dash.events(swarm, "gateway.up")) == 1
        for item in BROKEN:
            assert (tmp_path / item).read_text() == "x\n"
            assert model.roles(item).count("tool") == 1  # the session knows what was done before
        asked = {item: model.asked[item] for item in FAULTS if item != "down"}
        assert asked == {"429": 2, "500": 2, "cut": 3, "stalled": 3, "hung": 3}
        await there.not_below(swarm)
        for item in asked:
            assert await booked(there, swarm, item) == sorted(model.used[item]), item
            unconfirmed = await booked(there, swarm, item, confirmed=False)
            assert len(unconfirmed) == (item in UNSURE), item


async def test_what_ends_one_run_leaves_the_others_alone(start_daemon, tmp_path) -> None:
    """One works through and is told more, one is killed in its tool and one in its call, one has no money at
    first, and one joins.
    """
    model = Casting(
        {
            "whole": (run(f"touch whole; {until('go')}"), DONE, DONE),  # a message makes another turn
            "tool": (run(f"touch tool; {until('go')}; touch late"), DONE),
            "poor": (run(f"touch poor; {until('pay')}"), DONE),
            "call": (run("touch call"), Act(delay_s=WITHIN_S)),
        }
    )
    async with scene(start_daemon(), tmp_path, model, driver="openclaw", within_s=WITHIN_S) as there:
        items = list(model.parts)
        limits = {"retries": 0, "timeout_s": 3_600}
        swarm = await there.swarm("{item}", mode="gateway", agents=4, items=items, limits=limits)
        for item in items:
            await there_is(tmp_path / item)
        model.parts["joins"] = (DONE,)
        await there.dash.call("agent.spawn", swarm=swarm, task="Your item: joins")
        await there.dash.events(swarm, "task.completed")
        seat = await agents_of(there, swarm)
        await there.dash.call("agent.message", agent=seat["whole"], text="mind the gap")
        while model.asked["call"] < 2:  # noqa: ASYNC110  # its call is out by then
            await trio.sleep(0.05)
        for item in ("tool", "call"):
            await there.dash.call("agent.kill", agent=seat[item])
        await there.dash.events(swarm, "agent.killed", 2)
        await there.dash.call(
            "budget.set", budget=seat["poor"], limit_usd=0.0001, actions={"at_100": "notify"}
        )
        (tmp_path / "pay").touch()
        (failed,) = [
            each for each in await there.dash.events(swarm, "task.dead") if each["agent"] == seat["poor"]
        ]
        assert failed["data"]["cause"] == "its budget did not cover the next call"
        assert model.asked["poor"] == 1
        # OpenClaw must not have taken the refusal for one of its provider's, which it would then leave alone.
        await there.dash.call("budget.set", budget=seat["poor"], limit_usd=1.0)
        await there.dash.call("agent.retry", agent=seat["poor"])
        await there.dash.events(swarm, "task.completed", 2)
        assert model.asked["poor"] == 2
        (tmp_path / "go").touch()
        report = await there.ended_with(swarm, "partial")
        assert (report["tasks"]["completed"], report["attempts"]["total"]) == (3, 6)
        assert len(await there.dash.events(swarm, "gateway.up")) == 1
        assert "mind the gap" in json.dumps(model.seen["whole"]["messages"])
        assert not (tmp_path / "late").exists()
        await there.not_below(swarm)
        for item in items:
            assert await booked(there, swarm, item) == sorted(model.used[item]), item
            unconfirmed = await booked(there, swarm, item, confirmed=False)
            assert len(unconfirmed) == (item == "call"), item  # it is shown apart
