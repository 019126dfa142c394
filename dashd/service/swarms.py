"""`swarm.*`: check, decide, write, return."""

from collections.abc import Callable
from typing import Literal

import msgspec

from dashd.domain import dollars, ids
from dashd.domain import swarm as rules
from dashd.domain.strategies import STRATEGIES
from dashd.store import (
    access_keys,
    agents,
    allotments,
    approvals,
    decisions,
    lifecycle,
    limits,
    seats,
    sessions,
    stops,
    swarms,
    tasks,
    workspaces,
)
from dashd.store.rows import Snapshot, SwarmRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import swarm as wire
from dashd.wire.methods.table import PRIORITIES

from . import budgets, drivers, models, modes, pages, plans, reach, repositories, views, walls
from .core import Caller, Core
from .idempotency import once, replay

_GOAL_CHARS_MAX = 300


async def create(core: Core, caller: Caller, params: wire.CreateSwarm) -> wire.SwarmCreated:
    """Makes the swarm, its seats and its tasks in one operation; the scheduler starts them."""
    key = params.idempotency_key
    if (known := await replay(core, caller, "swarm.create", params, key, wire.SwarmCreated)) is not None:
        return known
    if params.dry_run:
        _, why_driver = await drivers.of_swarm(core, params)
        await prepare(core, caller, params)
        return await _only_planned(core, caller, params, why_driver)
    make = await prepare(core, caller, params)
    work = once(caller, "swarm.create", params, key, lambda tx: make(tx, params.task), wire.SwarmCreated)
    return await core.store.writer.apply(work)


async def prepare(
    core: Core, caller: Caller, params: wire.CreateSwarm
) -> Callable[[Tx, str], wire.SwarmCreated]:
    """Checks all that can be checked before; gives what makes the swarm, with this task."""
    refuse_nul("task", params.task)
    for index, item in enumerate(params.items or ()):
        refuse_nul(f"items[{index}]", item)
    driver, why_driver = await drivers.of_swarm(core, params)
    place = await repositories.prepare(core, params)
    argv, cwd = await drivers.check(core, params, driver, place.cwd)
    new_id = ids.swarm_id(core.clock.token(ids.SWARM_ID_BITS))
    items = params.items or [str(number + 1) for number in range(params.agents)]
    planned = STRATEGIES[params.strategy](items)
    brief = plans.brief_of(params, argv, cwd, items[0])
    ready = await plans.prepare(core, params, driver, brief, tasks=len(items))
    walled = await walls.prepare(core, caller, params, place, cwd, driver)
    way = await modes.prepare(core, params, driver)

    def operation(tx: Tx, task: str) -> wire.SwarmCreated:
        refuse_nul("task", task)
        row = _row(tx, new_id, params, walled, driver=driver, why_driver=why_driver, argv=argv, cwd=cwd)
        row = msgspec.structs.replace(row, goal=task, repo=place.json, mode=way.mode, placement=way.placement)
        modes.refuse_asking(tx.db, row)
        plans.refuse_unstartable(tx.db, ready)
        if swarms.find(tx.db, row.id):
            raise errors.Conflict(f"the id {row.id} is taken", hint="call again; a new id is drawn each time")
        question = _question(core, caller, row, ready)
        gate = decisions.judge(tx.db, question) if question.amount else None
        if gate is not None and gate.verdict == "deny":
            raise decisions.refusal(decisions.Asked("deny", gate.name), question.what)
        waits = gate is not None and gate.verdict == "ask"
        row = msgspec.structs.replace(row, state="creating" if waits else "active")
        swarms.insert(tx, row)
        allotments.open_swarm(tx, row.id, ready.terms)
        cursor = tx.emit("swarm.created", swarm=row.id, data={"name": row.name, "driver": driver})
        made = [tasks.new(row, number + 1, item.item, at_ms=tx.now_ms) for number, item in enumerate(planned)]
        for new, item in zip(made, planned, strict=True):
            tasks.insert(tx, new, tuple(made[index].id for index in item.after))
            sessions.begin_from(tx, new.id, params.begin_from or None, driver)
            tx.emit("task.created", swarm=row.id, task=new.id)
        swarms.take_numbers(tx, row.id, tasks=len(made))
        count = min(params.agents, len(made))
        seats.add(tx, row.id, count, names=ready.terms.names, caps=ready.terms.own)
        approval = decisions.request(tx, gate, question) if gate is not None and waits else None
        return wire.SwarmCreated(
            id=row.id,
            name=row.name,
            state="creating" if waits else "active",
            approval=approval.id if approval else "",
            agents=count,
            tasks=len(made),
            strategy=params.strategy,
            driver=driver,
            why_driver=why_driver,
            cursor=cursor,
            notes=[
                *plans.notes(params, ready, tasks=len(made)),
                *core.drivers.remarks(driver, argv),
                *walled.notes,
                *way.notes,
                *(note.replace("<swarm>", row.id) for note in place.notes),
                *([_waits(approval)] if approval else []),
            ],
        )

    return operation


