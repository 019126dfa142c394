"""Where a budget is going: what the rows say, put as `domain.outlook` and `domain.forecast` take it.

It is looked at when somebody asks, and in the operation that tells a threshold, so that the event says what
the status would have said in that instant.
"""

from collections.abc import Sequence

from dashd.domain import budget as rules
from dashd.domain import forecast, outlook, prices, standing
from dashd.domain import swarm as swarm_rules

from . import agents, allotments, budgets, costs, holds, standings, swarms
from .budgets import BudgetRow
from .rows import Snapshot, SwarmRow

BURN_WINDOW_MS = 300_000
"""What was spent in the last five minutes is the rate."""
BURN_LEAST_MS = 10_000
"""A rate over less time than this would be a rumour."""
_WAYS_MAX = 3
"""Agents whose budgets are named where all are stopped; a swarm may have a hundred."""


def of_swarm(db: Snapshot, swarm_id: str, now_ms: int) -> outlook.Situation:
    """How the swarm stands against its tightest limit."""
    row = budgets.get(db, swarm_id)
    swarm = swarms.get(db, swarm_id)
    tasks = costs.of_tasks(db, swarm_id)
    over = ("completed", "dead", "cancelled")
    known = sum(nusd for _, _, nusd in tasks)
    seen = forecast.Tasks(
        ended=[nusd for state, ran, nusd in tasks if state in over and (ran or nusd)],
        running=[nusd for state, ran, nusd in tasks if state not in over and (ran or nusd)],
        left=sum(state not in over and not ran and not nusd for state, ran, nusd in tasks),
        other=max(0, row.spent_nusd - known),
    )
    tight = allotments.tightest(db, swarm_id)
    blocked = _blocked(db, swarm)
    by_model = costs.by(db, swarm_id, "model")
    return outlook.Situation(
        swarm=swarm_id,
        budget=tight[0].id if tight else swarm_id,
        spent=row.spent_nusd,
        left=tight[1] if tight else None,
        burn_per_min=0 if blocked else _burn(db, swarm_id, swarm.ended_at_ms or now_ms),
        projection=forecast.project(seen),
        agents=agents.open_count(db, swarm_id),
        not_begun=seen.left,
        model=by_model[0].key if by_model else "",
        usage=costs.usage(by_model[0]) if by_model else prices.Usage(0, 0, 0, 0),
        calls=by_model[0].calls if by_model else 0,
        blocked=blocked,
    )


def _blocked(db: Snapshot, swarm: SwarmRow) -> str:
    """Why the swarm makes no new call; empty where it may, and where it has ended."""
    if swarm.state in swarm_rules.ENDED:
        return ""
    if text := standings.text(db, swarm.id):
        return text
    for row in budgets.path(db, swarm.id):
        if row.reached == 100 and row.action_100 in ("pause", "kill"):
            return f"budget {row.id} has stopped it, no new call is made"
    if stopped := _all_stopped(db, swarm.id):
        row, why = stopped[0]
        more = f", and {len(stopped) - 1} more" if stopped[1:] else ""
        return f"no agent of it may make a call: budget {row.id}: {why.text}{more}"
    return "it is paused, no new call is made" if swarm.state == "paused" else ""


def _all_stopped(db: Snapshot, swarm_id: str) -> list[tuple[BudgetRow, standing.Blocked]]:
    """What keeps its agents' calls out, each budget once; empty where one of them may make a call."""
    found = {}
    for seat in agents.open_seats(db, swarm_id):
        hit = standings.blocked(db, seat.id)
        if hit is None:
            return []
        found[hit[0].id] = hit
    return list(found.values())


def _burn(db: Snapshot, swarm_id: str, now_ms: int) -> int:
    """Nano-dollars a minute, lately."""
    nusd, first_ms = costs.since(db, swarm_id, now_ms - BURN_WINDOW_MS)
    if first_ms is None:
        return 0
    over_ms = min(BURN_WINDOW_MS, max(BURN_LEAST_MS, now_ms - first_ms))
    return nusd * 60_000 // over_ms


