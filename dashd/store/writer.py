"""The one thread that writes: it runs operations in order, many to a COMMIT, each in its own savepoint.

What it keeps: an acknowledged operation is durable; an operation that raises leaves nothing behind; event
order is commit order, with no gap in `seq`; every operation that was queued is answered, on every exit path.
It knows no table but `event` and `audit`. Readers never come here.
"""

import contextlib
import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import apsw
import trio

from dashd import clock as clocks
from dashd.store import audit, database
from dashd.store import bells as bells_
from dashd.store import tail as tail_
from dashd.store.transaction import BellName, Operation, Tx
from dashd.wire import errors, events

T = TypeVar("T")
AtPoint = Callable[[str], None]

BATCH_OPERATIONS_MAX: Final = 256
QUEUE_DEPTH_MAX: Final = 1024

# SQLite may have rolled the whole transaction back for these, so no operation of the batch can stand.
_FAULTS: Final = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.NoMemError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.ProtocolError,
)


class _Job(Generic[T]):
    """One operation on its way: who asked, and what came of it."""

    __slots__ = ("error", "operation", "task", "value")

    def __init__(self, operation: Operation[T], task: trio.lowlevel.Task | None) -> None:
        self.operation = operation
        self.task = task
        self.value: T | None = None
        self.error: Exception | None = None

    def answer(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # set by the operation, whose type is T


class _Outcome:
    """What a batch did beyond its answers; empty where it was rolled back."""

    __slots__ = ("callbacks", "events", "rings")

    def __init__(self) -> None:
        self.events: list[tail_.Committed] = []
        self.rings: set[BellName] = set()
        self.callbacks: list[Callable[[], None]] = []

    def add(self, tx: Tx) -> None:
        self.events += tx.events
        self.rings |= tx.rings
        self.callbacks += tx.callbacks


def nowhere(_point: str) -> None:
    """The `at_point` of a daemon that nobody is crashing on purpose."""


class Writer:
    """Takes operations from any trio task and makes them durable, in the order in which they came."""

    def __init__(
        self,
        db: apsw.Connection,
        clock: clocks.Clock,
        tail: tail_.Tail,
        bells: bells_.Bells,
        *,
        at_point: AtPoint = nowhere,
        batch_operations_max: int = BATCH_OPERATIONS_MAX,
        queue_depth_max: int = QUEUE_DEPTH_MAX,
    ) -> None:
        """`db` must be migrated and is not closed here; `tail.last_seq` must be the table's highest seq.

        `at_point` is called on the writer's thread with the name of each place where a crash is interesting.
        """
        self.broken = trio.Event()
        """Set when nothing can be written any more; who runs the daemon must then end it."""
        self._db = db
        self._cursor = db.cursor()
        self._clock = clock
        self._tail = tail
        self._bells = bells
        self._at_point = at_point
        self._batch_max = batch_operations_max
        self._room = trio.Semaphore(queue_depth_max)
        self._queue: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._in_hand: list[_Job[Any]] = []
        self._seq = tail.last_seq
        self._wal_pages = 0
        self._fault: errors.DashError | None = None
        self._closing = False
        self._ended = trio.Event()
        self._thread: threading.Thread | None = None
        db.set_wal_hook(self._note_wal_pages)

    # --- the trio side ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; from then on `apply` works. Call `aclose` in the end, whatever happens."""
        assert self._thread is None
        token = trio.lowlevel.current_trio_token()
        # A daemon thread, so that a crash of the event loop itself cannot leave a process that never ends.
        self._thread = threading.Thread(target=self._serve, args=(token,), name="dash-writer", daemon=True)
        self._thread.start()

    async def apply(self, operation: Operation[T]) -> T:
        """Run `operation` in its own savepoint; return what it returned once that is durable.

        It raises what the operation raised, which then changed nothing; or StoreFull (nothing was changed),
        StoreBroken (`broken` is set; whether it was changed shows after a restart), StoreClosed, or
        Unavailable while another program holds the database. Cancellation counts until the operation is
        queued; after that the answer comes first, so a caller is never in doubt. The wait is bounded
        by `queue_depth_max` operations.
        """
        assert self._thread is not None, "not started"
        await trio.lowlevel.checkpoint_if_cancelled()
        self._require_open()
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        try:
            self._require_open()
        except errors.DashError:
            self._room.release()  # the next in line wakes up and learns the same
            raise
        job = _Job(operation, trio.lowlevel.current_task())
        self._queue.put(job)
        await trio.lowlevel.wait_task_rescheduled(_stay)
        return job.answer()

    async def aclose(self) -> None:
        """Refuse new operations, finish the queued ones, end the thread. Twice is fine.

        Not cancellable, and bounded by `queue_depth_max` operations.
        """
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        if self._thread is None:
            return
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self._thread.join()

    def commit_now(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Commit these as one batch on this thread: the writer without its thread, for synchronous tests.

        For each operation what it returned, or the exception that `apply` would have raised.
        """
        assert self._thread is None, "the connection belongs to the writer's thread"
        self._require_open()
        jobs = [_Job(operation, None) for operation in operations]
        self._deliver(self._commit(jobs))
        return [job.value if job.error is None else job.error for job in jobs]

    def _require_open(self) -> None:
        if self._fault is not None:
            raise _again(self._fault)
        if self._closing:
            raise errors.StoreClosed

    def _answer(self, jobs: list[_Job[Any]], outcome: _Outcome) -> None:
        """Wake the callers of one batch; they run after everybody else has been told what it changed."""
        for job in jobs:
            assert job.task is not None
            self._room.release()
            trio.lowlevel.reschedule(job.task)
        self._deliver(outcome)

    def _deliver(self, outcome: _Outcome) -> None:
        if self._fault is not None:
            self.broken.set()
        if outcome.events:
            self._tail.publish(tail_.Batch(tuple(outcome.events)))
            self._bells.events.ring()
        for name in sorted(outcome.rings):
            self._bells.ring(name)
        for callback in outcome.callbacks:
            callback()

    def _end(self) -> None:
        """The thread has ended: answer whoever is left, which is nobody unless the thread died of a bug."""
        left = self._in_hand + [job for job in _drain(self._queue, self._queue.qsize()) if job is not None]
        if left or not self._closing:
            self._fault = self._fault or errors.StoreBroken("the writer thread has died")
            self._refuse(left, self._fault)
        self._answer(left, _Outcome())
        self._ended.set()

    # --- the thread ---------------------------------------------------------------------------------------

    def _serve(self, token: trio.lowlevel.TrioToken) -> None:
        try:
            more = True
            while more:
                more = self._take()
                if self._in_hand:
                    outcome = self._commit(self._in_hand)
                    self._at_point("writer.before_answer")
                    jobs, self._in_hand = self._in_hand, []
                    token.run_sync_soon(self._answer, jobs, outcome)
                    self._checkpoint(token)
        except trio.RunFinishedError:
            return  # the event loop has gone, and every caller with it
        finally:
            _soon(token, self._end)

    def _take(self) -> bool:
        """Wait for work and take all that is there, up to a batch; False once nothing more will come."""
        first = self._queue.get()
        if first is None:
            return False
        self._in_hand.append(first)
        # This thread is the only consumer, so what qsize promises is there.
        for job in _drain(self._queue, min(self._queue.qsize(), self._batch_max - 1)):
            if job is None:
                return False
            self._in_hand.append(job)
        return True

    def _commit(self, jobs: list[_Job[Any]]) -> _Outcome:
        """Run a batch in one transaction. Each job has its answer afterwards, whatever happened."""
        if self._fault is not None:
            return self._refuse(jobs, self._fault)
        outcome = _Outcome()
        seq = self._seq
        try:
            self._at_point("writer.before_begin")
            self._cursor.execute("BEGIN IMMEDIATE")
            now_ms = self._clock.now_ms()
            at, steady_ms = events.iso(now_ms), self._clock.steady_ms()
            for job in jobs:
                tx = Tx(self._cursor, now_ms, at, seq, steady_ms)
                if self._run(job, tx):
                    outcome.add(tx)
                    seq = tx.seq
            self._at_point("writer.before_commit")
            self._cursor.execute("COMMIT")
        except apsw.Error as error:
            return self._refuse(jobs, self._roll_back(error))
        self._seq = seq
        self._at_point("writer.after_commit")
        return outcome

    def _run(self, job: _Job[Any], tx: Tx) -> bool:
        """Run one operation; True where it stands. Raises where the whole transaction cannot."""
        self._cursor.execute("SAVEPOINT operation")
        try:
            job.value = job.operation(tx)
            audit.follow(tx)
            self._cursor.execute("RELEASE operation")
        except _FAULTS:
            raise
        except Exception as error:  # whatever it is, it belongs to the caller
            job.error = error
            job.value = None
            # A cursor in a dead frame would keep its statement, and with it the COMMIT, waiting.
            traceback.clear_frames(error.__traceback__)
            self._cursor.execute("ROLLBACK TO operation")
            self._cursor.execute("RELEASE operation")
            return False
        return True

    def _roll_back(self, error: apsw.Error) -> errors.DashError:
        """Undo what SQLite has not undone itself; decide whether this writer may go on."""
        fault = database.refusal(error, "writing", self._db.filename)
        try:
            if self._db.in_transaction:
                self._cursor.execute("ROLLBACK")
        except apsw.Error as second:
            fault = errors.StoreBroken(f"{fault.message}; rolling back: {second}", hint=fault.hint)
        if not isinstance(fault, errors.Unavailable):
            self._fault = fault
        return fault

    def _refuse(self, jobs: list[_Job[Any]], fault: errors.DashError) -> _Outcome:
        for job in jobs:
            # Even one that had raised by itself: it may have seen what an earlier one had written.
            job.value = None
            job.error = _again(fault)
        return _Outcome()

    def _note_wal_pages(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, token: trio.lowlevel.TrioToken) -> None:
        """Move the log into the database when it is long, after the answer, so that nobody waits for it.

        SQLite's own automatic checkpoint would hide its errors. A full disk is no fault here: what was
        acknowledged is in the log, and the next commit will try again.
        """
        if self._wal_pages < database.CHECKPOINT_PAGES or self._fault is not None:
            return
        self._wal_pages = 0
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.FullError, apsw.BusyError, apsw.LockedError):
            return
        except apsw.Error as error:
            self._fault = database.refusal(error, "checkpointing", self._db.filename)
            token.run_sync_soon(self._answer, [], _Outcome())


def _stay(_raise_cancel: object) -> trio.lowlevel.Abort:
    """A queued operation cannot be taken back: its caller waits for the answer, which always comes."""
    return trio.lowlevel.Abort.FAILED


def _again(fault: errors.DashError) -> errors.DashError:
    """The same refusal as a new object: each caller raises its own."""
    return type(fault)(fault.message, hint=fault.hint)


def _drain(source: queue.SimpleQueue[T], count: int) -> list[T]:
    return [source.get_nowait() for _ in range(count)]


def _soon(token: trio.lowlevel.TrioToken, function: Callable[[], None]) -> None:
    with contextlib.suppress(trio.RunFinishedError):
        token.run_sync_soon(function)
