"""`agent.*`: check, decide, write, return."""

from typing import Literal

import msgspec

from dashd.domain import agent as rules
from dashd.domain import ids
from dashd.domain import scope as scopes
from dashd.domain.scope import Scope
from dashd.domain.speech import Speaks
from dashd.store import (
    agents,
    attempts,
    children,
    gateways,
    inputs,
    instances,
    lifecycle,
    limits,
    seats,
    sessions,
    stops,
    swarms,
    tasks,
    thresholds,
)
from dashd.store.rows import AgentRow, LaunchRow, Snapshot, SwarmRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import agent as wire
from dashd.wire.methods import swarm as swarm_wire
from dashd.wire.methods.table import PRIORITIES, Limits

from . import budgets, drivers, models, pages, reach, retries, views, whys
from . import children as children_service
from . import swarms as swarm_service
from .core import Caller, Core
from .idempotency import once, replay
from .ports import Offer


async def spawn(core: Core, caller: Caller, params: wire.SpawnAgent) -> wire.AgentSpawned:
    """Adds a seat with a task of its own to a swarm, or makes a swarm of one."""
    if not params.swarm and not params.parent:
        children_service.refuse_without_parent(params)
        return await _spawn_alone(core, caller, params)
    own = [name for name in ("argv", "driver", "cwd", "limits") if getattr(params, name) is not msgspec.UNSET]
    if own:
        raise errors.InvalidParams(
            f"{own[0]} is the swarm's and cannot be given for one agent",
            hint=f"leave out {', '.join(own)}, or leave out swarm to make a swarm of one",
            path=own[0],
        )
    swarm = await core.store.reader.read(lambda db: _swarm_of(db, params))
    await reach.check_swarm(core, caller, swarm)
    key = params.idempotency_key
    if not params.parent:
        children_service.refuse_without_parent(params)
        work = once(caller, "agent.spawn", params, key, lambda tx: spawn_in(tx, params), wire.AgentSpawned)
        return await core.store.writer.apply(work)
    if (known := await replay(core, caller, "agent.spawn", params, key, wire.AgentSpawned)) is not None:
        return known
    swarm_service.refuse_nul("task", params.task)
    swarm_service.refuse_nul("item", params.item)
    wish = await children_service.prepare(core, params)
    work = once(
        caller,
        "agent.spawn",
        params,
        key,
        lambda tx: children_service.spawn(tx, caller, wish),
        wire.AgentSpawned,
    )
    return await core.store.writer.apply(work)


def _swarm_of(db: Snapshot, params: wire.SpawnAgent) -> SwarmRow:
    name = agents.get(db, params.parent).swarm_id if params.parent else str(params.swarm)
    return swarms.get(db, name)


async def list_(core: Core, caller: Caller, params: wire.ListAgents) -> wire.AgentList:
    """One page, in order of creation."""
    after = pages.number(params.cursor)
    states, now_ms = msgspec.json.encode(params.states).decode(), core.clock.now_ms()

    def query(db: Snapshot) -> wire.AgentList:
        if params.swarm:
            swarms.get(db, params.swarm)
        among = reach.among(db, caller)
        rows, last, total = agents.page(db, params.swarm or None, states, after, params.limit, among)
        next_cursor = str(last) if len(rows) == params.limit else ""
        waits = {row.id: found for row in rows if (found := _kept_by(core, db, row, now_ms))}
        return wire.AgentList(items=views.agent_briefs(db, rows, waits), next_cursor=next_cursor, total=total)

    return await core.store.reader.read(query)


def _kept_by(core: Core, db: Snapshot, row: AgentRow, now_ms: int) -> str:
    """What a working agent waits for; empty for the others, and where nothing can be seen to hold it."""
    held = core.models.waiting(row.id)
    if row.state not in rules.WORKING or not whys.is_held(db, row, held):
        return ""
    return whys.why(db, row, core.agents_max, core.drivers, held, now_ms).waits_for


