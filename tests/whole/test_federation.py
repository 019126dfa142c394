"""A swarm over several gateways that somebody added: a real dashd, and stand-ins for the gateways.

tests/live/test_federation.py does the like with real ones.
"""

import contextlib
import signal
import socket
from pathlib import Path

import pytest
import trio

from dashd.drivers.line_conversation import AGAIN, RESUMED
from tests.fakes import openclaw_gateway as fake
from tests.fakes.standing_gateway import Standing
from tests.whole import daemons
from tests.whole.door import open_door
from tests.whole.fleet import UNTIL_GO, marked, new_swarm, place_of, places_of
from tests.whole.test_gateway import CONFIGURED

pytestmark = pytest.mark.slow


async def test_agents_work_in_what_was_added_and_leave_nothing_there(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east", "west", capacity=2)
        swarm = await new_swarm(dash, "do `echo {item} > {item}`", work, agents=4, items=list("abcd"))
        report = await dash.ended(swarm)
        assert report["outcome"] == "complete", report
        assert {path.name for path in work.iterdir()} == set("abcd")
        agents = [await dash.call("agent.get", agent=f"{swarm}-00{number}") for number in range(1, 5)]
        assert {each["gateway"] for each in agents} == {"east", "west"}
        assert {(each["mode"], each["grade"], each["identity"]) for each in agents} == {
            ("gateway", "0", "key")
        }
        await fleet.cleaned()
        costs = await dash.call("swarm.costs", swarm=swarm)
        assert (costs["held_usd"], costs["calls"] >= 8) == (0.0, True)


async def test_one_is_killed_in_a_tool_and_the_other_does_it(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east", "west")
        swarm = await new_swarm(dash, f"do `echo x >> marks; {UNTIL_GO}`", work, limits={"retries": 0})
        await marked(work)
        first = await place_of(dash, f"{swarm}-001")
        fleet.standing[first].kill()
        (lost,) = await dash.events(swarm, "task.retrying")
        assert "dead" in lost["data"]["reason"], lost
        (work / "go").touch()
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["lost"]) == ("complete", 1), report
        assert await place_of(dash, f"{swarm}-001") != first
        second = await place_of(dash, f"{swarm}-001")
        ((said,),) = fleet.sessions(second).values()
        assert said.startswith(AGAIN)
        assert not fleet.is_clean(first)  # nobody could
        fleet.standing[first].start()
        assert (await dash.call("gateway.health", name=first))["ok"]
        await fleet.cleaned()


async def test_an_agent_whose_database_is_shut_goes_on_under_another_name(
    start_daemon, fleet, work, monkeypatch
) -> None:
    monkeypatch.setattr(Standing, "program", str(Path(fake.__file__).with_name("sick_gateway.py")))
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east")
        items, more = ["FAKE-SICK", "b", "c"], {"agents": 2, "limits": {"retries": 1}}
        swarm = await new_swarm(dash, "do `echo x >> {item}`", work, items=items, **more)
        (failed,) = await dash.events(swarm, "task.failed")
        assert "Agent database cleanup failed" in failed["data"]["reason"]
        (east,) = (await dash.call("gateway.list"))["gateways"]
        assert east["health"] == "alive"  # nobody else is sent away for it
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 4), report
        assert {path.name: path.read_text() for path in work.iterdir()} == dict.fromkeys(items, "x\n")
        await fleet.cleaned()


async def test_of_three_one_is_killed_and_one_drained(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    items = [f"i{number}" for number in range(6)]
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east", "south", "west", capacity=2)
        task = f"do `[ -e {{item}} ] || echo x >> {{item}}; {UNTIL_GO}`"
        swarm = await new_swarm(dash, task, work, agents=6, items=items, limits={"retries": 0})
        with trio.fail_after(30):
            while len(list(work.iterdir())) < len(items):  # noqa: ASYNC110  # files ring no bell
                await trio.sleep(0.02)
        before = await places_of(dash, swarm)
        assert sorted(before.values()) == ["east", "east", "south", "south", "west", "west"]
        fleet.standing["south"].kill()
        await dash.call("gateway.drain", name="west")
        await dash.events(swarm, "task.retrying", 2)
        (work / "go").touch()
        report = await dash.ended(swarm)
        assert (report["tasks"]["completed"], report["attempts"]["lost"]) == (6, 2), report
        after = {item: "east" if place == "south" else place for item, place in before.items()}
        assert await places_of(dash, swarm) == after
        assert {(work / item).read_text() for item in items} == {"x\n"}


async def test_one_that_begins_anew_loses_its_run_and_what_it_took_up_is_refused(
    start_daemon, fleet, work
) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east")
        swarm = await new_swarm(dash, "do `echo x >> marks`. FAKE-AGAIN", work, limits={"retries": 0})
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["lost"]) == ("complete", 1), report
        assert (work / "marks").read_text() == "x\n"
        ((_, said),) = fleet.sessions("east").items()  # the same one, with all that was said before
        assert [each.startswith(RESUMED) for each in said] == [False, True]
        await fleet.cleaned()


