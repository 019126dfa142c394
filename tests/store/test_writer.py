"""Operations are done whole or not at all, in order, and each is answered, whatever the others do."""

import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import apsw
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from dashd import store
from dashd.store import bells, database, migrations, tail, writer
from dashd.wire import errors
from tests.fakes.clock import FixedClock
from tests.store.conftest import Note, keys


class Refused(Exception):
    """What a failing operation raises here."""


class Gate:
    """An `at_point` that holds the writer's thread at one point until it is let go."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, point: str) -> None:
        if point == self._point:
            self._reached.set()
            assert self._open.wait(10)

    async def reached(self) -> None:
        """Return once the writer stands there; what it has in hand is fixed from then on."""
        assert await trio.to_thread.run_sync(self._reached.wait, 10)

    def set(self) -> None:
        self._open.set()


@asynccontextmanager
async def started(
    db: apsw.Connection, at_point: Callable[[str], None] = writer.nowhere, **limits: int
) -> AsyncIterator[writer.Writer]:
    ours = writer.Writer(db, FixedClock(), tail.Tail(0), bells.Bells(), at_point=at_point, **limits)
    ours.start()
    with trio.fail_after(20):
        try:
            yield ours
        finally:
            if isinstance(at_point, Gate):
                at_point.set()
            await ours.aclose()


# --- without a thread --------------------------------------------------------------------------------------


def test_an_operation_that_raises_is_undone_and_hurts_nobody(inline: writer.Writer, db) -> None:
    failure = Refused("no")
    answers = inline.commit_now([Note("a"), Note("b", failure=failure), Note("c")])
    assert answers == [1, failure, 2], "its seq was used again"
    assert keys(db) == ["a", "c"]
    assert inline.commit_now([Note("d")]) == [3]


def test_a_constraint_is_the_caller_s_own_error(inline: writer.Writer, db) -> None:
    answers = inline.commit_now([Note("a"), Note("a"), Note("b")])
    assert answers[0] == 1
    assert isinstance(answers[1], apsw.ConstraintError)
    assert answers[2] == 2
    assert keys(db) == ["a", "b"]


def test_seq_goes_on_where_the_table_ends(inline: writer.Writer, db) -> None:
    inline.commit_now([Note("a"), Note("b")])
    again = writer.Writer(db, FixedClock(), tail.Tail(2), bells.Bells())
    assert again.commit_now([Note("c")]) == [3]
    assert keys(db) == ["a", "b", "c"]


def test_an_unread_cursor_is_the_fault_of_its_operation_alone(inline: writer.Writer, db) -> None:
    held = []

    def returns_it(tx: store.Tx) -> object:
        return tx.execute("UPDATE daemon SET epoch = epoch + 1 RETURNING epoch")

    def raises_over_it(tx: store.Tx) -> None:
        for row in tx.execute("UPDATE daemon SET epoch = epoch + 1 RETURNING epoch"):
            raise Refused(row)

    answers = inline.commit_now([Note("a"), returns_it, raises_over_it, Note("b")])
    held.append(answers[2])  # a caller that keeps the exception keeps no statement open
    assert answers[0] == 1
    assert isinstance(answers[1], apsw.BusyError)
    assert isinstance(answers[2], Refused)
    assert answers[3] == 2
    assert keys(db) == ["a", "b"]


def test_an_operation_that_ends_the_transaction_breaks_the_writer(inline: writer.Writer, db) -> None:
    answers = inline.commit_now([Note("a"), lambda tx: tx.execute("ROLLBACK").get, Note("b")])
    assert [type(answer) for answer in answers] == [errors.StoreBroken] * 3
    assert inline.broken.is_set()
    assert keys(db) == []


def test_the_tail_and_the_bells_speak_only_of_what_stands(db) -> None:
    ours, ringing = tail.Tail(0), bells.Bells()
    got: list[list[int]] = []
    ours.follow(lambda batch: got.append([event.seq for event in batch.events]))
    inline = writer.Writer(db, FixedClock(), ours, ringing)

    def rung(*operations: store.Operation[object]) -> set[str]:
        tickets = {name: getattr(ringing, name).ticket() for name in ("events", "queue", "agents")}
        inline.commit_now(operations)
        return {name for name, ticket in tickets.items() if ticket.is_set()}

    def ring_queue(tx: store.Tx) -> None:
        tx.ring("queue")

    def ring_agents_and_fail(tx: store.Tx) -> None:
        tx.ring("agents")
        tx.emit("task.created")
        raise Refused

    assert rung(Note("a"), Note("b")) == {"events"}
    assert rung(ring_queue) == {"queue"}
    assert rung(ring_agents_and_fail) == set()
    assert rung(lambda tx: tx.ring("agents"), ring_queue, Note("c")) == {"events", "queue", "agents"}
    assert got == [[1, 2], [3]]
    assert [event.body for event in ours.since(0) or []] == [
        str(body).encode() for (body,) in db.execute("SELECT body FROM event ORDER BY seq")
    ]


def test_the_points_are_passed_in_order(db) -> None:
    points: list[tuple[str, bool]] = []
    inline = writer.Writer(
        db,
        FixedClock(),
        tail.Tail(0),
        bells.Bells(),
        at_point=lambda point: points.append((point, db.in_transaction)),
    )
    inline.commit_now([Note("a")])
    assert points == [
        ("writer.before_begin", False),
        ("writer.before_commit", True),
        ("writer.after_commit", False),
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 5)),
        st.tuples(st.just("take"), st.integers(0, 5)),
        st.tuples(st.just("emit"), st.just(0)),
        st.tuples(st.just("ring"), st.just(0)),
        st.tuples(st.just("raise"), st.just(0)),
    ),
    max_size=5,
)


@given(batches=st.lists(st.lists(STEPS, min_size=1, max_size=6), max_size=6))
def test_batches_of_failing_operations_match_a_plain_model(batches) -> None:
    db = apsw.Connection(":memory:")
    migrations.migrate(db, database.Path("memory"), FixedClock())
    ours = tail.Tail(0)
    inline = writer.Writer(db, FixedClock(), ours, bells.Bells())
    rows: dict[str, int] = {}
    told = 0

    def operation(steps) -> store.Operation[list[int]]:
        def run(tx: store.Tx) -> list[int]:
            seqs = []
            for verb, key in steps:
                if verb == "put":
                    tx.execute("INSERT INTO idempotency VALUES (?, 'm', 'h', '', ?)", (str(key), len(steps)))
                elif verb == "take":
                    tx.execute("DELETE FROM idempotency WHERE key = ?", (str(key),))
                elif verb == "emit":
                    seqs.append(tx.emit("task.created", swarm="s"))
                elif verb == "ring":
                    tx.ring("queue")
                else:
                    raise Refused
            return seqs

        return run

    for batch in batches:
        answers = inline.commit_now([operation(steps) for steps in batch])
        for steps, answer in zip(batch, answers, strict=True):
            trial, count, fails = dict(rows), 0, None
            for verb, key in steps:
                if (verb == "put" and str(key) in trial) or verb == "raise":
                    fails = apsw.ConstraintError if verb == "put" else Refused
                    break
                if verb == "put":
                    trial[str(key)] = len(steps)
                elif verb == "take":
                    trial.pop(str(key), None)
                elif verb == "emit":
                    count += 1
            if fails:
                assert isinstance(answer, fails)
            else:
                assert answer == list(range(told + 1, told + count + 1))
                rows, told = trial, told + count
    assert dict(db.execute("SELECT key, at_ms FROM idempotency")) == rows
    assert [seq for (seq,) in db.execute("SELECT seq FROM event ORDER BY seq")] == list(range(1, told + 1))
    assert [event.seq for event in ours.since(0) or []] == list(range(1, told + 1))
    db.close()


# --- with its thread ---------------------------------------------------------------------------------------


async def test_an_answer_comes_after_the_commit_from_another_thread(db, path) -> None:
    threads = []

    def operation(tx: store.Tx) -> int:
        threads.append(threading.current_thread().name)
        return Note("a")(tx)

    async with started(db) as ours:
        assert await ours.apply(operation) == 1
        other = database.connect(path, readonly=True)
        assert keys(other) == ["a"]
        other.close()
    assert threads == ["dash-writer"]


async def test_what_waits_together_is_committed_together(db) -> None:
    gate, commits = Gate("writer.before_begin"), []
    db.set_commit_hook(lambda: bool(commits.append(1)))
    async with started(db, gate, batch_operations_max=10) as ours, trio.open_nursery() as nursery:
        nursery.start_soon(ours.apply, Note("first"))
        await gate.reached()
        for number in range(25):
            nursery.start_soon(ours.apply, Note(str(number)))
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert len(keys(db)) == 26
    assert len(commits) == 4, "1, 10, 10 and 5"


async def test_a_caller_cancelled_before_queueing_changes_nothing(db) -> None:
    gate = Gate("writer.before_begin")
    async with started(db, gate, queue_depth_max=1) as ours, trio.open_nursery() as nursery:
        nursery.start_soon(ours.apply, Note("first"))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await ours.apply(Note("never"))
        assert scope.cancelled_caught
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await ours.apply(Note("neither"))
        assert cancelled.cancelled_caught
        gate.set()
    assert keys(db) == ["first"]


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_caller_cancelled_after_queueing_gets_its_answer_first(db) -> None:
    gate, answers = Gate("writer.before_begin"), []

    async def caller() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            answers.append(await ours.apply(Note("a")))
            await trio.lowlevel.checkpoint()
            answers.append("not reached")
        answers.append(scope.cancelled_caught)

    scopes: list[trio.CancelScope] = []
    async with started(db, gate) as ours, trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        gate.set()
    assert answers == [1, True]
    assert keys(db) == ["a"]


async def test_closing_finishes_the_queued_and_refuses_the_others(db) -> None:
    gate, answers = Gate("writer.before_begin"), {}

    async def caller(key: str) -> None:
        try:
            answers[key] = await ours.apply(Note(key))
        except errors.StoreClosed as error:
            answers[key] = type(error)

    async with started(db, gate, queue_depth_max=2) as ours, trio.open_nursery() as nursery:
        for key in "abcde":  # two are queued, three wait for room
            nursery.start_soon(caller, key)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ours.aclose)
        await trio.testing.wait_all_tasks_blocked()
        await caller("late")
        gate.set()
    closed = errors.StoreClosed
    assert answers == {"a": 1, "b": 2, "c": closed, "d": closed, "e": closed, "late": closed}
    assert keys(db) == ["a", "b"]


async def test_closing_twice_and_without_work_is_fine(db) -> None:
    async with started(db) as ours:
        await ours.aclose()
        await ours.aclose()
    with pytest.raises(errors.StoreClosed):
        await ours.apply(Note("a"))
    assert not ours.broken.is_set()
    await writer.Writer(db, FixedClock(), tail.Tail(0), bells.Bells()).aclose()


async def test_an_operation_cancelled_scope_and_all_still_closes(db) -> None:
    with trio.CancelScope() as scope:
        async with started(db) as ours:
            scope.cancel()
            await ours.apply(Note("a"))
    assert scope.cancelled_caught
    assert keys(db) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_of_a_bug_answers_everybody(db) -> None:
    gate = Gate("writer.before_begin")
    answers = []

    def die(point: str) -> None:
        gate(point)
        raise KeyError("a bug of the writer's")

    async def caller(key: str) -> None:
        try:
            await ours.apply(Note(key))
        except errors.StoreBroken as error:
            answers.append(error)

    async with started(db, die, queue_depth_max=3) as ours, trio.open_nursery() as nursery:
        for key in "abcde":
            nursery.start_soon(caller, key)
            await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await ours.broken.wait()
        await caller("late")
    assert len(answers) == 6
    assert len({id(error) for error in answers}) == 6, "each caller has its own"


async def test_a_held_lock_is_said_and_passes(db, path) -> None:
    other = database.connect(path)
    db.set_busy_timeout(10)
    async with started(db) as ours:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.Unavailable, match=r"writing the database .*locked") as refused:
            await ours.apply(Note("a"))
        assert "another program" in refused.value.hint
        other.execute("ROLLBACK")
        assert await ours.apply(Note("b")) == 1
        assert not ours.broken.is_set()
    other.close()


@pytest.mark.slow
async def test_two_thousand_callers_with_failures_match_a_plain_model(db) -> None:
    chance = random.Random(2)
    stands: list[tuple[int, str]] = []
    failed: list[bool] = []
    followed: list[int] = []

    async def caller(key: str, failure: Exception | None, cancel: bool) -> None:
        with trio.CancelScope() as scope:
            if cancel:
                nursery.start_soon(cancel_soon, scope)
            try:
                stands.append((await ours.apply(Note(key, failure=failure)), key))
            except Refused as raised:
                failed.append(raised is failure)

    async def cancel_soon(scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        scope.cancel()

    async with started(db, queue_depth_max=300) as ours:
        ours._tail.follow(lambda batch: followed.extend(event.seq for event in batch.events))
        async with trio.open_nursery() as nursery:
            for number in range(2000):
                failure = Refused(number) if chance.random() < 0.3 else None
                nursery.start_soon(caller, str(number), failure, chance.random() < 0.1)
    assert len(stands) > 1000
    assert len(failed) > 400
    assert all(failed), "each got its own"
    assert keys(db) == [key for _, key in sorted(stands)]
    assert sorted(seq for seq, _ in stands) == followed == list(range(1, len(stands) + 1))


async def test_a_long_log_is_checkpointed_after_the_answer(db, path) -> None:
    def big(tx: store.Tx) -> None:
        tx.execute("DELETE FROM idempotency")
        tx.execute("INSERT INTO idempotency VALUES ('k', 'm', 'h', hex(zeroblob(3000000)), 0)")

    async with started(db) as ours:
        for _ in range(4):
            await ours.apply(big)
    log = path.with_name("dash.db-wal").stat().st_size
    assert 6_000_000 < log < 13_000_000, "the log is used again, not grown"
