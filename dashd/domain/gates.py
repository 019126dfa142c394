"""Gates: which rule decides about something that is about to be done.

The strictest word wins: a deny over an allow, and an allow over an ask, so that `ask for everything, allow
ls` is two rules. Of a command line, one matching command is enough to ask or deny; all must match to allow
(`commands` cuts it). Command, path and tool patterns are guidance: a program can be written around them. The
walls are elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from . import commands

Kind = Literal["command", "path", "tool", "money", "landing", "depth"]
Verdict = Literal["ask", "allow", "deny"]
Who = Literal["operator", "orchestrator"]

MEASURED: Final = frozenset({"money", "depth"})
"""Kinds with an amount that is compared; the others have a text that is matched."""
_ORDER: Final = {"deny": 0, "allow": 1, "ask": 2}


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule."""

    name: str
    kind: str
    pattern: str
    above: int
    verdict: str
    who: str
    two_person: bool
    deadline_s: float
    at_deadline: str


def judge(gates: Iterable[Gate], kind: str, text: str, amount: int) -> Gate | None:
    """The rule that decides, or None where none is about this."""
    found = [gate for gate in gates if applies(gate, kind, text, amount)]
    # Among those that ask, the one that is hardest to satisfy.
    return min(found, key=_strictness) if found else None


def applies(gate: Gate, kind: str, text: str, amount: int) -> bool:
    """Whether a rule is about something of this kind."""
    if gate.kind != kind:
        return False
    if kind in MEASURED:
        return amount > gate.above
    if not gate.pattern or kind != "command":
        return not gate.pattern or fnmatchcase(text, gate.pattern)
    if gate.verdict == "allow":  # `ls *` says nothing of what follows in `ls a; rm b`
        parts = commands.parts(text)
        return bool(parts) and all(fnmatchcase(part, gate.pattern) for part in parts or ())
    return any(fnmatchcase(reading, gate.pattern) for reading in commands.readings(text))


def _strictness(gate: Gate) -> tuple[int, bool, bool, str]:
    return _ORDER[gate.verdict], not gate.two_person, gate.who != "operator", gate.name