async def list_(core: Core, caller: Caller, params: wire.ListSwarms) -> wire.SwarmList:
    """One page, newest first."""
    before = pages.instant_and_id(params.cursor)
    states = msgspec.json.encode(params.states).decode()

    def query(db: Snapshot) -> wire.SwarmList:
        rows, total = swarms.page(db, states, before, params.limit, reach.among(db, caller))
        last = f"{rows[-1].created_at_ms}.{rows[-1].id}" if len(rows) == params.limit else ""
        return wire.SwarmList(
            items=[views.swarm_brief(db, row) for row in rows], next_cursor=last, total=total
        )

    return await core.store.reader.read(query)


async def get(core: Core, _caller: Caller, params: wire.GetSwarm) -> wire.Swarm:
    """How the swarm stands, in one snapshot."""
    cursor, now_ms = core.store.tail.last_seq, core.clock.now_ms()
    return await core.store.reader.read(
        lambda db: views.swarm(db, swarms.get(db, params.swarm), now_ms=now_ms, cursor=cursor)
    )


async def pause(core: Core, _caller: Caller, params: wire.PauseSwarm) -> wire.SwarmChanged:
    """Nothing new starts from this COMMIT on; the supervisor stops what runs."""
    return await core.store.writer.apply(lambda tx: _hold(tx, params.swarm, "paused"))


async def resume(core: Core, _caller: Caller, params: wire.ResumeSwarm) -> wire.SwarmChanged:
    """The supervisor lets go on what was paused with the swarm, and the queue moves again."""
    return await core.store.writer.apply(lambda tx: _hold(tx, params.swarm, "active"))


async def scale(core: Core, _caller: Caller, params: wire.ScaleSwarm) -> wire.SwarmScaled:
    """Adds seats, or ends idle ones; working seats above the number end after their task."""
    return await core.store.writer.apply(lambda tx: _scale(tx, params))


async def destroy(core: Core, _caller: Caller, params: wire.DestroySwarm) -> wire.SwarmChanged:
    """Cancels what is open, asks for the end of what runs; `destroyed` comes with the last process gone.

    A swarm that had ended by itself stays what it is; what its agents printed is removed.
    """
    return await core.store.writer.apply(lambda tx: _destroy(tx, params.swarm))


def _row(
    tx: Tx,
    swarm_id: str,
    params: wire.CreateSwarm,
    walled: walls.Walled,
    *,
    driver: str,
    why_driver: str,
    argv: list[str],
    cwd: str,
) -> SwarmRow:
    return SwarmRow(
        id=swarm_id,
        name=params.name or f"swarm-{swarm_id}",
        state="active",
        wanted="run",
        outcome=None,
        goal=params.task,
        strategy=params.strategy,
        driver=driver,
        why_driver=why_driver,
        argv=msgspec.json.encode(argv).decode(),
        cwd=cwd,
        priority=PRIORITIES.index(params.priority),
        timeout_s=params.limits.timeout_s,
        retries=params.limits.retries,
        lease_s=params.lease_s,
        grace_s=params.limits.grace_s,
        agents_max=params.agents,
        next_agent=1,
        next_task=1,
        created_at_ms=tx.now_ms,
        ended_at_ms=None,
        model=models.told(params.model),
        walls=walled.walls,
        scope=walled.scope,
        bounds=walled.bounds,
        label=params.label or None,
    )


async def _only_planned(
    core: Core, caller: Caller, params: wire.CreateSwarm, why_driver: str
) -> wire.SwarmCreated:
    plan = await plans.plan(core, caller, params)
    return wire.SwarmCreated(
        id="",
        name=params.name or "",
        state="creating",
        agents=plan.agents,
        tasks=plan.tasks,
        strategy=params.strategy,
        driver=plan.driver,
        why_driver=why_driver,
        cursor=core.store.tail.last_seq,
        notes=["nothing was created: this was a dry run", *plan.notes],
        plan=plan,
    )


def _question(core: Core, caller: Caller, row: SwarmRow, ready: plans.Prepared) -> decisions.Question:
    """What a swarm may spend at most; nothing where its driver calls no model and no budget was asked for."""
    spends = ready.limited or core.drivers.abilities(row.driver).needs_model
    limit = ready.terms.limit if spends else 0
    return decisions.Question(
        kind="money",
        what=f"start swarm {row.id} with a budget of {dollars.text(limit)}",
        asked_by=caller.who,
        amount=limit,
        swarm=row.id,
        context={"name": row.name, "task": row.goal[:_GOAL_CHARS_MAX], "agents": row.agents_max},
        act="swarm.start",
    )


