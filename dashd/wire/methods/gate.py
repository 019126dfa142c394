"""`gate.*`: the rules by which something needs a yes, or is refused."""

from typing import Annotated, Literal

from msgspec import Meta, field

from .approval import Kind
from .table import Id, Method, Params, Result


class SetGate(Params):
    """Adds a rule, or replaces the one of that name; what waits already keeps its terms."""

    name: Id
    kind: Kind
    """command, path, tool: guidance, where an agent's program asks. money, landing, depth: enforced."""
    pattern: Annotated[str, Meta(max_length=1_000)] = ""
    """Of command, path, tool, and of a landing's target: `git push*`; none is any."""
    above: Annotated[float, Meta(ge=0, le=10_000)] = 0
    """money: dollars at once; depth: levels of children."""
    verdict: Literal["ask", "allow", "deny"] = "ask"
    """deny wins over allow, and allow over ask."""
    who: Literal["operator", "orchestrator"] = "operator"
    """orchestrator: its key may decide too."""
    two_person: bool = False
    """Two keys must say yes; one that says no is enough."""
    deadline_s: Annotated[float, Meta(ge=1, le=604_800)] = 3_600.0
    at_deadline: Literal["allow", "deny"] = "deny"


class Gate(Result):
    """A rule."""

    name: str
    kind: Kind
    pattern: str
    above: float
    verdict: Literal["ask", "allow", "deny"]
    who: Literal["operator", "orchestrator"]
    two_person: bool
    deadline_s: float
    at_deadline: Literal["allow", "deny"]


class ListGates(Params):
    """Asks for the rules."""


class GateList(Result):
    """The rules, by kind and name."""

    gates: list[Gate] = field(default_factory=list)


class RemoveGate(Params):
    """Names a rule."""

    name: Id


class GateRemoved(Result):
    """Whether there was one."""

    name: str
    changed: bool


METHODS = (
    Method("gate.set", SetGate, Gate, "Sets a rule by which something needs a yes.", changes=True),
    Method("gate.list", ListGates, GateList, "Lists the rules by which something needs a yes."),
    Method("gate.remove", RemoveGate, GateRemoved, "Removes a rule.", changes=True),
)
