"""Rows as the wire shows them. Reading only; each function works on one snapshot."""

from collections.abc import Mapping, Sequence

import msgspec

from dashd.domain import dollars, repository
from dashd.domain import scope as scopes
from dashd.store import agents, attempts, budgets, swarms, tasks
from dashd.store.rows import AgentRow, AttemptRow, Snapshot, SwarmRow, TaskRow
from dashd.wire.events import iso
from dashd.wire.methods import agent as agent_wire
from dashd.wire.methods import swarm as swarm_wire
from dashd.wire.methods import task as task_wire
from dashd.wire.methods.table import PRIORITIES, Limits, Placement

from . import walls

SHOWN_CHARACTERS_MAX = 500


def iso_or_none(at_ms: int | None) -> str | None:
    """The instant in ISO 8601, where there is one."""
    return None if at_ms is None else iso(at_ms)


def short(text: str) -> str:
    """A caller's text as lists and reports show it: 100 of the longest still fit one frame."""
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


def swarm(db: Snapshot, row: SwarmRow, *, now_ms: int, cursor: int) -> swarm_wire.Swarm:
    """How a swarm stands."""
    money = budgets.find(db, row.id)
    reach = scopes.from_json(row.scope) if row.scope else scopes.DEFAULT
    repo = repository.from_json(row.repo) if row.repo else None
    return swarm_wire.Swarm(
        id=row.id,
        name=row.name,
        state=row.state,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        outcome=row.outcome,  # type: ignore[arg-type]
        ending=row.wanted == "destroy" and row.ended_at_ms is None,
        task=row.goal,
        strategy=row.strategy,  # type: ignore[arg-type]
        driver=row.driver,
        why_driver=row.why_driver,
        argv=msgspec.json.decode(row.argv, type=list[str]),
        cwd=row.cwd,
        priority=PRIORITIES[row.priority],
        limits=_limits(row),
        lease_s=row.lease_s,
        agents_max=row.agents_max,
        agents=agents.counts(db, row.id),
        tasks=tasks.counts(db, row.id),
        created_at=iso(row.created_at_ms),
        ended_at=iso_or_none(row.ended_at_ms),
        duration_s=duration_s(row, now_ms),
        cursor=cursor,
        model=row.model,
        budget_usd=dollars.usd_or_none(money.limit_nusd) if money else None,
        spent_usd=dollars.usd(money.spent_nusd) if money else 0.0,
        walls=row.walls,  # type: ignore[arg-type]
        write=list(reach.write or ()),
        read=list(reach.read or ()),
        hosts=list(scopes.reached_hosts(reach)),
        output_kept=row.output == "kept",
        repo=repo.path if repo else None,
        base=repo.base if repo else None,
        workspace=repo.workspace if repo else None,
        cleanup=repo.cleanup if repo else None,
        mode=mode(row),
        placement=msgspec.json.decode(row.placement, type=Placement) if row.placement else None,
    )


def mode(row: SwarmRow) -> str:
    """How its driver runs agents, where that has several ways."""
    return row.mode or ("jailed" if row.driver == "openclaw" else "")


def _limits(row: SwarmRow) -> Limits:
    return walls.limits_of(row.bounds, timeout_s=row.timeout_s, retries=row.retries, grace_s=row.grace_s)


def duration_s(row: SwarmRow, now_ms: int) -> float:
    """How long the swarm took, or has taken so far."""
    return ((row.ended_at_ms or now_ms) - row.created_at_ms) / 1_000


def swarm_brief(db: Snapshot, row: SwarmRow) -> swarm_wire.SwarmBrief:
    """A swarm in a list."""
    by_state = tasks.counts(db, row.id)
    return swarm_wire.SwarmBrief(
        id=row.id,
        name=row.name,
        state=row.state,  # type: ignore[arg-type]
        outcome=row.outcome,  # type: ignore[arg-type]
        agents=sum(agents.counts(db, row.id).values()),
        tasks=sum(by_state.values()),
        tasks_ended=sum(
            count for state, count in by_state.items() if state in ("completed", "dead", "cancelled")
        ),
        created_at=iso(row.created_at_ms),
    )


