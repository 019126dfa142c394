"""What an event is on the wire, which kinds exist, and how a filter picks among them.

`seq` is the only cursor anyone needs: it grows by commit order and never repeats.
"""

import copy
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

KINDS = frozenset(
    f"{noun}.{verb}"
    for noun, verbs in {
        "swarm": "created scaled paused resumed completed failed destroyed swept landed",
        "agent": "spawned started progress status paused resumed completed failed killed adopted lost tokens",
        "task": "created ready assigned started completed failed retrying cancelled dead",
        "worktree": "created salvaged removed",
        "session": "opened closed error state",
        "model": "call failover",
        "budget": "threshold extended overrun thawed",
        "approval": "requested resolved",
        "escalation": "raised resolved",
        "circuit": "opened closed",
        "merge": "queued merged conflict failed cancelled",
        "gateway": "up down draining",
        "system": "error config alert",
    }.items()
    for verb in verbs.split()
)

ATTENTION = frozenset(
    {
        "swarm.completed",
        "swarm.failed",
        "task.dead",
        "budget.threshold",
        "budget.overrun",
        "approval.requested",
        "escalation.raised",
        "circuit.opened",
        "gateway.down",
        "system.alert",
    }
)
"""The kinds for which somebody should be interrupted."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, in commit order."""

    seq: int
    at: str
    """ISO 8601, UTC, milliseconds."""
    kind: str
    swarm: str | None = None
    agent: str | None = None
    task: str | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """The event as compact JSON; done once per event, whatever the number of readers."""
    return _encoder.encode(event)


def iso(at_ms: int) -> str:
    """Milliseconds since the epoch as `2026-11-20T10:00:00.123Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Filter:
    """Which events a reader wants: one swarm or all, kinds by pattern, or only those that need attention."""

    def __init__(
        self, swarm: str | None = None, kinds: Iterable[str] = (), *, attention: bool = False
    ) -> None:
        """`kinds` are exact names or `noun.*`; none at all means every kind."""
        self.swarm = swarm
        self._among: frozenset[str] | None = None
        chosen = {kind for pattern in kinds for kind in expand(pattern)} or set(KINDS)
        self.kinds = frozenset(chosen & ATTENTION if attention else chosen)
        self.everything = swarm is None and self.kinds == KINDS

    def wants(self, kind: str, swarm: str | None) -> bool:
        """True where the event passes."""
        return self.everything or (kind in self.kinds and self.swarm in (None, swarm) and self._tells(swarm))

    def for_those(self, among: frozenset[str] | None) -> "Filter":
        """The same for a reader who may be told of those swarms, None all; what is no swarm's passes."""
        if among is None:
            return self
        made = copy.copy(self)
        made._among, made.everything = among, False
        return made

    def _tells(self, swarm: str | None) -> bool:
        return self._among is None or swarm is None or swarm in self._among


def expand(pattern: str) -> list[str]:
    """The kinds that a pattern such as `task.*` or `task.dead` names; none if it names nothing."""
    if pattern == "*":
        return sorted(KINDS)
    if pattern.endswith(".*"):
        return sorted(kind for kind in KINDS if kind.startswith(pattern[:-1]))
    return [pattern] if pattern in KINDS else []