async def get(core: Core, _caller: Caller, params: wire.GetAgent) -> wire.Agent:
    """How the agent stands, in one snapshot."""
    steady_ms, now_ms = core.clock.steady_ms(), core.clock.now_ms()
    held, looks = core.models.waiting(params.agent), core.looks()

    def query(db: Snapshot) -> wire.Agent:
        row = agents.get(db, params.agent)
        swarm_row = swarms.get(db, row.swarm_id)
        task = tasks.find(db, row.task_id) if row.task_id else None
        run = attempts.open_of_agent(db, row.id)
        last = run or next(iter(attempts.of_agent(db, row.id, 1)), None)
        launch = attempts.launch(db, last.launch_id) if last else None
        grade = launch.grade if launch else None
        scope = agents.scope_of(row, swarm_row)
        return wire.Agent(
            id=row.id,
            name=row.name,
            swarm=row.swarm_id,
            parent=row.parent_id,
            state=row.state,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
            liveness=row.liveness,  # type: ignore[arg-type]
            wanted=row.wanted,  # type: ignore[arg-type]
            driver=swarm_row.driver,
            pause="hard" if row.hard else core.drivers.abilities(swarm_row.driver).pause,
            pid=attempts.launch(db, run.launch_id).pid if run else None,
            task=row.task_id,
            task_state=task.state if task else None,  # type: ignore[arg-type]
            item=task.item if task else "",
            progress=views.progress(task),
            note=(task.note or "") if task else "",
            why=whys.why(db, row, core.agents_max, core.drivers, held, now_ms, looks, core.gateways.why),
            cause=row.cause or "",
            mode=views.mode(swarm_row),
            gateway=_gateway(swarm_row, launch),
            instance=launch.place if launch and swarm_row.driver == instances.DRIVER else None,
            model=row.model,
            grade=grade,  # type: ignore[arg-type]
            identity=_identity(core, swarm_row, scope, grade),
            write=list(scope.write or ()),
            read=list(scope.read or ()),
            history=bool(swarm_row.repo),
            hosts=list(scopes.reached_hosts(scope)),
            depth=scopes.DEPTH_DEFAULT if scope.depth is None else scope.depth,
            command_policy="asked" if _asks(core, swarm_row) else "not_asked",
            children=[each.id for each in agents.children(db, row.id)],
            enforced=_enforced(core, swarm_row, launch),
            attempts=[views.attempt_brief(found, steady_ms) for found in attempts.of_agent(db, row.id, 10)],
            created_at=iso(row.created_at_ms),
            ended_at=views.iso_or_none(row.ended_at_ms),
        )

    return await core.store.reader.read(query)


def _gateway(row: SwarmRow, launch: LaunchRow | None) -> str | None:
    return (launch.place or launch.within) if launch and row.mode == gateways.MODE else None


def _asks(core: Core, row: SwarmRow) -> bool:
    """In a gateway nobody is asked (see modes)."""
    return core.drivers.abilities(row.driver).asks and not row.mode


def _enforced(core: Core, row: SwarmRow, launch: LaunchRow | None) -> list[wire.Enforced]:
    if launch is None or launch.grade is None:
        return []
    return views.enforced(row, core.walls.enforcers(launch.grade, row.bounds, launch.jail))


def _identity(
    core: Core, row: SwarmRow, scope: Scope, grade: str | None
) -> Literal["listener", "key"] | None:
    """What tells its calls apart; nothing does where it has no way to make any."""
    reached = row.walls == "required" and scopes.reached_hosts(scope)
    if grade is None or not (core.drivers.abilities(row.driver).needs_model or reached):
        return None
    return "listener" if grade in ("A", "B") and not row.mode else "key"


async def why(core: Core, _caller: Caller, params: wire.GetAgent) -> wire.Why:
    """What the agent waits for."""
    held, now_ms = core.models.waiting(params.agent), core.clock.now_ms()
    slots, looks = core.agents_max, core.looks()
    return await core.store.reader.read(
        lambda db: whys.why(
            db, agents.get(db, params.agent), slots, core.drivers, held, now_ms, looks, core.gateways.why
        )
    )


async def pause(core: Core, _caller: Caller, params: wire.PauseAgent) -> wire.AgentChanged:
    """Records the wish; the supervisor stops the tree and says so by `agent.paused`."""
    return await core.store.writer.apply(lambda tx: _want(core, tx, params.agent, "pause", hard=params.hard))


async def resume(core: Core, _caller: Caller, params: wire.ResumeAgent) -> wire.AgentChanged:
    """Records the wish; the supervisor lets the tree go on and says so by `agent.resumed`."""
    return await core.store.writer.apply(lambda tx: _want(core, tx, params.agent, "run"))


async def kill(core: Core, _caller: Caller, params: wire.KillAgent) -> wire.AgentChanged:
    """Ends the seat; `agent.killed` comes with its last process gone."""

    def operation(tx: Tx) -> wire.AgentChanged:
        seat = agents.get(tx.db, params.agent)
        changed = seat.state not in rules.MACHINE.ended and seat.wanted != "kill"
        if changed and params.requeue and seat.parent_id:
            raise _not_given_back(tx.db, seat)
        if changed:
            stops.kill(tx, seat, requeue=params.requeue)
            lifecycle.settle_swarm(tx, seat.swarm_id)
        return _changed(core, tx, seat.id, changed=changed)

    return await core.store.writer.apply(operation)


