"""Which driver runs what is asked for, whether it can, and in which formats it calls models.

Where none is named it is that of what it begins from, or the usual one.
"""

from typing import Final

import msgspec

from dashd.domain.speech import Speaks
from dashd.store import agents, gateways, made_sessions, sessions, swarms
from dashd.store.rows import Snapshot
from dashd.wire import errors
from dashd.wire.methods.swarm import PlanSwarm

from . import modes
from .core import Core

KEEP_SESSIONS: Final = ("openclaw", "pi")


async def of_swarm(core: Core, params: PlanSwarm) -> tuple[str, str]:
    """(driver, why this one). Raises Unsupported."""
    begun = params.begin_from or ""
    if begun and not (params.driver or params.argv):
        found = await core.store.reader.read(lambda db: _of_begun(db, begun))
        if found:
            driver, _ = await core.drivers.choose(found, has_argv=False)
            return driver, f"no driver was named, and {begun} is of {found}"
    if modes.away(params) and not (params.driver or params.argv):
        driver, _ = await core.drivers.choose(modes.DRIVER, has_argv=False)
        return driver, f"no driver was named, and gateways that were added run {driver}"
    return await core.drivers.choose(params.driver or None, has_argv=bool(params.argv))


async def check(core: Core, params: PlanSwarm, driver: str, cwd: str | None) -> tuple[list[str], str]:
    """(argv, cwd) as that driver will use them. Raises InvalidParams and Unsupported."""
    away = driver == modes.DRIVER and modes.away(params)
    return await core.drivers.check(driver, params.argv or None, cwd, away=away)


async def of_session(core: Core, named: str | msgspec.UnsetType) -> str:
    """For a session that is made; the one of a swarm, where nobody names another. Raises Unsupported."""
    driver, why = await core.drivers.choose(named or None, has_argv=False)
    if core.drivers.abilities(driver).keeps_session:
        return driver
    those = " or ".join(KEEP_SESSIONS)
    if named:
        raise errors.Unsupported(
            f"driver {driver} keeps no session", hint=f"drivers that do: {those}", path="driver"
        )
    raise errors.Unsupported(
        f"no program that keeps sessions can run here: {why}",
        hint=f"dashctl program install openclaw, or pi; session create --driver {those} names one",
        path="driver",
    )


def speaks(core: Core, driver: str) -> Speaks:
    """In which formats its program calls models."""
    return Speaks(f"driver {driver} speaks", core.drivers.abilities(driver).formats)


async def of_agent(core: Core, agent_id: str) -> tuple[str | None, Speaks]:
    """(the model of its swarm, in which formats it can call another): where it runs a program or is of a
    gateway, the one that this was told when it started.
    """
    swarm = await core.store.reader.read(lambda db: swarms.get(db, agents.get(db, agent_id).swarm_id))
    spoken = await core.models.spoken(agent_id)
    if spoken is None:
        return swarm.model, speaks(core, swarm.driver)
    if swarm.mode == gateways.MODE:
        return swarm.model, Speaks(f"for swarm {swarm.id} its gateway speaks", (spoken,))
    return swarm.model, Speaks(f"what agent {agent_id} runs speaks, until it ends,", (spoken,))


def _of_begun(db: Snapshot, begin_from: str) -> str | None:
    """The driver of a session that was made, or of a checkpoint's; None where there is no such."""
    if (made := made_sessions.find(db, begin_from)) is not None:
        return made.driver
    try:
        return sessions.of_checkpoint(db, begin_from).driver
    except errors.NotFound:
        return None  # which is said where it would begin
