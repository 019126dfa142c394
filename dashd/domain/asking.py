"""What an agent asks before it acts, and how that is judged: by its swarm's scope first, then by the gates.

Guidance: an agent's program that does not ask is held by its walls alone. A command that the scope neither
allows nor denies (`commands` tells them apart) needs somebody's yes, unless a gate knows better.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from . import commands, folders
from . import gates as rules
from . import scope as scopes
from .gates import Gate
from .scope import Scope

Kind = Literal["command", "path", "tool"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TEXT_CHARS_MAX = 20_000
BY_SCOPE: Final = Gate("scope", "command", "", 0, "ask", "operator", False, 3_600.0, "deny")
"""The rule for a command that the swarm's own patterns do not decide about."""
_WORDS: Final = {"command": "run `{}`", "path": "write {}", "tool": "use the tool {}"}


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent is about to do."""

    kind: Kind
    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
    """A command line, a file that would be written, or a tool's name."""
    call: Annotated[str, Meta(min_length=1, max_length=100)]
    """The agent's own name for it: asked again under it, it is the same question."""

    @property
    def what(self) -> str:
        """As who decides reads it."""
        return _WORDS[self.kind].format(self.text)


class Answer(msgspec.Struct, frozen=True):
    """What an agent is told; `text` is for its model to read."""

    decision: Literal["allow", "deny"]
    text: str = ""


class Needs(NamedTuple):
    """Somebody's yes, by this rule; `text` is what was matched with it."""

    gate: Gate
    text: str


def kinds(scope: Scope, kinds_of_gates: Sequence[str]) -> tuple[Kind, ...]:
    """What an agent must ask about at all; empty where nothing is ruled."""
    ruled = {
        "command": scope.commands != commands.EVERYTHING,
        "path": scope.write is not None and folders.ROOT not in scope.write,
        "tool": scope.tools is not None,
    }
    return tuple(kind for kind in KINDS if ruled[kind] or kind in kinds_of_gates)


def unheard(scope: Scope, kinds_of_gates: Sequence[str]) -> tuple[Kind, ...]:
    """The same where nobody can be asked: what its scope says of folders, walls keep without asking."""
    alone = msgspec.structs.replace(scope, write=None)
    return kinds(alone, kinds_of_gates)


def judge(scope: Scope, root: str, ask: Ask, gates: Sequence[Gate]) -> Answer | Needs:
    """The answer, or what it takes; `gates` are those of the kind, `root` is where the agent works."""
    if refused := _refusal(scope, root, ask):
        return Answer("deny", refused)
    # In one form: a pattern is not evaded by `src/./a`. A path without one was refused just now.
    text = folders.parse(ask.text, root=root) if ask.kind == "path" else ask.text
    gate = rules.judge(gates, ask.kind, text, 0)
    if gate is None and ask.kind == "command" and commands.verdict(scope.commands, text) == "ask":
        gate = BY_SCOPE
    if gate is None or gate.verdict == "allow":
        return Answer("allow")
    if gate.verdict == "deny":
        return Answer("deny", f"gate {gate.name} forbids it: {ask.what[:500]}")
    return Needs(gate, text)


def _refusal(scope: Scope, root: str, ask: Ask) -> str | None:
    if ask.kind == "path":
        return scopes.refusal(scope, "write", ask.text, root=root)
    if ask.kind == "tool":
        return scopes.refusal(scope, "tools", ask.text)
    if commands.verdict(scope.commands, ask.text) == "deny":
        return scopes.refusal(scope, "commands", ask.text)
    return None
