"""What the proxy says in events: at most one of a kind and second for each payer and model (of failovers, for
each swarm and pair), with the counts of what it left out.

The first of a second travels with the settlement that caused it, in the same transaction. What came after it
is told with the next call, or by `run` once its second is over, so nothing stays unsaid; `flush` at the end
tells the rest. `hold` rows have every call.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar

import trio

from dashd.domain import budget as rules
from dashd.store.bells import Bell
from dashd.store.holds import Settlement
from dashd.store.transaction import Operation, Tx

from .ledger import Payer
from .registry import Candidate
from .settling import Happened

EVERY_S = 1.0
SUBJECTS_MAX = 10_000


S = TypeVar("S")
C = TypeVar("C", bound="_Count")
Write = Callable[[Operation[None]], Awaitable[None]]


@dataclass
class _Count:
    """What one subject has done since it was last told."""

    payer: Payer
    """Whose the last one was."""
    data: dict[str, Any] = field(default_factory=dict)
    """Of the last one."""
    said_at: float = float("-inf")
    calls: int = 0

    def told(self, now: float) -> Happened:
        """The event; nothing is left to say then."""
        found = Happened(self.kind, self.data | self.counts())
        self.said_at, self.calls = now, 0
        return found

    kind: ClassVar[str] = "model.failover"

    def counts(self) -> dict[str, Any]:
        """Of all of them."""
        return {"calls": self.calls}


@dataclass
class _Calls(_Count):
    """What one payer has called of one model."""

    kind: ClassVar[str] = "model.call"
    cost_nusd: int = 0
    tokens: int = 0

    def counts(self) -> dict[str, Any]:
        found = {"calls": self.calls, "cost": self.cost_nusd / rules.NUSD, "tokens": self.tokens}
        self.cost_nusd = self.tokens = 0
        return found


class Reports:
    """Counts between events; one for the daemon."""

    def __init__(self) -> None:
        self._calls: dict[tuple[Payer, str], _Calls] = {}
        self._failovers: dict[tuple[str | None, str, str], _Count] = {}
        self._unsaid = Bell()

    def call(
        self, now: float, payer: Payer, candidate: Candidate, settlement: Settlement, took_s: float
    ) -> list[Happened]:
        """`model.call` for a try that was sent, where its second has not had one."""
        count = _entry(self._calls, (payer, candidate.name), partial(_Calls, payer))
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
        return self._due(count, now)

    async def run(self, write: Write) -> None:
        """Tells what no later call has told, a second after it at the earliest, until cancelled."""
        while True:
            ticket = self._unsaid.ticket()
            if not any(each.calls for each in (*self._calls.values(), *self._failovers.values())):
                await ticket.wait()
            await trio.sleep(EVERY_S)
            await self.flush(write, since_s=EVERY_S)

    async def flush(self, write: Write, *, since_s: float = 0.0) -> None:
        """Tells what was left out, of those whose last word is `since_s` old. It raises what `write` does."""
        now = trio.current_time()
        told = [*_over(self._calls, now, since_s), *_over(self._failovers, now, since_s)]

        def operation(tx: Tx) -> None:
            for payer, event in told:
                whose = {"swarm": payer.swarm_id, "agent": payer.agent_id, "task": payer.task_id}
                tx.emit(event.kind, data=event.data, **whose)

        if told:
            await write(operation)

    def failover(
        self, now: float, payer: Payer, left: Candidate, taken: Candidate, why: str
    ) -> list[Happened]:
        """`model.failover` for a call that went on from one of its chain to another, whether that answers or
        not; where the same two ends of the same swarm have not had one this second.
        """
        subject = (payer.swarm_id or payer.budget_id, left.name, taken.name)
        count = _entry(self._failovers, subject, partial(_Count, payer))
        count.calls += 1
        count.payer, count.data = payer, {"from": left.name, "to": taken.name, "why": why[:200]}
        return self._due(count, now)

    def _due(self, count: _Count, now: float) -> list[Happened]:
        if now - count.said_at >= EVERY_S:
            return [count.told(now)]
        self._unsaid.ring()
        return []


def _over(counts: dict[S, C], now: float, since_s: float) -> list[tuple[Payer, Happened]]:
    """What is left to tell of those whose last word is so old; a subject that has gone leaves nothing."""
    over = {subject: each for subject, each in counts.items() if now - each.said_at >= since_s}
    told = [(each.payer, each.told(now)) for each in over.values() if each.calls]
    for subject, each in over.items():
        if each.said_at < now:
            del counts[subject]
    return told


def _entry(counts: dict[S, C], subject: S, made: Callable[[], C]) -> C:
    if subject not in counts and len(counts) >= SUBJECTS_MAX:
        counts.pop(next(iter(counts)))
    found = counts.get(subject)
    if found is None:
        found = counts[subject] = made()
    return found
