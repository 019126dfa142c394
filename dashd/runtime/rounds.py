"""Asks places that were added, every 30 s, how they are; what asking means is the subclass's.

    row added ─▶ asked at once ─▶ alive ─ no answer ─▶ unknown ─ no answer again ─▶ dead ─ answer ─▶ alive

What is seen is kept in memory: after a start nobody knows.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from dashd.domain.placement import Health, health_after
from dashd.store import bells
from dashd.store.bells import Bell
from dashd.store.registry import Look, PlaceRow

EVERY_S = 30.0
AGAIN_S = 5.0
"""After a question without an answer, until it is alive or counts as dead."""
AT_ONCE_MAX = 16
"""Even where none of 50 answers, a round takes less than the pause after it."""
WHY_CHARS_MAX = 300

R = TypeVar("R", bound=PlaceRow)


@dataclass(slots=True)
class Seen(Generic[R]):
    """What is known of one place."""

    row: R
    due_at: float
    version: str | None = None
    health: Health = "unknown"
    failures: int = 0
    why: str = "it has not been asked yet"
    latency_ms: float | None = None

    @property
    def standing(self) -> tuple[Health, str]:
        """What work is placed by, and why."""
        return self.health, self.why


S = TypeVar("S", bound=Seen[Any])


class Rounds(Generic[R, S]):
    """See the module. `seen` is by name."""

    def __init__(self, changed: Bell) -> None:
        """`changed` rings when rows have changed."""
        self.seen: dict[str, S] = {}
        self._changed = changed
        self._sooner = Bell()
        """One is due that was not. Of its own: gateways that do not start are tried again by the other."""
        self._slots = trio.Semaphore(AT_ONCE_MAX)
        self._following = trio.Lock()

    async def rows(self) -> list[R]:
        """Those that are to be asked."""
        raise NotImplementedError

    async def probe(self, seen: S) -> None:
        """Asks one, and says `answered` or `failed` of it."""
        raise NotImplementedError

    def fresh(self, row: R) -> S:
        """What is known of one that was never asked; it is due now."""
        raise NotImplementedError

    async def run(self) -> None:
        """Asks whoever is due, until cancelled."""
        while True:
            tickets = self._changed.ticket(), self._sooner.ticket()
            await self.follow()
            now = trio.current_time()
            async with trio.open_nursery() as round_:
                for each in [each for each in self.seen.values() if each.due_at <= now]:
                    round_.start_soon(self._in_turn, each)
            next_at = min((each.due_at for each in self.seen.values()), default=float("inf"))
            with trio.CancelScope(deadline=next_at):
                await bells.either(*tickets)

    async def ask(self, name: str) -> S | None:
        """Asks one now, whether it is due or not; None where there is none of that name."""
        await self.follow()
        found = self.seen.get(name)
        if found is not None:
            await self._in_turn(found)
        return found

    async def follow(self) -> None:
        """Knows those whose rows there are; one that was added anew is another one."""
        async with self._following:  # so that whoever reads last also sets last
            rows = await self.rows()
            seen: dict[str, S] = {}  # changed at once: threads may read what there is
            for row in rows:
                found = self.seen.get(row.name)
                same = found is not None and found.row.added_at_ms == row.added_at_ms
                seen[row.name] = found if found is not None and same else self.fresh(row)
            self.seen = seen

    def looks(self) -> dict[str, Look]:
        """By name, what work is placed by."""
        return {
            name: Look(each.row.added_at_ms, each.standing[0], each.version)
            for name, each in self.seen.items()
        }

    async def _in_turn(self, seen: S) -> None:
        async with self._slots:
            await self.probe(seen)

    def answered(self, seen: S, version: str | None, took_s: float) -> None:
        """It is well."""
        seen.health, seen.failures, seen.why, seen.version = "alive", 0, "", version
        seen.latency_ms = took_s * 1_000
        seen.due_at = trio.current_time() + EVERY_S

    def failed(self, seen: S, why: str) -> None:
        """It gave no answer, once more."""
        seen.failures += 1
        seen.health, seen.why, seen.latency_ms = health_after(seen.failures), why[:WHY_CHARS_MAX], None
        seen.due_at = trio.current_time() + (EVERY_S if seen.health == "dead" else AGAIN_S)
