"""What the proxy says in events: at most one of a kind and second for each payer and model, with the counts
of what it left out.

The first of a second travels with the settlement that caused it, in the same transaction. What came after it
is told with the next call, or by `run` once its second is over, so nothing stays unsaid; `flush` at the end
tells the rest. `hold` rows have every call.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import trio

from dashd.domain import budget as rules
from dashd.store.bells import Bell
from dashd.store.holds import Settlement
from dashd.store.transaction import Operation, Tx

from .ledger import Happened, Payer
from .registry import Candidate

EVERY_S = 1.0
SUBJECTS_MAX = 10_000


S = TypeVar("S")
C = TypeVar("C")
Write = Callable[[Operation[None]], Awaitable[None]]


@dataclass
class _Count:
    said_at: float = float("-inf")
    calls: int = 0
    cost_nusd: int = 0
    tokens: int = 0


@dataclass
class _Calls(_Count):
    """What one payer has called of one model since it was last told."""

    payer: Payer = field(kw_only=True)
    data: dict[str, Any] = field(default_factory=dict)
    """Of the last call."""

    def told(self, now: float) -> Happened:
        """The event; nothing is left to say then."""
        counts = {"calls": self.calls, "cost": self.cost_nusd / rules.NUSD, "tokens": self.tokens}
        self.said_at, self.calls, self.cost_nusd, self.tokens = now, 0, 0, 0
        return Happened("model.call", self.data | counts)


class Reports:
    """Counts between events; one for the daemon."""

    def __init__(self) -> None:
        self._calls: dict[tuple[Payer, str], _Calls] = {}
        self._failovers: dict[tuple[str, str], _Count] = {}
        self._unsaid = Bell()

    def call(
        self, now: float, payer: Payer, candidate: Candidate, settlement: Settlement, took_s: float
    ) -> list[Happened]:
        """`model.call` for a try that was sent, where its second has not had one."""
        count = _entry(self._calls, (payer, candidate.name), partial(_Calls, payer=payer))
        count.calls += 1
        count.cost_nusd += settlement.cost_nusd
        count.tokens += settlement.tokens
        key = {"key": payer.key_id, "key_name": payer.key_name} if payer.key_id is not None else {}
        count.data = {
            "model": candidate.model,
            "provider": candidate.provider.name,
            "budget": payer.budget_id,
            **key,
            "basis": settlement.basis,
            "took_ms": round(took_s * 1_000),
        }
        if now - count.said_at >= EVERY_S:
            return [count.told(now)]
        self._unsaid.ring()
        return []

    async def run(self, write: Write) -> None:
        """Tells what no later call has told, a second after it at the earliest, until cancelled."""
        while True:
            ticket = self._unsaid.ticket()
            if not any(each.calls for each in self._calls.values()):
                await ticket.wait()
            await trio.sleep(EVERY_S)
            await self.flush(write, since_s=EVERY_S)

    async def flush(self, write: Write, *, since_s: float = 0.0) -> None:
        """Tells what was left out, of those whose last word is `since_s` old. It raises what `write` does."""
        now = trio.current_time()
        over = {subject: each for subject, each in self._calls.items() if now - each.said_at >= since_s}
        told = [(each.payer, each.told(now)) for each in over.values() if each.calls]
        for subject, each in over.items():
            if each.said_at < now:
                del self._calls[subject]  # a payer that has gone leaves nothing

        def operation(tx: Tx) -> None:
            for payer, event in told:
                whose = {"swarm": payer.swarm_id, "agent": payer.agent_id, "task": payer.task_id}
                tx.emit(event.kind, data=event.data, **whose)

        if told:
            await write(operation)

    def failover(self, now: float, first: Candidate, served: Candidate, why: str) -> list[Happened]:
        """`model.failover` for a call that another than the first of its chain has served."""
        count = _entry(self._failovers, (first.name, served.name), _Count)
        count.calls += 1
        data = {"from": first.name, "to": served.name, "why": why[:200], "calls": count.calls}
        return _due(count, now, "model.failover", data)


def _entry(counts: dict[S, C], subject: S, made: Callable[[], C]) -> C:
    if subject not in counts and len(counts) >= SUBJECTS_MAX:
        counts.pop(next(iter(counts)))
    found = counts.get(subject)
    if found is None:
        found = counts[subject] = made()
    return found


def _due(count: _Count, now: float, kind: str, data: dict[str, Any]) -> list[Happened]:
    if now - count.said_at < EVERY_S:
        return []
    count.said_at, count.calls = now, 0
    return [Happened(kind, data)]
