"""What is wanted of a running attempt reaches its holder, over one that the test steers; and its time."""

import dataclasses
from types import SimpleNamespace
from typing import Literal

import pytest
import trio
import trio.testing

from dashd.domain.gates import Gate
from dashd.drivers.command import CommandDriver
from dashd.drivers.openclaw_protocol import Reply, Session, Waited
from dashd.runtime import gateway_entry
from dashd.runtime.gateway_link import GatewayLink
from dashd.runtime.plan import Plan
from dashd.runtime.run import Run
from dashd.runtime.supervisor import Supervisor
from dashd.runtime.wish import Wish
from dashd.runtime.world import World
from dashd.store import agents, attempts, decisions, inputs, stops, swarms
from dashd.store.inputs import InputRow
from dashd.store.queue import Claim
from tests.fakes.gateway_attempts import DRAINS, FakeGateway, link_to
from tests.fakes.scene import SWARM

LAUNCH = f"{SWARM}-t1.1"


async def test_pause_and_resume_reach_the_tree_and_come_back_as_facts(bed, autojump_clock, begun) -> None:
    holder = await begun()
    bed.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "pause"))
    await bed.until("agent.paused")
    assert bed.scene.agent().state == "paused"
    bed.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "run"))
    await bed.until("agent.resumed")
    assert bed.scene.agent().state == "running"
    assert holder.verbs() == ["adopt", "pause", "resume"]


class Soft(CommandDriver):
    """Its pause is the proxy's affair."""

    pause: Literal["hard", "soft"] = "soft"


@pytest.fixture
def soft(bed):
    """The bed with such a driver."""
    bed.world = dataclasses.replace(bed.world, drivers={"command": Soft()})
    bed.supervisor = Supervisor(bed.world, bed.nursery)
    return bed


def _pause(bed, *, hard: bool) -> None:
    bed.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "pause", hard=hard))


async def test_a_soft_pause_leaves_the_tree_alone_and_a_hard_one_stops_it(
    soft, autojump_clock, begun
) -> None:
    holder = await begun(timeout_s=300.0)
    _pause(soft, hard=False)
    await soft.until("agent.paused")
    assert holder.verbs() == ["adopt"]
    _pause(soft, hard=True)
    await holder.asked("pause")
    _pause(soft, hard=False)
    await holder.asked("resume")
    await trio.sleep(1_000)  # no time counts all the while
    assert soft.scene.agent().state == "paused"
    assert soft.scene.kinds().count("agent.paused") == 1
    soft.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "run"))
    await soft.until("agent.resumed")
    assert holder.verbs() == ["adopt", "pause", "resume"]


async def test_a_hard_pause_is_said_once_the_tree_is_stopped_and_outlives_the_daemon(
    soft, autojump_clock, begun
) -> None:
    holder = await begun(timeout_s=300.0)
    _pause(soft, hard=True)
    await soft.until("agent.paused")
    assert holder.verbs() == ["adopt", "pause"]
    await trio.sleep(1_000)
    holder.drops()  # what follows is another adoption, which knows rows and holder alone
    await trio.sleep(1_000)
    assert holder.verbs() == ["adopt", "pause", "adopt"]
    assert soft.scene.agent().state == "paused"
    soft.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "run"))
    await soft.until("agent.resumed")
    assert holder.verbs() == ["adopt", "pause", "adopt", "resume"]
    await holder.asked("stop")
    assert trio.current_time() == pytest.approx(2_300)


async def test_a_paused_swarm_pauses_what_runs(bed, autojump_clock, begun) -> None:
    holder = await begun()
    bed.ask(lambda tx: swarms.set_state(tx, bed.scene.row(), "paused"))
    await holder.asked("pause")
    bed.ask(lambda tx: swarms.set_state(tx, bed.scene.row(), "active"))
    await holder.asked("resume")


async def test_a_pause_wished_before_the_launch_is_carried_out_after_it(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    claim = bed.claim()
    bed.scene.do(lambda tx: agents.set_wanted(tx, claim.agent_id, "pause"))
    bed.supervisor.start(claim)
    await bed.until("agent.paused")


async def test_a_pause_that_comes_while_the_rows_are_read_is_not_forgotten(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    run = Run(bed.world, bed.claim())
    read = bed.store.own.read

    async def slow(query):
        found = await read(query)
        run.wish.set(stop=None, hold=True)  # the supervisor has seen newer rows meanwhile
        return found

    bed.store.own.read = slow
    await run.prepare()
    assert run.wish.hold


async def test_time_over_stops_the_tree_and_is_a_failure(bed, autojump_clock, begun) -> None:
    holder = await begun(timeout_s=300.0, grace_s=4.0, retries=0)
    stop = await holder.asked("stop")
    assert trio.current_time() == pytest.approx(300)
    assert stop == {"stop": 4.0}
    await bed.until("swarm.failed")
    assert bed.scene.task().cause == "ran longer than 300 s"


async def test_paused_time_does_not_count(bed, autojump_clock, begun) -> None:
    holder = await begun(timeout_s=300.0)
    await trio.sleep(100)
    bed.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "pause"))
    await bed.until("agent.paused")
    await trio.sleep(10_000)
    assert "stop" not in holder.verbs()
    bed.ask(lambda tx: agents.set_wanted(tx, f"{SWARM}-001", "run"))
    await bed.until("agent.resumed")
    await holder.asked("stop")
    assert trio.current_time() == pytest.approx(10_300)