def _not_given_back(db: Snapshot, seat: AgentRow) -> errors.Conflict:
    own = seat.task_id or next((task.id for task in tasks.pinned(db, seat.id)), "")
    return errors.Conflict(
        f"agent {seat.id} is a child, and nobody else may do its task: it cannot be given back",
        hint=f"leave out requeue, which cancels its task; task.retry {{task: {own}}} then has {seat.id} do it"
        " again",
        path="requeue",
    )


async def retry(core: Core, _caller: Caller, params: wire.RetryAgent) -> wire.AgentChanged:
    """Makes the seat's last task ready again, and the seat with it."""

    def operation(tx: Tx) -> wire.AgentChanged:
        seat = agents.get(tx.db, params.agent)
        if seat.task_id is None:
            raise errors.Conflict(
                f"agent {seat.id} has run no task yet", hint=f"agent.get {seat.id} says what it waits for"
            )
        retries.retry(tx, tasks.get(tx.db, seat.task_id), seat.id)
        return _changed(core, tx, seat.id, changed=True)

    return await core.store.writer.apply(operation)


async def set_model(core: Core, _caller: Caller, params: wire.SetAgentModel) -> wire.AgentModel:
    """Keeps the model in the agent's row, then has its door look; tries under way end as they began."""
    model = models.told(params.model)

    def operation(tx: Tx) -> bool:
        seat = agents.get(tx.db, params.agent)
        swarm = swarms.get(tx.db, seat.swarm_id)
        if not core.drivers.abilities(swarm.driver).needs_model:
            raise errors.Unsupported(
                f"driver {swarm.driver} calls no model that Dash knows of", hint="--driver embedded does"
            )
        if seat.state in rules.MACHINE.ended:
            raise errors.IllegalTransition(f"agent {seat.id} has ended: {seat.state}")
        agents.set_model(tx, seat.id, model)
        return seat.model != model

    usual, speaks = await drivers.of_agent(core, params.agent)
    if model is None:
        offer = await _first_of(core, usual, speaks)
    else:  # refuses what nobody serves or has priced, and what its program cannot call
        offer = await core.models.choose(model, speaks)
    changed = await core.store.writer.apply(operation)
    await core.models.swap(params.agent)
    if changed:  # not before its door knows: a call that looks in between would stop it again
        await core.store.writer.apply(lambda tx: thresholds.reconsider(tx, params.agent))
    return wire.AgentModel(
        agent=params.agent,
        model=model,
        first=offer.name if offer else "",
        provider=offer.provider if offer else "",
        changed=changed,
    )


async def _first_of(core: Core, model: str | None, speaks: Speaks) -> Offer | None:
    """What the swarm's model leads to now, which may be less than when it was named."""
    try:
        return await core.models.choose(model, speaks)
    except errors.InvalidParams as refused:
        if model is None or refused.data:  # served, but in no format that counts
            raise
    try:
        return next((each.offer for each in await core.models.seen(model)), None)
    except errors.InvalidParams:
        return None


async def message(core: Core, caller: Caller, params: wire.MessageAgent) -> wire.MessageSent:
    """Says something to a running agent; it hears it between two steps of its work, or when it should."""

    def operation(tx: Tx) -> wire.MessageSent:
        seat = agents.get(tx.db, params.agent)
        driver = swarms.get(tx.db, seat.swarm_id).driver
        can = core.drivers.abilities(driver)
        if can.message and params.when == "now" and not can.breaks_off:
            raise errors.Unsupported(
                f"driver {driver} cannot be broken off to hear a message",
                hint="leave `when` out, and it hears it next; or kill it and spawn one with the new task",
            )
        if not can.message:
            raise errors.Unsupported(
                f"driver {driver} cannot take messages while it runs",
                hint="kill the agent and spawn one with the new task, or use a driver that talks",
            )
        run = attempts.open_of_agent(tx.db, seat.id)
        if run is None or run.stop is not None:
            raise errors.IllegalTransition(
                f"agent {seat.id} runs nothing that could hear it: {seat.state}",
                hint="spawn an agent with the new task, or agent.retry",
            )
        number = inputs.add_message(tx, run.id, params.text, params.when)
        return wire.MessageSent(agent=params.agent, number=number)

    work = once(caller, "agent.message", params, params.idempotency_key, operation, wire.MessageSent)
    return await core.store.writer.apply(work)