IN_A_HURRY = """
import runpy
from dashd.drivers import openclaw_client
from dashd.runtime import added_gateway, gateway_probes, rounds
rounds.EVERY_S = rounds.AGAIN_S = gateway_probes.PROBE_S_MAX = added_gateway.SILENT_S_MAX = 1.0
added_gateway.BEGUN_S_MAX = 1.0
openclaw_client.CONNECT_S_MAX = 2.0
runpy.run_module("dashd", run_name="__main__", alter_sys=True)
"""
"""A dashd that takes a gateway for dead within seconds."""


@pytest.mark.parametrize("goes_on", [False, True])
async def test_one_that_is_stopped_and_thaws_does_nothing_twice(
    tmp_path_factory, fleet, work, goes_on
) -> None:
    """Its tool ends while it is stopped, so that it goes on by itself at once; or it has to be ended."""
    daemon = daemons.DaemonProcess(tmp_path_factory.mktemp("c"), ("-c", IN_A_HURRY), **CONFIGURED)
    try:
        daemon.start()
        async with open_door(daemon.socket) as dash:
            await fleet.add(dash, "east", "west")
            task = f"do `echo x >> marks; {UNTIL_GO}`, then `echo y >> marks`"
            swarm = await new_swarm(dash, task, work, limits={"retries": 0})
            await marked(work)
            first = await place_of(dash, f"{swarm}-001")
            fleet.standing[first].process.send_signal(signal.SIGSTOP)
            (lost,) = await dash.events(swarm, "task.retrying")
            assert "dead" in lost["data"]["reason"], lost
            await marked(work, "x\nx\n")  # the other one does it, in a conversation of its own
            if goes_on:
                (work / "go").touch()
                report = await dash.ended(swarm)
            fleet.standing[first].process.send_signal(signal.SIGCONT)
            with trio.fail_after(30):
                while fleet.working(first):  # noqa: ASYNC110  # a file rings no bell
                    await trio.sleep(0.05)
            if not goes_on:
                (work / "go").touch()
                report = await dash.ended(swarm)
            assert (report["outcome"], report["attempts"]["lost"]) == ("complete", 1), report
            assert (work / "marks").read_text() == "x\nx\ny\n"
            await fleet.cleaned()
            assert (work / "marks").read_text() == "x\nx\ny\n"
    finally:
        daemon.end()


async def test_a_connection_that_is_cut_is_made_again_and_the_run_goes_on(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east")
        swarm = await new_swarm(dash, "do `echo x >> marks`. FAKE-CUT", work, limits={"retries": 0})
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1), report
        assert (work / "marks").read_text() == "x\n"


@pytest.mark.parametrize("moved", [False, True])
async def test_dashd_is_killed_while_a_tool_works_and_nobody_notices(
    start_daemon, fleet, work, moved
) -> None:
    """Where somebody else has taken the port meanwhile, the agents are told another one, and other keys."""
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east")
        swarm = await new_swarm(dash, f"do `echo x >> marks; {UNTIL_GO}; echo y >> marks`", work)
        await marked(work)
    before = fleet.told("east")["models"]["providers"]
    daemon.kill()
    (url,) = {each["baseUrl"] for each in before.values()}
    port = int(url.split(":")[2].split("/")[0])
    with socket.create_server(("127.0.0.1", port)) if moved else contextlib.nullcontext():
        daemon.start()
        async with open_door(daemon.socket) as dash:
            with trio.fail_after(30):
                while moved and fleet.told("east")["models"]["providers"] == before:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            (work / "go").touch()
            report = await dash.ended(swarm)
            assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1), report
            assert (work / "marks").read_text() == "x\ny\n"
            await fleet.cleaned()


@pytest.mark.parametrize(
    "point", ["added.before_write:1", "added.after_write:1", "talk.after_commit:1", "talk.after_send:1"]
)
async def test_dashd_dies_and_no_turn_is_lost_or_given_twice(tmp_path_factory, fleet, work, point) -> None:
    daemon = daemons.DaemonProcess(tmp_path_factory.mktemp("c"), **CONFIGURED)
    try:
        daemon.start("--crash-at", point)
        async with open_door(daemon.socket) as dash:
            await fleet.add(dash, "east")
            swarm = await new_swarm(dash, "do `echo x >> marks`", work)
        with trio.fail_after(30):
            assert await trio.to_thread.run_sync(daemon.process.wait) == -9
        daemon.start()
        async with open_door(daemon.socket) as dash:
            report = await dash.ended(swarm)
            await fleet.cleaned()
        assert (report["outcome"], report["attempts"]["total"], report["attempts"]["lost"]) == (
            "complete",
            1,
            0,
        )
        assert (work / "marks").read_text() == "x\n"
    finally:
        daemon.end()


async def test_what_was_left_by_an_earlier_dashd_is_removed_once_it_can_be(start_daemon, fleet, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east")
        swarm = await new_swarm(dash, f"do `echo x >> marks; {UNTIL_GO}`", work)
        await marked(work)
        fleet.standing["east"].process.send_signal(signal.SIGSTOP)
        await dash.call("swarm.destroy", swarm=swarm)
    daemon.kill()
    fleet.standing["east"].process.send_signal(signal.SIGCONT)
    (work / "go").touch()
    daemon.start()
    await fleet.cleaned()