def projected(db: Snapshot, row: BudgetRow, now_ms: int) -> int | None:
    """What the budget will have spent in the end, in nano-dollars; None where too little has ended to tell.

    Of a swarm by its tasks, of the project by its open swarms; other budgets have no tasks of their own.
    """
    if row.kind == "swarm":
        found = of_swarm(db, row.id, now_ms).projection
        return None if found is None else found.total
    if row.kind != "project":
        return None
    rest = 0
    for child in budgets.children(db, row.id):
        if child.kind == "swarm" and swarms.get(db, child.id).state in swarm_rules.OPEN:
            total = projected(db, child, now_ms)
            if total is None:
                return None
            rest += max(0, total - child.spent_nusd)
    return row.spent_nusd + rest


def options(db: Snapshot, row: BudgetRow, now_ms: int) -> list[str]:
    """What can be done where the budget, or one above it, does not let the next call go; calls to type."""
    nodes = [budgets.node(db, each) for each in budgets.path(db, row.id)]
    if row.reached < 100 and not any(standing.blocked(node) for node in nodes):
        return _ways_of_agents(db, row.id, now_ms) if row.kind == "swarm" else []
    review = [f"swarm.report {row.swarm_id}: review what there is"] if row.swarm_id else []
    if standings.is_over(db, row):
        return review
    found = [
        f"budget.set {node.id} --thaw: its calls go on; set the model's price right first (model.set)"
        for node in nodes
        if node.frozen
    ]
    found += standing.extensions(nodes, _wanted(db, row, nodes, now_ms))
    if row.kind == "key":
        found.append(f"key.revoke {row.id}: nothing is called with it any more")
    found += review
    if row.kind == "swarm":
        found.append(f"swarm.destroy {row.id}: finish partial, with what there is")
    elif row.kind == "task":
        found.append(f"task.cancel {row.id}: finish without this task")
    elif row.kind == "agent":
        found.append(f"agent.kill {row.id}: finish without this agent")
    return found


def _ways_of_agents(db: Snapshot, swarm_id: str, now_ms: int) -> list[str]:
    """Where all agents of a swarm are stopped by budgets of their own: what lets the first of them go on."""
    found = []
    for row, _why in _all_stopped(db, swarm_id)[:_WAYS_MAX]:
        found += [each for each in options(db, row, now_ms) if each.startswith("budget.")][:1]
    return found


def way_on(db: Snapshot, row: BudgetRow, now_ms: int) -> str:
    """The first call to type that lets go on what the budget has stopped."""
    found = (each.partition(":")[0] for each in options(db, row, now_ms) if each.startswith("budget."))
    return next(found, f"budget.status {row.id} says what can be done")


def _wanted(db: Snapshot, row: BudgetRow, nodes: Sequence[rules.Node], now_ms: int) -> standing.Wanted:
    """What the calls that come next must hold, and what is projected to be spent yet."""
    nusd, tokens = holds.largest_lately(db, row)
    refused = next((node for node in nodes if node.need is not None), None)
    if row.reached == 100 and standing.blocked(nodes[0]) is None:
        # It is at its end for a call that nobody remembers; that needs more than what is left.
        nusd += 1 + (nodes[0].headroom or 0)
        tokens += 1 + max(0, (row.limit_tokens or 0) - row.spent_tokens)
    total = projected(db, row, now_ms)
    likely = None if total is None else max(0, total - row.spent_nusd)
    per_nusd = row.spent_tokens / row.spent_nusd if row.spent_nusd else 0.0
    return standing.Wanted(
        next=max(1, (refused.need or 0) if refused else nusd),
        next_tokens=max(1, (refused.need_tokens or 0) if refused else tokens),
        calls=nodes[0].live,
        likely=likely,
        likely_tokens=None if likely is None else round(likely * per_nusd),
    )
