"""What a swarm's agents may reach: read from its parameters, refused where this machine could not keep it."""

import msgspec

from dashd.domain import folders
from dashd.domain import scope as scopes
from dashd.domain.commands import EVERYTHING
from dashd.domain.scope import Scope
from dashd.wire import errors
from dashd.wire.methods import swarm as wire
from dashd.wire.methods.table import Limits

from . import reach
from .core import Caller, Core
from .ports import WallsState
from .repositories import Place


class Walled(msgspec.Struct, frozen=True):
    """What a swarm's row says of its walls."""

    walls: str
    scope: str
    bounds: str
    notes: list[str]


async def prepare(
    core: Core, caller: Caller, params: wire.PlanSwarm, place: Place, cwd: str, driver: str
) -> Walled:
    """Reads walls; `cwd` is what the driver made of the place's.

    Raises Unsupported, saying what to install, where the walls would be too weak; InvalidParams; Forbidden
    where the caller's key reaches less far.
    """
    state = await core.walls.state()
    root = place.root or cwd
    asked = scope_of(params, root)
    walled = not params.unsafe_no_jail and (state.required or caller.within is None)
    await reach.check(caller, [*reach.of_scope(asked, root), *place.stores], walled=walled)
    bounds = msgspec.json.encode(_bounds(params.limits)).decode()
    told = _guidance(asked, driver, asks=core.drivers.abilities(driver).asks)
    if params.unsafe_no_jail or not state.required:
        _refuse_idle_limits(params)
        notes = ["no walls: its agents have all your rights"] if params.unsafe_no_jail else []
        return Walled("none", scopes.to_json(asked), bounds, [*notes, *told])
    _refuse_weak(state)
    await _check(core, place, asked, root)
    notes = [*_notes(state, asked, root, place), *told]
    return Walled("required", scopes.to_json(asked), bounds, notes)


async def _check(core: Core, place: Place, asked: Scope, root: str) -> None:
    """What is given to agents as it is; in a clone of a repository there is nothing of the user's."""
    write, read = asked.write or (), asked.read or ()
    if place.terms is not None:
        write, read = (tuple(each for each in names if each[0] == "/") for names in (write, read))
    await core.walls.check(
        [folders.absolute(each, root) for each in write], [folders.absolute(each, root) for each in read]
    )


def scope_of(params: wire.PlanSwarm, cwd: str) -> Scope:
    """The scope in force: `cwd` can be read, and written where nothing narrower is named."""
    write = [folders.ROOT] if params.scope is msgspec.UNSET else params.scope
    read = [] if params.read is msgspec.UNSET else params.read
    hosts = [] if params.hosts is msgspec.UNSET else params.hosts
    allow = None if params.allow_commands is msgspec.UNSET else params.allow_commands
    deny = [] if params.deny_commands is msgspec.UNSET else params.deny_commands
    read = [folders.ROOT, *read]
    return scopes.parse(write=write, read=read, hosts=hosts, allow=allow, deny=deny, root=cwd)


def _bounds(limits: Limits) -> dict[str, int]:
    found = {"memory_mb": limits.memory_mb, "processes": limits.processes, "disk_mb": limits.disk_mb}
    return found if limits.cpu_s is msgspec.UNSET else {**found, "cpu_s": limits.cpu_s}


def limits_of(row_bounds: str, *, timeout_s: float, retries: int, grace_s: float) -> Limits:
    """The limits of a swarm as it was asked for them."""
    usual = msgspec.structs.asdict(Limits())
    asked = {name: value for name, value in msgspec.json.decode(row_bounds).items() if value != usual[name]}
    return Limits(timeout_s=timeout_s, retries=retries, grace_s=grace_s, **asked)


def _refuse_idle_limits(params: wire.PlanSwarm) -> None:
    """A scope that nothing would keep is worse than none."""
    for name in ("scope", "read", "hosts"):
        if getattr(params, name) is not msgspec.UNSET:
            raise errors.InvalidParams(
                f"{name} limits nothing without walls", hint=f"leave out {name}, or unsafe_no_jail", path=name
            )


def _refuse_weak(state: WallsState) -> None:
    if state.enough:
        return
    lower = f"dashd with DASH_JAIL_GRADE_MIN={state.grade}, or " if state.grade not in ("M", "0") else ""
    raise errors.Unsupported(
        f"agents need walls of grade {state.grade_min}, and this machine gives {state.grade}: {state.why}",
        hint=f"{state.fix}; or {lower}unsafe_no_jail: true, for what you would run by hand",
        path="unsafe_no_jail",
    )


def _notes(state: WallsState, asked: Scope, cwd: str, place: Place) -> list[str]:
    if place.terms is not None:
        hosts = ", ".join(scopes.reached_hosts(asked)) or "no host"
        return [f"walls of grade {state.grade} around each agent and its clone; it reaches {hosts}"]
    write = ", ".join(folders.absolute(each, cwd) for each in asked.write or ()) or "nothing"
    hosts = ", ".join(scopes.reached_hosts(asked)) or "no host"
    return [f"walls of grade {state.grade}: agents can write {write}, read {cwd}, and reach {hosts}"]


def _guidance(asked: Scope, driver: str, *, asks: bool) -> list[str]:
    """What is said of command patterns: never that they are a wall."""
    if asked.commands == EVERYTHING:
        return []
    told = scopes.allowed(asked, "commands")
    if not asks:
        return [
            f"commands: {told}. Agents of driver {driver} do not ask before they act, so this keeps nothing"
        ]
    return [f"commands: {told}. Agents of driver {driver} ask first; this is guidance, no wall"]
