"""Going on with a session elsewhere: once, and stopped before it is copied."""

from functools import partial

import pytest
import trio

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import agents, seats, session_moves, sessions, stops, tasks
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors
from dashd.wire.events import iso
from tests.fakes.scene import SWARM
from tests.service.test_sessions import ID, claimed, core, lost, port, running

__all__ = ["claimed", "core", "lost", "port", "running"]
OTHER = "other1"


@pytest.fixture
def other(scene, running):
    scene.swarm("w", swarm_id=OTHER)


def kept(scene, checkpoint="c-1"):
    """The end of the attempt, as the runtime writes it."""
    row = CheckpointRow(checkpoint, ID, "automatic", "", "n4", 4, 10, 0)

    def operation(tx):
        sessions.keep_newest(tx, row, 1_000, needed=True)
        session_moves.ended(tx, ID, row.id, "")

    scene.do(operation)


async def test_what_runs_is_stopped_first_and_its_successor_waits_for_its_end(
    call, scene, other, running
) -> None:
    made = []
    async with trio.open_nursery() as nursery:

        async def migrate() -> None:
            made.append(await call("session.migrate", session=ID, swarm=OTHER, idempotency_key="k"))

        nursery.start_soon(migrate)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.attempt(running).stop == "kill"
        seat = agents.get(scene.db, f"{OTHER}-002")
        (task,) = tasks.pinned(scene.db, seat.id)
        taken = {claim.task_id for claim in scene.claim()}
        assert task.id not in taken, "nobody takes it before the other one has ended"
        scene.end(running, "failed", "killed", exit_signal=9)
        kept(scene)
    (answer,) = made
    assert (answer.agent, answer.task, answer.checkpoint, answer.step) == (seat.id, task.id, "c-1", "n4")
    assert sessions.is_broken_off(scene.db, task.id)
    assert task.id in {claim.task_id for claim in scene.claim()}
    again = await call("session.migrate", session=ID, swarm=OTHER, idempotency_key="k")
    assert (again.agent, again.checkpoint, again.deduplicated) == (seat.id, "c-1", True)
    with pytest.raises(errors.Conflict, match=f"was migrated: agent {seat.id} of swarm {OTHER}"):
        await call("session.migrate", session=ID, swarm=OTHER)


@pytest.mark.parametrize("began", [False, True])
async def test_an_attempt_that_is_about_to_begin_is_stopped_first_too(
    call, scene, other, claimed, began
) -> None:
    made = []
    async with trio.open_nursery() as nursery:

        async def migrate() -> None:
            made.append(await call("session.migrate", session=ID, swarm=OTHER))

        nursery.start_soon(migrate)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.attempt(claimed).stop == "cancel"
        (task,) = tasks.pinned(scene.db, f"{OTHER}-002")
        assert task.id not in {claim.task_id for claim in scene.claim()}, "its program may be starting"
        if began:
            scene.start(claimed)
            attempt = scene.attempt(claimed)
            scene.do(lambda tx: sessions.opened(tx, ID, attempt, SWARM, "command"))
            scene.end(claimed, "failed", "killed", exit_signal=9)
        else:
            scene.end(claimed, "never", "stopped before it started")
        kept(scene)
    assert (made[0].task, made[0].checkpoint) == (task.id, "c-1")
    assert scene.task().cause == f"its session goes on in swarm {OTHER}"
    assert sessions.is_broken_off(scene.db, task.id)
    assert task.id in {claim.task_id for claim in scene.claim()}


async def test_one_that_is_claimed_while_it_is_copied_is_looked_at_again(
    call, scene, clock, port, other, lost
) -> None:
    keep, found = port.keep, []

    async def slow(checkpoint_id, data):
        await keep(checkpoint_id, data)
        clock.advance(60_000)
        found.extend(claim for claim in scene.claim() if claim.task_id == f"{SWARM}-t1")

    port.keep = slow
    async with trio.open_nursery() as nursery:

        async def migrate() -> None:
            await call("session.migrate", session=ID, swarm=OTHER)

        nursery.start_soon(migrate)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.attempt(found[0]).stop == "cancel"
        scene.end(found[0], "never", "stopped before it started")
        kept(scene)
    assert scene.states() == ["cancelled", "ready"]


@pytest.fixture
def elsewhere(scene, clock):
    """The session was lost, and another seat has its task, in a clone and so in a session of its own."""
    scene.swarm("a", "b", agents_made=2, repo=repository.to_json(Terms("/repo", "b" * 40)), cwd="/repo")
    (claim,) = scene.claim(1)
    scene.start(claim)
    scene.do(lambda tx: sessions.opened(tx, ID, scene.attempt(claim), SWARM, "command"))
    scene.end(claim, "lost", "nobody knows")
    scene.do(lambda tx: agents.set_wanted(tx, claim.agent_id, "pause"))
    clock.advance(60_000)
    (next_,) = scene.claim()
    assert (next_.task_id, next_.agent_id) == (claim.task_id, f"{SWARM}-002")
    scene.swarm("w", swarm_id=OTHER)
    return next_


