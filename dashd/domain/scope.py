"""What an agent may reach, as one frozen value, and the rule that a child's lies within its parent's.

`Scope` is a lattice in nine dimensions. `intersect` is its meet: commutative, associative, idempotent, and
never more than either side. In every dimension **None is everything** (no limit from this scope) and **empty,
or 0, is nothing**; whoever builds one for a swarm that asked for nothing starts from `DEFAULT`. Two words on
the edges: `hosts=None` lets a child be given any exact names, but an agent reaches only names that are
listed; `depth` counts the generations below, and `for_child` is what takes one.

Folders and their refusals: `folders`. Commands are guidance: `commands`. Hosts: `hosts`. What may be written
may be read, so `read` always reaches `write`.

A row keeps a scope as JSON, all dimensions written out. Reading is strict: a missing dimension is not taken
for everything, and a field or version of a later Dash is refused, since dropping a limit nobody here knows
would widen the scope.
"""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeVar, get_args

import msgspec

from dashd.wire.errors import Forbidden, InvalidParams

from . import commands as commanding
from . import dollars, folders
from . import hosts as hosting

VERSION = 1
NAMES_MAX = 256
NAME_LENGTH_MAX = 500
DEPTH_MAX = 64
DEPTH_DEFAULT = 3
"""Generations below an agent of a swarm that said nothing of them."""
SHOWN_MAX = 12
Dimension = Literal["read", "write", "tools", "commands", "models", "hosts", "depth", "money", "time"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Names = tuple[str, ...] | None
Commands = commanding.Commands
Amount = TypeVar("Amount", int, float)
_set = msgspec.structs.force_setattr


class Scope(msgspec.Struct, frozen=True):
    """What is reached in each dimension, canonical whoever made it; `parse` checks what people write."""

    read: Names = None
    """Folders, with all below them; always reaches `write`."""
    write: Names = None
    tools: Names = None
    commands: Commands = commanding.EVERYTHING
    models: Names = None
    hosts: Names = None
    """`name` (port 443) or `name:port`."""
    depth: int | None = None
    """Generations of agents below: 0 spawns none."""
    money_nusd: int | None = None
    time_s: float | None = None

    def __post_init__(self) -> None:
        if self.write is None:
            _set(self, "read", None)
        else:
            _set(self, "write", folders.canonical(self.write))
        if self.read is not None:
            _set(self, "read", folders.union(self.read, self.write or ()))
        for name in ("tools", "models", "hosts"):
            if (names := getattr(self, name)) is not None:
                _set(self, name, tuple(sorted(set(names))))
        for name in ("depth", "money_nusd", "time_s"):
            if (amount := getattr(self, name)) is not None and not 0 <= amount < math.inf:
                raise InvalidParams(f"{name} is {amount}", hint="it is 0 or more", path=f"scope.{name}")


EVERYTHING = Scope()
DEFAULT = Scope(read=(folders.ROOT,), write=(folders.ROOT,), hosts=())
"""Of a swarm that asked for nothing: its root, any tool, command and model, and no host."""


class Missing(NamedTuple):
    """One thing that was asked for and not granted."""

    dimension: Dimension
    asked: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.dimension} {self.asked}: not granted; the parent's scope is {self.allowed}"


