"""What an operation is handed: the connection, the instant, and what becomes true only after COMMIT.

Events, rings and callbacks gathered here are thrown away with the operation's savepoint when it raises.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

import apsw

from dashd.store import tail as tail_
from dashd.wire import events as wire_events

T = TypeVar("T")
BellName = Literal[
    "queue",
    "agents",
    "swarms",
    "approvals",
    "workspaces",
    "merges",
    "gateways",
    "instances",
    "placed",
    "failures",
]

DAEMON: Final = "dashd"
"""The actor of what nobody asked for."""
_INSERT_EVENT: Final = "INSERT INTO event (seq, at_ms, kind, swarm, agent, body) VALUES (?, ?, ?, ?, ?, ?)"


class Tx:
    """What an operation works with; valid until the operation returns."""

    __slots__ = (
        *("_at", "_cursor", "actor", "callbacks", "db", "events", "now_ms", "rings", "seq", "steady_ms"),
    )

    def __init__(self, cursor: apsw.Cursor, now_ms: int, at: str, seq: int, steady_ms: int) -> None:
        self.db = cursor.connection
        # The writer's own cursor, used only for statements that return no rows (cheaper than a new one).
        self._cursor = cursor
        self.now_ms = now_ms
        self.steady_ms = steady_ms
        self._at = at
        self.actor = DAEMON
        """Who is behind this operation, for the record."""
        self.seq = seq
        self.events: list[tail_.Committed] = []
        self.rings: set[BellName] = set()
        self.callbacks: list[Callable[[], None]] = []

    def execute(self, sql: str, bindings: "apsw.Bindings" = ()) -> apsw.Cursor:
        """Run one statement. Keep `sql` constant (prepared once); read the rows before returning."""
        return self.db.execute(sql, bindings)

    def emit(
        self,
        kind: str,
        *,
        swarm: str | None = None,
        agent: str | None = None,
        task: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> int:
        """Record that something happened, in the same transaction as the change itself; gives its seq."""
        assert kind in wire_events.KINDS, kind
        seq = self.seq + 1
        body = wire_events.encode(wire_events.Event(seq, self._at, kind, swarm, agent, task, data or {}))
        self._cursor.execute(_INSERT_EVENT, (seq, self.now_ms, kind, swarm, agent, body.decode()))
        self.events.append(tail_.Committed(seq, kind, swarm, body))
        self.seq = seq
        return seq

    def ring(self, bell: BellName) -> None:
        """Ring this bell once the change is durable."""
        self.rings.add(bell)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call this on the trio thread once the change is durable; it must neither block nor raise."""
        self.callbacks.append(callback)


Operation = Callable[[Tx], T]
"""A mutation: it reads, decides, writes and emits, without waiting for anything."""