def _waits(approval: approvals.ApprovalRow) -> str:
    return (
        f"it waits for {approval.who} to resolve approval {approval.id} (gate {approval.gate}); "
        f"with no answer it is {'started' if approval.at_deadline == 'allow' else 'dropped'} at the deadline"
    )


def _hold(tx: Tx, swarm_id: str, state: Literal["active", "paused"]) -> wire.SwarmChanged:
    row = swarms.get(tx.db, swarm_id)
    if state == "active":
        tx.ring("gateways")  # one that did not start is tried at once
    if row.state == state:
        return wire.SwarmChanged(id=row.id, state=state, changed=False)
    refuse_ended(row)
    if row.state == "creating":
        waiting = ", ".join(each.id for each in approvals.open_of_swarm(tx.db, row.id))
        raise errors.IllegalTransition(
            f"swarm {row.id} has not started: it waits for approval {waiting}",
            hint=f"approval.resolve {waiting}, or swarm.destroy {row.id}",
            path="swarm",
        )
    if state == "active":
        budgets.refuse_stopped(tx, row.id)
        if swarms.get(tx.db, row.id).state == state:  # what had stopped it let it go on
            return wire.SwarmChanged(id=row.id, state=state, changed=True)
    swarms.set_state(tx, row, state)
    tx.emit("swarm.paused" if state == "paused" else "swarm.resumed", swarm=row.id)
    tx.ring("agents")
    tx.ring("queue")
    return wire.SwarmChanged(id=row.id, state=state, changed=True)


def _scale(tx: Tx, params: wire.ScaleSwarm) -> wire.SwarmScaled:
    row = swarms.get(tx.db, params.swarm)
    refuse_ended(row)
    swarms.set_agents_max(tx, row.id, params.agents)
    # A seat that was killed is as good as gone, though its process may still be ending.
    # Children come and go with their own tasks.
    seats_now = agents.open_seats(tx.db, row.id)
    open_seats = [seat for seat in seats_now if seat.wanted != "kill" and seat.parent_id is None]
    added = seats.add(tx, row.id, max(0, params.agents - len(open_seats)))
    limits.grow(tx, row.id, len(added))
    surplus = max(0, len(open_seats) - params.agents)
    idle = [seat for seat in reversed(open_seats) if seat.state == "idle"][:surplus]
    for seat in idle:
        seats.end(tx, seat)
    tx.emit("swarm.scaled", swarm=row.id, data={"agents": params.agents})
    tx.ring("queue")
    return wire.SwarmScaled(
        id=row.id,
        agents=len(open_seats) + len(added) - len(idle),
        added=len(added),
        removed=len(idle),
        leaving=surplus - len(idle),
    )


def _destroy(tx: Tx, swarm_id: str) -> wire.SwarmChanged:
    row = swarms.get(tx.db, swarm_id)
    if row.state in rules.ENDED and (row.output == "kept" or workspaces.kept_count(tx.db, row.id)):
        workspaces.swarm_ended(tx, row, frozenset(), destroyed=True)
        swarms.drop_output(tx, row.id)
        tx.emit("swarm.swept", swarm=row.id, data={"why": "asked for"})
        return wire.SwarmChanged(id=row.id, state=row.state, changed=True)  # type: ignore[arg-type]
    if row.state in rules.ENDED or row.wanted == "destroy":
        return wire.SwarmChanged(id=row.id, state=row.state, changed=False)  # type: ignore[arg-type]
    swarms.want_destroyed(tx, row.id)
    access_keys.revoke_of_swarm(tx, row.id)
    tx.ring("swarms")
    for task in tasks.open_tasks(tx.db, row.id):
        stops.cancel(tx, task, "its swarm was destroyed")
    lifecycle.settle_swarm(tx, row.id)
    return wire.SwarmChanged(id=row.id, state=swarms.get(tx.db, row.id).state, changed=True)  # type: ignore[arg-type]


def refuse_nul(path: str, text: str) -> None:
    """Raises InvalidParams for a text that no program could be given as an argument."""
    if "\0" in text:
        raise errors.InvalidParams(
            f"{path} holds a NUL character, which no program can be given", hint="leave it out", path=path
        )


def refuse_ended(row: SwarmRow) -> None:
    """Raises SwarmEnded where nothing can be added to the swarm or changed in it."""
    if row.state in rules.ENDED or row.wanted == "destroy":
        raise errors.SwarmEnded(
            f"swarm {row.id} has ended: {row.state}"
            if row.state in rules.ENDED
            else f"swarm {row.id} is ending",
            hint=f"swarm.report {row.id} tells how; create a new swarm for new work",
            path="swarm",
        )