def parse(
    *,
    read: Iterable[str] | None = None,
    write: Iterable[str] | None = None,
    tools: Iterable[str] | None = None,
    allow: Iterable[str] | None = None,
    deny: Iterable[str] = (),
    models: Iterable[str] | None = None,
    hosts: Iterable[str] | None = None,
    depth: int | None = None,
    money_nusd: int | None = None,
    time_s: float | None = None,
    root: str | None = None,
) -> Scope:
    """A scope as somebody wrote it; raises InvalidParams that names the parameter.

    What is left out is None: everything, so within a parent as much as the parent has. `write` alone leaves
    reading open; `read` alone is refused, because who may write everywhere also reads everywhere. `root`
    turns absolute folders at or below it into relative ones.
    """
    if read is not None and write is None:
        hint = "name what may be written as well; an empty list is nothing"
        raise InvalidParams("read is limited, but write is not", hint=hint, path="scope.write")
    if depth is not None and not 0 <= depth <= DEPTH_MAX:
        raise InvalidParams(f"depth is {depth}", hint=f"it is 0 to {DEPTH_MAX}", path="scope.depth")
    return Scope(
        read=None if read is None else folders.parse_all(read, root=root, path="scope.read"),
        write=None if write is None else folders.parse_all(write, root=root, path="scope.write"),
        tools=_parsed_names(tools, "scope.tools"),
        commands=commanding.parse(allow, deny, path="scope.commands"),
        models=_parsed_names(models, "scope.models"),
        hosts=None if hosts is None else hosting.parse_all(hosts, path="scope.hosts"),
        depth=depth,
        money_nusd=money_nusd,
        time_s=time_s,
    )


def intersect(parent: Scope, asked: Scope) -> Scope:
    """What both reach, in every dimension."""
    return Scope(
        read=_meet_folders(parent.read, asked.read),
        write=_meet_folders(parent.write, asked.write),
        tools=_meet_names(parent.tools, asked.tools),
        commands=commanding.meet(parent.commands, asked.commands),
        models=_meet_names(parent.models, asked.models),
        hosts=_meet_names(parent.hosts, asked.hosts),
        depth=_least(parent.depth, asked.depth),
        money_nusd=_least(parent.money_nusd, asked.money_nusd),
        time_s=_least(parent.time_s, asked.time_s),
    )


def for_child(parent: Scope) -> Scope:
    """What a child of this agent can be given at most; Forbidden where it may have none."""
    if parent.depth is None:
        return parent
    if parent.depth == 0:
        raise Forbidden(violation("another level of agents", "depth 0"), hint="let the parent do it itself")
    return msgspec.structs.replace(parent, depth=parent.depth - 1)


def within(child: Scope, parent: Scope) -> bool:
    """Whether the child reaches nothing that the parent does not."""
    return intersect(parent, child) == child


def missing(parent: Scope, asked: Scope) -> list[Missing]:
    """What was asked for by name and `intersect` does not grant, or not wholly; None asks for no name."""
    lacks = [
        Missing(dimension, each, allowed(parent, dimension))
        for dimension in DIMENSIONS
        for each in _not_granted(parent, asked, dimension)
    ]
    amounts: tuple[tuple[Dimension, float | None, float | None], ...] = (
        ("depth", parent.depth, asked.depth),
        ("money", parent.money_nusd, asked.money_nusd),
        ("time", parent.time_s, asked.time_s),
    )
    return lacks + [
        Missing(dimension, _amount(dimension, want), allowed(parent, dimension))
        for dimension, have, want in amounts
        if have is not None and want is not None and want > have
    ]


def reached_hosts(scope: Scope) -> tuple[str, ...]:
    """The hosts an agent of this scope reaches: those that are listed, so none where none is."""
    return scope.hosts or ()


def refusal(scope: Scope, dimension: Dimension, what: str, *, root: str | None = None) -> str | None:
    """The one sentence for a tool that asks first; None where it may.

    `what` is a folder or file (absolute ones at or below `root` count as relative), a tool, a command line, a
    model or a host; anything malformed is refused. A command that somebody should be asked about is refused
    here too: `commands.verdict` tells the two apart.
    """
    if dimension == "hosts":
        scope = Scope(hosts=reached_hosts(scope))
    if dimension == "commands":
        granted = commanding.verdict(scope.commands, what) == "allow"
    else:
        granted = _grants(scope, dimension, what, root)
    if granted:
        return None
    return violation(what, allowed(scope, dimension))


def violation(attempted: str, allowed_scope: str) -> str:
    """How every refusal by scope begins."""
    return f"Scope violation: attempted access to {attempted[:500]}; allowed scope: {allowed_scope}"


