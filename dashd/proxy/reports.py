"""What the proxy says in events: at most one of a kind per agent and second, with the counts of what it
left out.

The events travel with the settlement that caused them, in the same transaction. Counts of the last second
of an agent that makes no further call stay unsaid; `hold` rows have every call.
"""

from dataclasses import dataclass
from typing import Any

from dashd.domain import budget as rules
from dashd.store.holds import Settlement

from .ledger import Happened, Payer
from .registry import Candidate

EVERY_S = 1.0
SUBJECTS_MAX = 10_000


@dataclass
class _Count:
    said_at: float = float("-inf")
    calls: int = 0
    cost_nusd: int = 0
    tokens: int = 0


class Reports:
    """Counts between events; one for the daemon."""

    def __init__(self) -> None:
        self._calls: dict[str, _Count] = {}
        self._failovers: dict[tuple[str, str], _Count] = {}

    def call(
        self, now: float, payer: Payer, candidate: Candidate, settlement: Settlement, took_s: float
    ) -> list[Happened]:
        """`model.call` for a try that was sent, where its second has not had one."""
        count = _entry(self._calls, payer.agent_id or payer.budget_id)
        count.calls += 1
        count.cost_nusd += settlement.cost_nusd
        count.tokens += settlement.tokens
        data = {
            "model": candidate.model,
            "provider": candidate.provider.name,
            "calls": count.calls,
            "cost": count.cost_nusd / rules.NUSD,
            "tokens": count.tokens,
            "basis": settlement.basis,
            "took_ms": round(took_s * 1_000),
        }
        return _due(count, now, "model.call", data)

    def failover(self, now: float, first: Candidate, served: Candidate, why: str) -> list[Happened]:
        """`model.failover` for a call that another than the first of its chain has served."""
        count = _entry(self._failovers, (first.name, served.name))
        count.calls += 1
        data = {"from": first.name, "to": served.name, "why": why[:200], "calls": count.calls}
        return _due(count, now, "model.failover", data)


def _entry(counts: dict[Any, _Count], subject: object) -> _Count:
    if subject not in counts and len(counts) >= SUBJECTS_MAX:
        counts.pop(next(iter(counts)))
    return counts.setdefault(subject, _Count())


def _due(count: _Count, now: float, kind: str, data: dict[str, Any]) -> list[Happened]:
    if now - count.said_at < EVERY_S:
        return []
    count.said_at, count.calls, count.cost_nusd, count.tokens = now, 0, 0, 0
    return [Happened(kind, data)]
