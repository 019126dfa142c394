"""What was spent, summed from the holds: by agent, model, day and task, always in whole nano-dollars."""

import msgspec

from dashd.domain import fanout, prices

from . import rows
from .rows import Snapshot

LEARNED_SWARMS_MAX = 10
"""How many swarms back it is looked for what tasks take: what was asked long ago says little."""


class SumRow(msgspec.Struct, frozen=True):
    """Settled calls of one key."""

    key: str
    calls: int
    nusd: int
    unconfirmed_nusd: int
    input_tokens: int
    output_tokens: int


class WaitRow(msgspec.Struct, frozen=True):
    """How long tasks of one level waited until they first ran."""

    level: int
    tasks: int
    sum_ms: int
    longest_ms: int


_SUMS = (
    "count(*), coalesce(sum(cost_nusd), 0),"
    " coalesce(sum(CASE confirmed WHEN 0 THEN cost_nusd ELSE 0 END), 0),"
    " coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)"
)
_OF = "FROM hold WHERE swarm_id = ? AND state = 'settled'"
_q_total = f"SELECT '', {_SUMS} {_OF}"
_q_by = {
    "agent": f"SELECT coalesce(agent_id, ''), {_SUMS} {_OF} GROUP BY 1 ORDER BY 3 DESC, 1",
    "model": f"SELECT model, {_SUMS} {_OF} GROUP BY 1 ORDER BY 3 DESC, 1",
    "day": f"SELECT date(settled_at_ms / 1000, 'unixepoch'), {_SUMS} {_OF} GROUP BY 1 ORDER BY 1",
}
_q_label = (
    f"SELECT (SELECT label FROM swarm WHERE id = ?1), {_SUMS} FROM hold WHERE state = 'settled'"
    " AND swarm_id IN (SELECT id FROM swarm WHERE label = (SELECT label FROM swarm WHERE id = ?1)) GROUP BY 1"
)
_q_tasks = (
    "SELECT t.state, t.started_at_ms IS NOT NULL, coalesce(c.nusd, 0) FROM task t"
    " LEFT JOIN (SELECT task_id, sum(cost_nusd) AS nusd FROM hold"
    " WHERE swarm_id = ?1 AND state = 'settled' GROUP BY task_id) c ON c.task_id = t.id WHERE t.swarm_id = ?1"
)
_q_lately = (
    "SELECT coalesce(sum(cost_nusd), 0), min(started_at_ms) FROM hold"
    " WHERE swarm_id = ?1 AND state = 'settled' AND settled_at_ms >= ?2"
)
_q_learned = (
    "WITH lately AS (SELECT id FROM swarm WHERE driver = ?1 ORDER BY created_at_ms DESC LIMIT ?3)"
    " SELECT count(*), coalesce(sum(calls), 0), coalesce(sum(input), 0), coalesce(sum(output), 0),"
    " coalesce(sum(nusd), 0) FROM (SELECT count(*) AS calls, coalesce(sum(h.input_tokens), 0) AS input,"
    " coalesce(sum(h.output_tokens), 0) AS output, sum(h.cost_nusd) AS nusd"
    " FROM lately JOIN hold h ON h.swarm_id = lately.id JOIN task t ON t.id = h.task_id"
    " WHERE t.state IN ('completed', 'dead') AND h.state = 'settled' AND h.basis <> 'unsent'"
    " GROUP BY h.task_id HAVING sum(h.model <> ?2) = 0)"
)
_q_waits = (
    "SELECT priority, count(*), coalesce(sum(started_at_ms - created_at_ms), 0),"
    " coalesce(max(started_at_ms - created_at_ms), 0) FROM task"
    " WHERE swarm_id = ? AND started_at_ms IS NOT NULL GROUP BY priority ORDER BY priority"
)
_q_compute = (
    "SELECT coalesce(sum(a.cpu_ms), 0), coalesce(sum(a.active_ms), 0)"
    " FROM attempt a JOIN task t ON t.id = a.task_id WHERE t.swarm_id = ?"
)


def total(db: Snapshot, swarm_id: str) -> SumRow:
    """All settled calls of the swarm."""
    found = rows.first(SumRow, db, _q_total, (swarm_id,))
    assert found is not None, "an aggregate without GROUP BY gives one row"
    return found


def by(db: Snapshot, swarm_id: str, key: str) -> list[SumRow]:
    """The same by `agent` or `model`, the dearest first, or by `day` (UTC) in order."""
    return rows.every(SumRow, db, _q_by[key], (swarm_id,))


def by_label(db: Snapshot, swarm_id: str) -> list[SumRow]:
    """All settled calls of all swarms that have this swarm's label; none where it has none."""
    return rows.every(SumRow, db, _q_label, (swarm_id,))


def of_tasks(db: Snapshot, swarm_id: str) -> list[tuple[str, bool, int]]:
    """(state, whether it ever ran, nano-dollars) of every task."""
    return [(state, bool(ran), nusd) for state, ran, nusd in rows.table(db, _q_tasks, (swarm_id,))]


def since(db: Snapshot, swarm_id: str, at_ms: int) -> tuple[int, int | None]:
    """(nano-dollars settled from then on, when the first of those calls began)."""
    nusd, first = rows.table(db, _q_lately, (swarm_id, at_ms))[0]
    return nusd, first


def usage(found: SumRow) -> prices.Usage:
    """The tokens of summed calls, as far as they are known; what was read from a cache counts as input."""
    return prices.Usage(found.input_tokens, 0, 0, found.output_tokens)


def learned(db: Snapshot, driver: str, model: str) -> fanout.Learned:
    """What ended tasks of this driver have taken that called this model alone, in its last swarms."""
    return fanout.Learned(*rows.table(db, _q_learned, (driver, model, LEARNED_SWARMS_MAX))[0])


def waits(db: Snapshot, swarm_id: str) -> list[WaitRow]:
    """From a task's creation to its first run, by priority; what it waited for other tasks is in it."""
    return rows.every(WaitRow, db, _q_waits, (swarm_id,))


def compute_ms(db: Snapshot, swarm_id: str) -> tuple[int, int]:
    """(processor time, run time) of all attempts, in milliseconds."""
    cpu, active = rows.table(db, _q_compute, (swarm_id,))[0]
    return cpu, active