async def result(core: Core, _caller: Caller, params: wire.GetResult) -> wire.AgentResult:
    """What the seat's last task returned; empty while it runs."""

    def query(db: Snapshot) -> wire.AgentResult:
        seat = agents.get(db, params.agent)
        task = tasks.find(db, seat.task_id) if seat.task_id else None
        text = (task.result or "") if task else ""
        return wire.AgentResult(
            agent=seat.id,
            task=seat.task_id,
            task_state=task.state if task else None,  # type: ignore[arg-type]
            result=text,
            truncated=bool(task and task.result_cut),
            cause=(task.cause or "") if task else "",
        )

    return await core.store.reader.read(query)


async def _spawn_alone(core: Core, caller: Caller, params: wire.SpawnAgent) -> wire.AgentSpawned:
    created = await swarm_service.create(
        core,
        caller,
        swarm_wire.CreateSwarm(
            task=params.task,
            agents=1,
            items=[params.item] if params.item else msgspec.UNSET,
            argv=params.argv,
            name=params.name,
            driver=params.driver,
            cwd=params.cwd,
            priority=params.priority or "medium",
            limits=params.limits or Limits(),
            begin_from=params.begin_from,
            idempotency_key=params.idempotency_key,
        ),
    )
    return wire.AgentSpawned(
        id=ids.agent_id(created.id, 1),
        swarm=created.id,
        task=ids.task_id(created.id, 1),
        state="idle",
        cursor=created.cursor,
        deduplicated=created.deduplicated,
        approval=created.approval,
    )


def spawn_in(tx: Tx, params: wire.SpawnAgent) -> wire.AgentSpawned:
    """Adds the seat and its task to the swarm that is named; whether the caller may is asked before."""
    swarm_service.refuse_nul("task", params.task)
    swarm_service.refuse_nul("item", params.item)
    swarm = swarms.get(tx.db, str(params.swarm))
    swarm_service.refuse_ended(swarm)
    children.refuse_full(tx.db, swarm.id)
    (seat_id,) = seats.add(tx, swarm.id, 1, name=params.name or "")
    limits.grow(tx, swarm.id, 1)
    if agents.open_tops(tx.db, swarm.id) > swarm.agents_max:
        swarms.set_agents_max(tx, swarm.id, swarm.agents_max + 1)
    _, number = swarms.take_numbers(tx, swarm.id, tasks=1)
    level = PRIORITIES.index(params.priority) if params.priority else None
    task = tasks.new(
        swarm, number, params.item, at_ms=tx.now_ms, text=params.task, level=level, pinned_to=seat_id
    )
    tasks.insert(tx, task)
    sessions.begin_from(tx, task.id, params.begin_from or None, swarm.driver)
    cursor = tx.emit("task.created", swarm=swarm.id, task=task.id)
    return wire.AgentSpawned(id=seat_id, swarm=swarm.id, task=task.id, state="idle", cursor=cursor)


def _want(core: Core, tx: Tx, agent_id: str, wanted: str, *, hard: bool = False) -> wire.AgentChanged:
    seat = agents.get(tx.db, agent_id)
    if seat.state in rules.MACHINE.ended or seat.wanted == "kill":
        raise errors.IllegalTransition(
            f"agent {seat.id} has ended: {seat.state}"
            if seat.state in rules.MACHINE.ended
            else f"agent {seat.id} is ending",
            hint=f"agent.retry {seat.id} runs its last task again while its swarm is open",
        )
    if hard and swarms.get(tx.db, seat.swarm_id).mode == gateways.MODE:
        raise errors.Unsupported(
            "agents of a gateway are one process: none of them can be stopped alone",
            hint=f"leave hard out: the next model call of {seat.id} is held then",
            path="hard",
        )
    changed = (seat.wanted, bool(seat.hard)) != (wanted, hard)
    if not changed and wanted == "run" and swarms.get(tx.db, seat.swarm_id).state == "paused":
        raise errors.Conflict(
            f"agent {seat.id} is held because its swarm {seat.swarm_id} is paused",
            hint=f"swarm.resume {seat.swarm_id}",
        )
    if changed:
        if wanted == "run":
            budgets.refuse_stopped(tx, seat.id)
        agents.set_wanted(tx, seat.id, wanted, hard=hard)
        tx.ring("agents")
        tx.ring("queue")
    return _changed(core, tx, seat.id, changed=changed)


def _changed(core: Core, tx: Tx, agent_id: str, *, changed: bool) -> wire.AgentChanged:
    seat: AgentRow = agents.get(tx.db, agent_id)
    return wire.AgentChanged(
        id=seat.id,
        state=seat.state,  # type: ignore[arg-type]
        wanted=seat.wanted,  # type: ignore[arg-type]
        changed=changed,
        cursor=tx.seq,
    )