@pytest.mark.parametrize("runs", [False, True])
async def test_one_whose_task_is_done_in_another_session_is_migrated_there_alone(
    call, scene, port, elsewhere, runs
) -> None:
    assert (await call("session.get", session=ID)).state == "closed", "that one begins another session"
    if runs:
        scene.start(elsewhere)
    before = scene.seq
    why = f"agent {SWARM}-002 is at task {SWARM}-t1 again, in another session than {ID}: {SWARM}-t1.2"
    with pytest.raises(errors.Conflict, match=why) as refused:
        await call("session.migrate", session=ID, swarm=OTHER)
    assert f"session.migrate {SWARM}-t1.2 moves that one" in refused.value.hint
    assert (scene.seq, port.copies) == (before, {})


async def test_once_another_seat_has_let_its_task_go_it_is_migrated(call, scene, elsewhere) -> None:
    scene.end(elsewhere, "never", "its workspace was not there")
    assert (await call("session.get", session=ID)).state == "waiting"
    moved = await call("session.migrate", session=ID, swarm=OTHER)
    assert (scene.task().state, sessions.seed(scene.db, moved.task)) == ("cancelled", moved.checkpoint)


async def test_one_that_was_migrated_is_gone_on_with_by_nobody_in_its_old_place(
    call, scene, clock, other, lost
) -> None:
    def again():
        clock.advance(60_000)
        return next(claim for claim in scene.claim() if claim.task_id == lost.task_id)

    await call("session.migrate", session=ID, swarm=OTHER)
    await call("task.retry", task=lost.task_id)
    assert (await call("session.get", session=ID)).state == "closed", "though its task is due"
    second = again()
    assert sessions.begun_by(scene.db, scene.attempt(second)).id == second.attempt_id
    assert (await call("session.get", session=ID)).state == "closed"
    scene.start(second)
    scene.end(second, "lost", "nobody knows")
    assert sessions.begun_by(scene.db, scene.attempt(again())).id == second.attempt_id


async def test_a_task_that_was_to_be_tried_again_is_not_where_its_session_goes_on_elsewhere(
    call, scene, other, running
) -> None:
    scene.end(running, "failed", "exit code 1", exit_code=1)
    assert (scene.task().state, (await call("session.get", session=ID)).state) == ("retrying", "closed")
    await call("session.migrate", session=ID, swarm=OTHER)
    assert (scene.states(), scene.seat_states()) == (["cancelled", "ready"], ["idle"])
    assert scene.task().cause == f"its session goes on in swarm {OTHER}"


async def test_one_whose_task_is_claimed_elsewhere_while_it_is_copied_is_not_migrated(
    call, scene, clock, port, running
) -> None:
    scene.swarm("w", swarm_id=OTHER)
    scene.end(running, "failed", "exit code 1", exit_code=1)
    keep = port.keep

    async def slow(checkpoint_id, data):
        await keep(checkpoint_id, data)
        clock.advance(60_000)
        scene.claim()

    port.keep = slow
    with pytest.raises(errors.Conflict, match="again, in another session"):
        await call("session.migrate", session=ID, swarm=OTHER)
    assert port.copies == {}


async def test_what_could_not_be_copied_is_said_by_its_task(call, scene, other, running) -> None:
    async with trio.open_nursery() as nursery:

        async def migrate() -> None:
            with pytest.raises(errors.Unavailable, match="could not be copied: no room"):
                await call("session.migrate", session=ID, swarm=OTHER)

        nursery.start_soon(migrate)
        await trio.testing.wait_all_tasks_blocked()
        scene.end(running, "failed", "killed", exit_signal=9)
        scene.do(lambda tx: session_moves.ended(tx, ID, None, "no room"))
    assert "could not be copied" in tasks.get(scene.db, f"{OTHER}-t2").cause


async def test_a_closed_one_is_migrated_at_once_and_no_second_time(call, scene, other, running) -> None:
    scene.end(running)
    moved = await call("session.migrate", session=ID, swarm=OTHER, task="more")
    assert sessions.seed(scene.db, moved.task) == moved.checkpoint
    assert not sessions.is_broken_off(scene.db, moved.task)
    assert tasks.get(scene.db, moved.task).text == "more"
    with pytest.raises(errors.Conflict, match="was migrated"):
        await call("session.migrate", session=ID, swarm=OTHER)


async def test_an_agent_at_another_task_is_let_be_when_its_earlier_session_is_migrated(
    call, scene, other, lost
) -> None:
    (meanwhile,) = scene.claim(1)
    assert (meanwhile.agent_id, meanwhile.swarm_id) == (lost.agent_id, SWARM)
    moved = await call("session.migrate", session=ID, swarm=OTHER)
    assert sessions.is_broken_off(scene.db, moved.task)
    assert (scene.states(), scene.attempt(meanwhile).stop) == (["cancelled", "running"], None)
    assert scene.task().cause == f"its session goes on in swarm {OTHER}"
    scene.end(meanwhile)
    assert scene.seat_states() == ["completed"]


