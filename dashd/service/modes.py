"""How a driver runs a swarm's agents, where it has several ways: what each of them can not do is refused."""

import msgspec

from dashd.domain import asking, placement
from dashd.domain import scope as scopes
from dashd.domain.placement import Terms, Unplaced
from dashd.store import gates, gateways, instances, placements
from dashd.store.rows import Snapshot, SwarmRow
from dashd.wire import errors
from dashd.wire.methods import swarm as wire
from dashd.wire.methods.table import Placement

from .core import Core

DRIVER = "openclaw"


class Way(msgspec.Struct, frozen=True):
    """What a swarm's row says of how its agents run."""

    mode: str = ""
    placement: str = ""
    notes: tuple[str, ...] = ()


def away(params: wire.PlanSwarm) -> bool:
    """Its agents run in gateways that were added, and what is installed here is nothing to them."""
    return params.mode == gateways.MODE and params.unsafe_no_jail


async def prepare(core: Core, params: wire.PlanSwarm, driver: str) -> Way:
    """Raises InvalidParams and Unsupported, saying what to leave out."""
    if params.mode is not msgspec.UNSET and driver != DRIVER:
        raise errors.InvalidParams(
            f"driver {driver} has no modes", hint=f"leave mode out, or name driver {DRIVER}", path="mode"
        )
    if driver == instances.DRIVER:
        return await _among_instances(core, params)
    if params.placement is not msgspec.UNSET and not away(params):
        raise errors.InvalidParams(
            "placement chooses among instances, where Pis run, or gateways that were added, and this swarm"
            " runs in none of them",
            hint="leave placement out, name driver pi, or say mode: gateway and unsafe_no_jail",
            path="placement",
        )
    if params.mode != gateways.MODE:
        return Way()
    for name in ("repo", "hosts"):
        if getattr(params, name) is not msgspec.UNSET:
            raise errors.Unsupported(
                f"mode gateway does not go with {name} yet: its agents share one folder and environment",
                hint=f"leave {name} out, or mode: jailed",
                path=name,
            )
    if params.limits.cpu_s is not msgspec.UNSET:
        raise errors.InvalidParams(
            "limits.cpu_s bounds each process, and a gateway is one process for all its agents",
            hint="leave limits.cpu_s out, or mode: jailed",
            path="limits.cpu_s",
        )
    if away(params):
        return await _among_added(core, params)
    state = await core.walls.state()
    if not state.required or state.grade not in ("A", "B"):
        raise errors.Unsupported(
            "mode gateway needs walls of grade A or B around the gateway of each swarm",
            hint="dashctl doctor says what walls need here; unsafe_no_jail takes gateways that were added",
            path="mode",
        )
    return Way(gateways.MODE)


async def _among_added(core: Core, params: wire.PlanSwarm) -> Way:
    """No process is started for it: each attempt is given to one of the gateways there are by then."""
    terms = _terms(params)
    notes = [
        "its agents run in gateways that were added: limits of memory, processes and disk hold nothing there",
        *await _unfit(core, "gateway", terms),
    ]
    return Way(gateways.MODE, msgspec.json.encode(terms).decode(), tuple(notes))


async def _among_instances(core: Core, params: wire.PlanSwarm) -> Way:
    """Each attempt is given to one of those there are by then, whether something is asked of it or not."""
    terms = _terms(params)
    if terms.version is not None:
        await core.instances.look_here()  # that of this machine's own is known where somebody wants to know
    wanted = "" if params.placement is msgspec.UNSET else msgspec.json.encode(terms).decode()
    return Way(placement=wanted, notes=await _unfit(core, "instance", terms))


def _terms(params: wire.PlanSwarm) -> Terms:
    told = Placement() if params.placement is msgspec.UNSET else params.placement
    if told.version is not None and not placement.parsed(told.version):
        raise errors.InvalidParams(
            f"{told.version!r} is not a version", hint="numbers, as 2026.9", path="placement.version"
        )
    return Terms(told.policy, tuple(dict.fromkeys(told.capabilities)), told.region, told.version)


async def _unfit(core: Core, noun: placements.Noun, terms: Terms) -> tuple[str, ...]:
    """What to tell whoever makes a swarm that no place takes now."""
    looks = core.looks()
    found = await core.store.reader.read(lambda db: placements.choose(db, noun, looks, terms))
    if not isinstance(found, Unplaced) or found.kind != "unfit":
        return ()
    return (f"no {noun} takes its tasks now, so they wait: {found.reason}",)


def refuse_asking(db: Snapshot, row: SwarmRow) -> None:
    """Raises Unsupported where agents would have to ask before they act, which in a gateway nobody hears."""
    if row.mode != gateways.MODE:
        return
    scope = scopes.from_json(row.scope) if row.scope else scopes.DEFAULT
    if asked := asking.unheard(scope, [gate.kind for gate in gates.every(db)]):
        raise errors.Unsupported(
            f"in mode gateway nobody is asked before an agent acts; there are rules for {', '.join(asked)}",
            hint="dashctl gate list shows gates; leave out allow_commands and deny_commands, or mode: jailed",
            path="mode",
        )