def allowed(scope: Scope, dimension: Dimension) -> str:
    """One dimension in words: `src/auth, docs`, `nothing`, `everything`, `$2.50`."""
    if dimension == "commands":
        denied = f"; not {_listed(scope.commands.deny)}" if scope.commands.deny else ""
        return _listed(scope.commands.allow) + denied
    if dimension in ("depth", "money", "time"):
        amount = {"depth": scope.depth, "money": scope.money_nusd, "time": scope.time_s}[dimension]
        return "everything" if amount is None else _amount(dimension, amount)
    return _listed(getattr(scope, dimension))


def to_json(scope: Scope) -> str:
    """A scope for a row."""
    values = msgspec.structs.asdict(scope)
    values["commands"] = _CommandsRow(scope.commands.allow, scope.commands.deny)
    return msgspec.json.encode(_Row(v=VERSION, **values)).decode()


def from_json(text: str | bytes) -> Scope:
    """The scope of a row; ValueError where it is not exactly one of this version."""
    try:
        row = msgspec.json.decode(text, type=_Row)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a scope that this Dash reads: {error}") from error
    if row.v != VERSION:
        raise ValueError(
            f"a scope of version {row.v}; this Dash reads {VERSION}, so start the newer one again"
        )
    values = msgspec.structs.asdict(row)
    del values["v"]
    values["commands"] = Commands(row.commands.allow, row.commands.deny)
    try:
        scope = Scope(**values)
        texts = {*(scope.read or ()), *(scope.write or ())}
        known = all(folders.parse(each) == each for each in texts)
        known = known and all(str(hosting.parse(each)) == each for each in reached_hosts(scope))
    except InvalidParams as error:
        raise ValueError(f"not a scope that this Dash wrote: {error.message}") from error
    if not known:
        raise ValueError("not a scope that this Dash wrote: a folder or host is not in its canonical form")
    return scope


class _CommandsRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: Names
    deny: tuple[str, ...]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No field has a default: what is not there is not everything."""

    v: int
    read: Names
    write: Names
    tools: Names
    commands: _CommandsRow
    models: Names
    hosts: Names
    depth: int | None
    money_nusd: int | None
    time_s: float | None


def _meet_folders(one: Names, other: Names) -> Names:
    if one is None or other is None:
        return one if other is None else other
    return folders.meet(one, other)


def _meet_names(one: Names, other: Names) -> Names:
    if one is None or other is None:
        return one if other is None else other
    return tuple(name for name in one if name in other)


def _least(one: Amount | None, other: Amount | None) -> Amount | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _not_granted(parent: Scope, asked: Scope, dimension: Dimension) -> list[str]:
    if dimension == "commands":
        return commanding.missing(parent.commands, asked.commands)
    if dimension in ("depth", "money", "time"):
        return []
    names: Names = getattr(asked, dimension)
    return [each for each in names or () if not _grants(parent, dimension, each)]


def _grants(scope: Scope, dimension: Dimension, what: str, root: str | None = None) -> bool:
    names: Names = getattr(scope, dimension)
    try:
        if dimension in ("read", "write"):
            what = folders.parse(what, root=root)
            return names is None or folders.covers(names, what)
        if dimension == "hosts":
            what = str(hosting.parse(what))
    except InvalidParams:
        return False
    return names is None or what in names


def _parsed_names(names: Iterable[str] | None, path: str) -> Names:
    if names is None:
        return None
    given = tuple(names)
    if len(given) > NAMES_MAX:
        raise InvalidParams(f"{len(given)} names, over {NAMES_MAX}", path=path)
    for at, name in enumerate(given):
        if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable() or "*" in name:
            hint = f"names are exact: 1 to {NAME_LENGTH_MAX} printable characters, no *"
            raise InvalidParams(f"{name[:200]!a} is no name", hint=hint, path=f"{path}[{at}]")
    return given


def _listed(names: Names) -> str:
    if names is None:
        return "everything"
    more = f", and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return (", ".join(names[:SHOWN_MAX]) + more) or "nothing"


def _amount(dimension: str, amount: float) -> str:
    if dimension == "money":
        return dollars.text(int(amount))
    return f"{amount:g} s" if dimension == "time" else f"depth {amount:g}"