def progress(row: TaskRow | None) -> str:
    """`3/5`, or empty where the agent has not said."""
    if row is None or row.progress_done is None:
        return ""
    return f"{row.progress_done}/{row.progress_total}" if row.progress_total else str(row.progress_done)


def enforced(row: SwarmRow, held: Mapping[str, tuple[str, str]]) -> list[agent_wire.Enforced]:
    """Each bound of a swarm's agents with what holds it; that of time is the swarm's own."""
    told = {"wall_time": f"{row.timeout_s:g} s"}
    of_all = ", of its gateway with all that is in it" if row.mode else ""
    return [
        agent_wire.Enforced(what=what, bound=told.get(what, f"{bound}{of_all}"), by=by)
        for what, (bound, by) in held.items()
    ]


def attempt_brief(row: AttemptRow, steady_ms: int) -> agent_wire.AttemptBrief:
    """One run, as lists show it."""
    running_ms = steady_ms - row.active_since_ms if row.active_since_ms is not None else 0
    return agent_wire.AttemptBrief(
        id=row.id,
        number=row.number,
        task=row.task_id,
        state=row.state,
        reason=row.reason or "",
        exit_code=row.exit_code,
        exit_signal=row.exit_signal,
        started_at=iso_or_none(row.started_at_ms),
        ended_at=iso_or_none(row.ended_at_ms),
        output_dropped=row.output_dropped,
        active_s=(row.active_ms + running_ms) / 1_000,
    )


def agent_briefs(
    db: Snapshot, rows: Sequence[AgentRow], waits: Mapping[str, str]
) -> list[agent_wire.AgentBrief]:
    """Agents in a list; their runs are counted together. `waits` has those that are kept from their work."""
    ended = attempts.succeeded_by_agent(db, [row.id for row in rows])
    return [_agent_brief(db, row, ended.get(row.id, 0), waits.get(row.id, "nothing")) for row in rows]


def _agent_brief(db: Snapshot, row: AgentRow, ended: int, waits_for: str) -> agent_wire.AgentBrief:
    task_row = tasks.find(db, row.task_id) if row.task_id else None
    return agent_wire.AgentBrief(
        id=row.id,
        name=row.name,
        swarm=row.swarm_id,
        state=row.state,  # type: ignore[arg-type]
        liveness=row.liveness,  # type: ignore[arg-type]
        task=row.task_id,
        item=short(task_row.item) if task_row else "",
        progress=progress(task_row),
        note=(task_row.note or "") if task_row else "",
        tasks_ended=ended,
        cause=row.cause or "",
        parent=row.parent_id,
        waits_for=waits_for,  # type: ignore[arg-type]
    )


def task_brief(row: TaskRow) -> task_wire.TaskBrief:
    """A task in a list."""
    return task_wire.TaskBrief(
        id=row.id,
        swarm=row.swarm_id,
        state=row.state,  # type: ignore[arg-type]
        priority=PRIORITIES[row.priority],
        item=short(row.item),
        agent=row.agent_id,
        attempts=row.attempts,
        cause=row.cause or "",
    )


def task(db: Snapshot, row: TaskRow, steady_ms: int) -> task_wire.Task:
    """How a task stands."""
    return task_wire.Task(
        id=row.id,
        swarm=row.swarm_id,
        state=row.state,  # type: ignore[arg-type]
        priority=PRIORITIES[row.priority],
        level=PRIORITIES[row.level],
        item=row.item,
        text=swarms.get(db, row.swarm_id).goal if row.text is None else row.text,
        agent=row.agent_id,
        cause=row.cause or "",
        result=row.result or "",
        progress=progress(row),
        note=row.note or "",
        after=tasks.prerequisites(db, row.id),
        retry_at=iso_or_none(row.retry_at_ms),
        attempts=[attempt_brief(attempt, steady_ms) for attempt in attempts.of_task(db, row.id, 10)],
        created_at=iso(row.created_at_ms),
        started_at=iso_or_none(row.started_at_ms),
        ended_at=iso_or_none(row.ended_at_ms),
    )
