"""`task.*`: check, decide, write, return."""

import msgspec

from dashd.domain import task as rules
from dashd.store import lifecycle, stops, swarms, tasks
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire.methods import task as wire

from . import pages, reach, retries, views
from .core import Caller, Core


async def list_(core: Core, caller: Caller, params: wire.ListTasks) -> wire.TaskList:
    """One page, oldest first."""
    after = pages.number(params.cursor)
    states = msgspec.json.encode(params.states).decode()

    def query(db: Snapshot) -> wire.TaskList:
        if params.swarm:
            swarms.get(db, params.swarm)
        among = reach.among(db, caller)
        rows, last, total = tasks.page(db, params.swarm or None, states, after, params.limit, among)
        next_cursor = str(last) if len(rows) == params.limit else ""
        return wire.TaskList(
            items=[views.task_brief(row) for row in rows], next_cursor=next_cursor, total=total
        )

    return await core.store.reader.read(query)


async def get(core: Core, _caller: Caller, params: wire.GetTask) -> wire.Task:
    """How the task stands, in one snapshot."""
    steady_ms = core.clock.steady_ms()
    return await core.store.reader.read(lambda db: views.task(db, tasks.get(db, params.task), steady_ms))


async def cancel(core: Core, _caller: Caller, params: wire.CancelTask) -> wire.TaskChanged:
    """What does not run is cancelled at once; what runs is cancelled when its process has ended."""

    def operation(tx: Tx) -> wire.TaskChanged:
        task = tasks.get(tx.db, params.task)
        changed = task.state not in rules.ENDED
        stops.cancel(tx, task, "cancelled on request")
        lifecycle.settle_swarm(tx, task.swarm_id)
        return _changed(tx, task.id, changed=changed)

    return await core.store.writer.apply(operation)


async def retry(core: Core, _caller: Caller, params: wire.RetryTask) -> wire.TaskChanged:
    """Makes an ended task ready again, with all its retries."""

    def operation(tx: Tx) -> wire.TaskChanged:
        retries.retry(tx, tasks.get(tx.db, params.task))
        return _changed(tx, params.task, changed=True)

    return await core.store.writer.apply(operation)


def _changed(tx: Tx, task_id: str, *, changed: bool) -> wire.TaskChanged:
    state = tasks.get(tx.db, task_id).state
    return wire.TaskChanged(id=task_id, state=state, changed=changed, cursor=tx.seq)  # type: ignore[arg-type]
