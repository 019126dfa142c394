"""Gateways that refuse all that is asked while their runs go on, or take one late; each a stand-in."""

import signal

import pytest
import trio

from tests.fakes import openclaw_gateway
from tests.fakes.standing_gateway import Standing
from tests.whole.door import open_door
from tests.whole.fleet import UNTIL_GO, marked, new_swarm, place_of
from tests.whole.test_gateway import CONFIGURED

pytestmark = pytest.mark.slow


async def test_one_that_refuses_everything_keeps_its_run_and_gets_nothing_new(
    start_daemon,
    fleet,
    work,
    monkeypatch,
) -> None:
    """As a real one does before its restart, for as long as its runs take."""
    program = openclaw_gateway.__file__.replace("openclaw_gateway", "draining_gateway")
    monkeypatch.setattr(Standing, "program", program)
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "east", "west")
        task = f"do `echo x >> marks; {UNTIL_GO}; echo y >> marks`"
        swarm = await new_swarm(dash, task, work, limits={"retries": 0})
        await marked(work)
        first = await place_of(dash, f"{swarm}-001")
        process = fleet.standing[first].process
        process.send_signal(signal.SIGUSR1)
        made = await dash.call("agent.spawn", swarm=swarm, task="do `echo z > new`")
        with trio.fail_after(60):
            while await trio.to_thread.run_sync(process.stderr.readline) != b"refused agent.wait\n":
                pass
            while not (work / "new").exists():  # noqa: ASYNC110  # a file rings no bell
                await trio.sleep(0.05)
        assert await place_of(dash, made["id"]) != first
        (work / "go").touch()
        process.send_signal(signal.SIGUSR2)
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 2), report
        assert (work / "marks").read_text() == "x\ny\n"


@pytest.mark.parametrize("killed", [False, True])
async def test_a_task_that_is_cancelled_while_its_run_is_taken_is_not_done(
    start_daemon, fleet, work, monkeypatch, killed
) -> None:
    """Nor beside the next one of its seat, whose key it would have; though dashd is killed meanwhile."""
    program = openclaw_gateway.__file__.replace("openclaw_gateway", "slow_gateway")
    monkeypatch.setattr(Standing, "program", program)
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await fleet.add(dash, "desk")
        task = f"do `[ {{item}} = next ] || {UNTIL_GO}; echo {{item}} >> marks`"
        swarm = await new_swarm(dash, task, work, agents=1, items=["SLOW", "next"])
        process = fleet.standing["desk"].process
        with trio.fail_after(30):
            asked = f"asked {swarm}-t1.1:turn:1\n".encode()
            assert await trio.to_thread.run_sync(process.stderr.readline) == asked
        await dash.call("task.cancel", task=f"{swarm}-t1")
    if killed:
        daemon.kill()
        daemon.start()
    async with open_door(daemon.socket) as dash:
        with trio.move_on_after(2):  # as far as it comes beside one that is not over
            while not (work / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
                await trio.sleep(0.05)
        process.send_signal(signal.SIGUSR1)
        report = await dash.ended(swarm)
        assert (report["tasks"]["completed"], report["tasks"]["cancelled"]) == (1, 1), report
        assert (fleet.working("desk"), (work / "marks").read_text()) == ({}, "next\n")
