"""How a driver runs a swarm's agents, where it has several ways: what each of them can not do is refused."""

import msgspec

from dashd.domain import asking
from dashd.domain import scope as scopes
from dashd.store import gates, gateways
from dashd.store.rows import Snapshot, SwarmRow
from dashd.wire import errors
from dashd.wire.methods import swarm as wire

from .core import Core

DRIVER = "openclaw"


async def prepare(core: Core, params: wire.PlanSwarm, driver: str) -> str:
    """Column `mode`. Raises InvalidParams and Unsupported, saying what to leave out."""
    if params.mode is not msgspec.UNSET and driver != DRIVER:
        raise errors.InvalidParams(
            f"driver {driver} has no modes", hint=f"leave mode out, or name driver {DRIVER}", path="mode"
        )
    if params.mode != gateways.MODE:
        return ""
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
    state = await core.walls.state()
    if params.unsafe_no_jail or not state.required or state.grade not in ("A", "B"):
        raise errors.Unsupported(
            "mode gateway needs walls of grade A or B around the gateway of each swarm",
            hint="leave unsafe_no_jail out where it was asked for; dashctl doctor says what walls need here",
            path="mode",
        )
    return gateways.MODE


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