async def test_a_success_that_beats_the_stop_counts(bed, autojump_clock, begun) -> None:
    holder = await begun(timeout_s=10.0)
    holder.obeys = False
    await holder.asked("stop")
    holder.exits(0)
    await bed.until("swarm.completed")


@pytest.mark.parametrize(("requeue", "task"), [(False, "cancelled"), (True, "ready")])
async def test_kill(bed, autojump_clock, begun, requeue, task) -> None:
    holder = await begun(grace_s=2.5)
    bed.ask(lambda tx: swarms.set_state(tx, bed.scene.row(), "paused"))
    await bed.until("agent.paused")
    bed.ask(lambda tx: stops.kill(tx, bed.scene.agent(), requeue=requeue))
    assert await holder.asked("stop") == {"stop": 2.5}
    await bed.until("agent.killed")
    assert bed.scene.task().state == task


async def test_time_does_not_count_while_it_waits_for_a_yes(bed, autojump_clock, begun) -> None:
    await begun(timeout_s=10.0)
    agent = f"{SWARM}-001"
    rule = Gate("g", "tool", "", 0, "ask", "operator", False, 1_000.0, "deny")
    question = decisions.Question(kind="tool", what="x", asked_by=agent, agent=agent, swarm=SWARM)
    await trio.sleep(6)
    row = bed.scene.do(lambda tx: decisions.request(tx, rule, question))
    await trio.sleep(100)
    assert attempts.get(bed.store.db, LAUNCH).stop is None
    bed.scene.do(lambda tx: decisions.decide(tx, row, "allow", "me", ""))
    await trio.sleep(3)
    assert attempts.get(bed.store.db, LAUNCH).stop is None
    await trio.sleep(2)
    assert attempts.get(bed.store.db, LAUNCH).stop == "timeout"
    await bed.until("task.retrying")


RESULT = '{"summary":"done","files_changed":[],"tests":[],"follow_ups":[]}'


@pytest.fixture
def returned(bed, monkeypatch):
    """`returned(grace_s)`: (the gateway, its attempt): an earlier daemon gave that its first turn, and
    this one takes it up when it is resumed.
    """
    gateway = FakeGateway()
    bed.world = dataclasses.replace(bed.world, gateway_doors=SimpleNamespace(keep_out=lambda _claim: None))
    bed.supervisor = Supervisor(bed.world, bed.nursery)

    async def enter(_world: World, claim: Claim, plan: Plan, _wish: Wish) -> GatewayLink:
        await trio.lowlevel.checkpoint()
        return link_to(gateway, len(plan.journal.rows), claim=claim)

    monkeypatch.setattr(gateway_entry, "enter_unless_stopped", enter)

    def make(grace_s: float) -> tuple[FakeGateway, Claim]:
        bed.scene.swarm("a", driver="openclaw", mode="gateway", argv="[]", timeout_s=300.0, grace_s=grace_s)
        claim = bed.claim()
        bed.scene.start(claim)
        given = InputRow(claim.attempt_id, 1, "turn:1", b'{"id": "turn:1", "message": "do it"}', 0, None)
        bed.scene.do(lambda tx: inputs.insert(tx, given))
        return gateway, claim

    return make


async def _resumed(bed, claim: Claim) -> None:
    taken = Run(bed.world, claim)
    await taken.prepare()
    bed.supervisor.resume(taken, None)
    await trio.sleep(60)


@pytest.mark.parametrize("grace_s", [0.0, 4.0])
@pytest.mark.parametrize("what", ["requeue", "cancel", "timeout"])
async def test_a_stop_is_heard_after_what_a_run_came_to_while_nobody_was_there(
    bed, autojump_clock, returned, what, grace_s
) -> None:
    gateway, claim = returned(grace_s)
    run_id = f"{claim.attempt_id}:turn:1"
    gateway.client.ended[run_id] = Waited("ok", 1.0, terminal_reply=Reply(RESULT))
    gateway.client.session = Session("done", run_id)
    if what == "timeout":
        bed.world.clock.advance(301_000)
    else:
        bed.scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, what))
    await _resumed(bed, claim)
    task, attempt = bed.scene.task(), bed.scene.attempt(claim)
    assert (task.state, attempt.state) == ("completed", "succeeded")
    assert (gateway.client.aborted, gateway.client.started) == (0, [])


@pytest.mark.parametrize("says", [True, False])
async def test_what_is_not_over_by_then_is_stopped_though_its_gateway_says_nothing(
    bed, autojump_clock, returned, says
) -> None:
    gateway, claim = returned(4.0)
    gateway.own, gateway.client.fresh = False, False
    gateway.client.session = Session("running", f"{claim.attempt_id}:turn:1")
    gateway.client.refuses = None if says else DRAINS
    bed.scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "cancel"))
    await _resumed(bed, claim)
    assert bed.scene.task().state == "cancelled"
    assert gateway.warmth.is_left(claim.agent_id) is not says
