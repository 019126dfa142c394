"""`gate.*`: check, write, return."""

from dashd.domain import dollars
from dashd.domain import gates as rules
from dashd.store import gates
from dashd.wire import errors
from dashd.wire.methods import gate as wire

from .core import Caller, Core


async def set_(core: Core, _caller: Caller, params: wire.SetGate) -> wire.Gate:
    """Adds or replaces a rule. Raises InvalidParams for a rule that could never mean anything."""
    _check(params)
    above = dollars.nusd(params.above) if params.kind == "money" else int(params.above)
    gate = rules.Gate(
        name=params.name,
        kind=params.kind,
        pattern=params.pattern,
        above=above,
        verdict=params.verdict,
        who=params.who,
        two_person=params.two_person,
        deadline_s=params.deadline_s,
        at_deadline=params.at_deadline,
    )
    await core.store.writer.apply(lambda tx: gates.put(tx, gate))
    return _shown(gate)


async def list_(core: Core, _caller: Caller, _params: wire.ListGates) -> wire.GateList:
    """All of them."""
    return wire.GateList(gates=[_shown(each) for each in await core.store.reader.read(gates.every)])


async def remove(core: Core, _caller: Caller, params: wire.RemoveGate) -> wire.GateRemoved:
    """What waits because of it goes on waiting."""
    changed = await core.store.writer.apply(lambda tx: gates.remove(tx, params.name))
    return wire.GateRemoved(name=params.name, changed=changed)


def _check(params: wire.SetGate) -> None:
    measured = params.kind in rules.MEASURED
    if measured and params.pattern:
        raise errors.InvalidParams(
            f"a gate of kind {params.kind} has no pattern", hint="say `above` instead", path="pattern"
        )
    if not measured and params.above:
        raise errors.InvalidParams(
            f"a gate of kind {params.kind} compares no amount", hint="say `pattern` instead", path="above"
        )
    if params.kind == "depth" and params.above != int(params.above):
        raise errors.InvalidParams("levels are whole numbers", hint="above: 2", path="above")
    if params.two_person and (params.who != "operator" or params.at_deadline == "allow"):
        raise errors.InvalidParams(
            "two persons are the operator's, and silence is no yes of theirs",
            hint="leave out who and at_deadline where two_person is set",
            path="two_person",
        )


def _shown(gate: rules.Gate) -> wire.Gate:
    return wire.Gate(
        name=gate.name,
        kind=gate.kind,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        pattern=gate.pattern,
        above=dollars.usd(gate.above) if gate.kind == "money" else float(gate.above),
        verdict=gate.verdict,  # type: ignore[arg-type]
        who=gate.who,  # type: ignore[arg-type]
        two_person=gate.two_person,
        deadline_s=gate.deadline_s,
        at_deadline=gate.at_deadline,  # type: ignore[arg-type]
    )
