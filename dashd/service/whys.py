"""What an agent waits for: the facts about it, of rows and of the call of it that waits, put together."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from dashd.domain import waiting
from dashd.domain.placement import Unplaced
from dashd.store import (
    approvals,
    attempts,
    budgets,
    gateways,
    placements,
    session_moves,
    sessions,
    situations,
    standings,
    swarms,
    tasks,
)
from dashd.store.budgets import BudgetRow
from dashd.store.registry import Look
from dashd.store.rows import AgentRow, Snapshot, SwarmRow
from dashd.store.session_moves import MoveRow
from dashd.wire.methods import agent as wire

from .ports import CallWait, Drivers
from .views import iso_or_none, short

NO_LOOKS: Mapping[str, Look] = MappingProxyType({})
_CHANGES_MAX = 50
"""How far back the history of a budget is looked through."""


def why(
    db: Snapshot,
    row: AgentRow,
    agents_max: int,
    drivers: Drivers,
    held: CallWait | None = None,
    now_ms: int = 0,
    looks: Mapping[str, Look] = NO_LOOKS,
    gateway: Callable[[str], str] = lambda _: "",
) -> wire.Why:
    """What an agent waits for; `held` is what a call of it waits for, `looks` is of added places, and
    `gateway` says why its swarm's own is not up.
    """
    swarm_row = swarms.get(db, row.swarm_id)
    working, agents_max = _slots(db, swarm_row, agents_max, drivers)
    run = attempts.open_of_agent(db, row.id)
    retry = tasks.next_retrying(db, row.swarm_id)
    asked = next(iter(approvals.open_of_agent(db, row.id)), None)
    paused_by = _paused_by(db, row)
    frozen = None if held else _frozen(db, row.id)
    move = session_moves.awaited(db, row.id) if run is None else None
    follows, follows_text = _follows(db, row, move, now_ms) if move else ("", "")
    call_on, call_text = _call(db, held or frozen, now_ms)
    found = waiting.explain(
        waiting.Facts(
            agent_state=row.state,
            wanted=row.wanted,
            swarm_state=swarm_row.state,
            stopping=run is not None and run.stop is not None,
            task=row.task_id,
            ready=tasks.takeable_count(db, row.swarm_id, row.id),
            blocked_on=tuple(tasks.blockers(db, row.swarm_id)),
            retry_task=retry.id if retry else None,
            working=working,
            agents_max=agents_max,
            approval=asked.id if asked else "",
            asks=short(asked.what) if asked else "",
            unseen=row.liveness == "unknown",
            cause=row.cause or "",
            budget=paused_by.id if paused_by else "",
            money=_money(db, paused_by, now_ms) if paused_by else "",
            call=_what(held or frozen),
            call_on=call_on,
            call_text=call_text,
            unplaced=_unplaced(db, swarm_row, looks) or (gateway(row.swarm_id) if _own(swarm_row) else ""),
            follows=follows,
            follows_text=follows_text,
        )
    )
    until_ms = retry.retry_at_ms if retry and found.waits_for == "retry" else None
    if asked and found.on == (asked.id,):
        until_ms = asked.deadline_at_ms
    since_ms = (run.started_at_ms or run.created_at_ms) if run else None
    if move and found.waits_for == "predecessor":
        since_ms = move.at_ms
    elif found.on and paused_by and found.on == (paused_by.id,):
        since_ms = _stopped_at_ms(db, paused_by) or since_ms
    elif held and found.waits_for in ("budget", "rate", "provider"):
        since_ms, until_ms = held.since_ms, held.until_ms
    return wire.Why(
        agent=row.id,
        waits_for=found.waits_for,  # type: ignore[arg-type]
        text=found.text,
        since=iso_or_none(since_ms),
        until=iso_or_none(until_ms),
        on=list(found.on),
    )


def _slots(db: Snapshot, row: SwarmRow, agents_max: int, drivers: Drivers) -> tuple[int, int]:
    """(agents that work, how many may): of its program, where fewer of that may and as many do."""
    at_once = drivers.abilities(row.driver).at_once
    if at_once is not None and not row.mode:
        working = attempts.open_by_driver(db).get(row.driver, 0)
        if working >= at_once:
            return working, at_once
    return attempts.open_count(db), agents_max


def _follows(db: Snapshot, row: AgentRow, move: MoveRow, now_ms: int) -> tuple[str, str]:
    """(the agent that goes first, in words how it stands and what to run)."""
    session = sessions.get(db, move.session_id)
    first, swarm = session.agent_id, swarms.get(db, session.swarm_id)
    ago_s = max(0, now_ms - move.at_ms) // 1_000
    back = ", and its work is brought back" if swarm.repo else ""
    return first, (
        f"it goes on with session {session.id} once agent {first} has ended{back}: that was told to stop"
        f" {ago_s} s ago and is killed if it takes more than {swarm.grace_s:g} s; agent.why {first} and"
        f" agent.logs {first} show how it stands, agent.kill {row.id} gives this up"
    )


def _own(row: SwarmRow) -> bool:
    return row.mode == gateways.MODE and row.walls == "required"


def is_held(db: Snapshot, row: AgentRow, held: CallWait | None) -> bool:
    """Whether anything keeps an agent with work from it; `why` is dearer, and has the words."""
    return (
        held is not None
        or row.state != "running"
        or row.wanted != "run"
        or swarms.get(db, row.swarm_id).state == "paused"
        or bool(approvals.open_of_agent(db, row.id))
        or _frozen(db, row.id) is not None
    )


def _unplaced(db: Snapshot, row: SwarmRow, looks: Mapping[str, Look]) -> str:
    """In the words of the scheduler, which finds the same; empty where a task of the swarm could start."""
    found = placements.next_of(db, row, looks)
    if not isinstance(found, Unplaced):
        return ""
    noun = placements.noun(row)
    if found.kind == "saturated":
        return f"the {noun}s that could take one are full: {found.reason}; one that ends lets it start"
    return f"no {noun} takes one: {found.reason}; dashctl {noun} list shows them"


def _paused_by(db: Snapshot, row: AgentRow) -> BudgetRow | None:
    """The budget that has paused the agent or its swarm, where it is paused still."""
    swarm_paused = swarms.get(db, row.swarm_id).state == "paused"
    for owner, paused in ((row.swarm_id, swarm_paused), (row.id, row.wanted == "pause")):
        node = budgets.find(db, owner) if paused else None
        if node is not None and node.paused_by is not None:
            return budgets.find(db, node.paused_by)
    return None


def _money(db: Snapshot, row: BudgetRow, now_ms: int) -> str:
    if row.reached < 100:
        return f"{row.reached} % of it is spent; resume it to go on"
    return f"{standings.text(db, row.id) or 'it has come to its end'}; {situations.way_on(db, row, now_ms)}"


def _frozen(db: Snapshot, agent_id: str) -> CallWait | None:
    """Its next call is kept out by a frozen budget, though none has come there yet."""
    found = standings.blocked(db, agent_id)
    if found is None or found[1].unit != "frozen":
        return None
    return CallWait("budget", found[0].id, found[1].text, 0, None)


def _what(held: CallWait | None) -> Literal["", "budget", "rate", "provider"]:
    if held is None:
        return ""
    return "budget" if held.what == "line" else held.what


def _call(db: Snapshot, held: CallWait | None, now_ms: int) -> tuple[str, str]:
    """(what a call waits on, in words with what to run)."""
    if held is None:
        return "", ""
    if held.what == "line":
        return (
            held.on,
            f"calls under way hold what is left of budget {held.on}; one that settles lets it go on",
        )
    if held.what == "budget" and (row := budgets.find(db, held.on)):
        says = standings.text(db, row.id) or held.text.removeprefix(f"budget {row.id}: ")
        return row.id, f"budget {row.id}: {says}; {situations.way_on(db, row, now_ms)}"
    if held.what == "rate":
        return held.on, f"{held.text}; proxy.{held.on} in dashd's configuration says so"
    if held.until_ms is None:
        return held.on, f"{held.text}; provider.test {held.on}, once it is mended, lets calls go on"
    return held.on, f"{held.text}; it is tried again by itself"


def _stopped_at_ms(db: Snapshot, row: BudgetRow) -> int | None:
    """When the budget last came to a threshold."""
    changes = budgets.changes(db, row.id, _CHANGES_MAX)
    return next((each.at_ms for each in changes if each.kind == "threshold"), None)