async def test_one_that_waits_goes_on_nowhere_else_once_its_agent_has_ended(call, scene, other, lost) -> None:
    scene.do(lambda tx: seats.add(tx, SWARM, 1))
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=True))
    await call("session.migrate", session=ID, swarm=OTHER)
    assert scene.states() == ["cancelled", "ready"]


async def test_what_else_the_swarm_of_a_running_session_has_is_done(call, scene, other, running) -> None:
    async with trio.open_nursery() as nursery:

        async def migrate() -> None:
            await call("session.migrate", session=ID, swarm=OTHER)

        nursery.start_soon(migrate)
        await trio.testing.wait_all_tasks_blocked()
        scene.end(running, "failed", "killed", exit_signal=9)
        kept(scene)
    assert scene.states() == ["cancelled", "ready"]
    assert f"session goes on in swarm {OTHER}" in (scene.task().cause or "")
    assert f"{SWARM}-t2" in {claim.task_id for claim in scene.claim()}


async def test_what_else_the_swarm_of_a_waiting_session_has_is_done(call, scene, other, lost) -> None:
    await call("session.migrate", session=ID, swarm=OTHER)
    assert scene.states() == ["cancelled", "ready"]
    assert scene.seat_states() == ["killed", "idle"]
    assert f"{SWARM}-t2" in {claim.task_id for claim in scene.claim()}


async def test_the_swarm_that_a_waiting_session_leaves_ends_where_nothing_is_left(
    call, scene, other, lost
) -> None:
    scene.do(lambda tx: stops.cancel(tx, scene.task(2), "on request"))
    await call("session.migrate", session=ID, swarm=OTHER)
    assert scene.row().ended_at_ms is not None


async def test_a_successor_says_whom_it_waits_for_how_long_and_what_to_do(
    call, scene, clock, other, running
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(call, "session.migrate", session=ID, swarm=OTHER))
        await trio.testing.wait_all_tasks_blocked()
        seat, at = f"{OTHER}-002", clock.now_ms()
        for claim in scene.claim():
            scene.start(claim)
        clock.advance(12_000)
        found = await call("agent.why", agent=seat)
        first = f"{SWARM}-001"
        assert (found.waits_for, found.on, found.since) == ("predecessor", [first], iso(at))
        assert f"goes on with session {ID} once agent {first} has ended" in found.text
        assert "told to stop 12 s ago and is killed if it takes more than 5 s" in found.text
        assert f"agent.kill {seat} gives this up" in found.text
        scene.end(running, "failed", "killed", exit_signal=9)
        kept(scene)
    assert (await call("agent.why", agent=seat)).waits_for == "start"


async def test_files_that_were_not_brought_back_are_said_in_the_answer(call, scene, other, running) -> None:
    made = []
    async with trio.open_nursery() as nursery:

        async def migrate() -> None:
            made.append(await call("session.migrate", session=ID, swarm=OTHER, idempotency_key="k"))

        nursery.start_soon(migrate)
        await trio.testing.wait_all_tasks_blocked()
        scene.end(running, "failed", "killed", exit_signal=9)
        scene.do(lambda tx: tx.execute("UPDATE session_move SET note = 'its clone begins at b'"))
        kept(scene)
    assert made[0].notes == ["its clone begins at b"]
    again = await call("session.migrate", session=ID, swarm=OTHER, idempotency_key="k")
    assert (again.notes, again.deduplicated) == (["its clone begins at b"], True)


async def test_one_that_was_migrated_is_resumed_by_nobody_and_may_be_forked(
    call, scene, port, other, running
) -> None:
    scene.end(running)
    moved = await call("session.migrate", session=ID, swarm=OTHER)
    before, copies = scene.seq, dict(port.copies)
    why = f"was migrated: agent {moved.agent} of swarm {OTHER} goes on with it in task {moved.task}$"
    for more in ({}, {"task": "more"}):
        with pytest.raises(errors.Conflict, match=why):
            await call("session.resume", session=ID, **more)
    assert (scene.seq, port.copies) == (before, copies)
    forked = await call("session.fork", session=ID, task="another one")
    assert forked.swarm == SWARM


async def test_one_that_is_migrated_while_it_is_copied_is_not_resumed(
    call, scene, port, other, running
) -> None:
    scene.end(running)
    keep = port.keep

    async def slow(checkpoint_id, data):
        port.keep = keep
        await call("session.migrate", session=ID, swarm=OTHER)
        await keep(checkpoint_id, data)

    port.keep = slow
    with pytest.raises(errors.Conflict, match="was migrated"):
        await call("session.resume", session=ID)
    assert len(port.copies) == 1, "that of the migration"
    assert scene.states() == ["completed", "ready"]


async def test_it_does_not_move_to_where_it_is(call, scene, running) -> None:
    before = scene.seq
    with pytest.raises(errors.Conflict, match=f"is of swarm {SWARM} already") as refused:
        await call("session.migrate", session=ID, swarm=SWARM)
    assert refused.value.path == "swarm"
    assert (scene.seq, scene.attempt(running).stop) == (before, None)
