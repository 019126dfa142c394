"""Where a swarm's work goes among gateways that were added, through the door of a real dashd: it is placed as
it asked, one that drains takes nothing new, what finds no place waits and says why, and a crash between claim
and launch changes no choice. What runs there: tests/whole/test_federation.py.
"""

import contextlib
import sqlite3

import pytest
import trio

from tests.whole import daemons
from tests.whole.door import Door, Refused, open_door
from tests.whole.fleet import UNTIL_GO, new_swarm, place_of, places_of
from tests.whole.test_gateway import CONFIGURED

pytestmark = pytest.mark.slow
IN_TURN = {"policy": "round-robin"}


async def _begun(folder, count: int) -> None:
    with trio.fail_after(60):
        while len([path for path in folder.iterdir() if path.name != "go"]) < count:  # noqa: ASYNC110  # no bell
            await trio.sleep(0.02)


async def test_over_two_of_which_one_drains(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east", "west", capacity=2)
        task = f"do `echo x >> {{item}}; {UNTIL_GO}`"
        swarm = await new_swarm(dash, task, work, agents=5, items=list("abcde"), placement=IN_TURN)
        await _begun(work, 4)
        places = [await place_of(dash, f"{swarm}-00{number}") for number in range(1, 6)]
        assert sorted(places, key=str) == [None, "east", "east", "west", "west"]
        loads = {each["name"]: each["load"] for each in (await dash.call("gateway.list"))["gateways"]}
        assert loads == {"east": 2, "west": 2}
        await _says_why(dash, swarm, "full: 4 of 4 runs in use")

        drained = await dash.call("gateway.drain", name="east", wait_s=0.1)
        assert len(drained["running"]) == 2
        with pytest.raises(Refused) as refused:
            await dash.call("gateway.remove", name="east")
        assert refused.value.kind == "Conflict"
        (work / "go").touch()
        with trio.fail_after(60):
            while (await dash.call("gateway.drain", name="east", wait_s=10))["running"]:
                pass
        report = await dash.ended(swarm)
        assert report["outcome"] == "complete", report
        assert (await places_of(dash, swarm))["e"] == "west"
        assert {path.read_text() for path in work.iterdir() if path.name != "go"} == {"x\n"}
        await fleet.cleaned()
        assert (await dash.call("gateway.remove", name="east"))["changed"]


async def test_what_finds_no_place_waits_for_one_and_others_start(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east", region="eu")
        wish = {"placement": {"region": "us"}, "priority": "critical"}
        swarm = await new_swarm(dash, "do `echo x >> us`", work, **wish)
        await _says_why(dash, swarm, "east is in region eu")
        other = await dash.call(
            "swarm.create", task="t", argv=["/bin/true"], unsafe_no_jail=True, cwd=str(work)
        )
        assert (await dash.ended(other["id"]))["outcome"] == "complete"
        await fleet.add(dash, "west", region="us")
        assert (await dash.ended(swarm))["outcome"] == "complete"
        assert await place_of(dash, f"{swarm}-001") == "west"


async def _says_why(dash: Door, swarm: str, text: str) -> None:
    agents = (await dash.call("agent.list", swarm=swarm))["items"]
    whys = [await dash.call("agent.why", agent=each["id"]) for each in agents if each["state"] == "idle"]
    assert [why["waits_for"] for why in whys] == ["place"], whys
    assert text in whys[0]["text"]


@pytest.mark.parametrize("point", ["scheduler.after_claim:1", "run.after_started:1"])
async def test_a_crash_behind_the_claim_changes_no_place(tmp_path_factory, fleet, work, point) -> None:
    daemon = daemons.DaemonProcess(tmp_path_factory.mktemp("c"), **CONFIGURED)
    try:
        daemon.start("--crash-at", point)
        async with open_door(daemon.socket) as dash:
            await fleet.add(dash, "east", "west")
            swarm = await new_swarm(dash, "do `echo x >> marks`", work)
        with trio.fail_after(60):
            assert await trio.to_thread.run_sync(daemon.process.wait) == -9
        with contextlib.closing(sqlite3.connect(daemon.state / "dash.db")) as db:
            assert db.execute("SELECT place, ended FROM launch").fetchall() == [("east", 0)]
            # Whoever chose anew would now take the other one.
            db.execute("UPDATE added_gateway SET draining = 1 WHERE name = 'east'")
            db.commit()
        daemon.start()
        async with open_door(daemon.socket) as dash:
            report = await dash.ended(swarm)
            assert await place_of(dash, f"{swarm}-001") == "east"
        assert (report["outcome"], report["attempts"]["total"], report["attempts"]["lost"]) == (
            "complete",
            1,
            0,
        )
        assert (work / "marks").read_text() == "x\n"
    finally:
        daemon.end()
