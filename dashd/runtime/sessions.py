"""Where programs keep their conversations: in the folder of their launch, for an agent to write in.

An attempt whose forerunner was killed goes on in that one's session, so what stands there is what its tools
have done. Nobody else writes it: the forerunner is over before the row of the next attempt is there. Nothing
of dashd reads it.
"""

from dataclasses import replace
from pathlib import Path

import trio

from dashd.jail.launcher import LaunchFailed
from dashd.jail.view import Folder

from .jails import Asked
from .plan import Plan
from .world import World

NAME = "session"


async def begin(world: World, plan: Plan) -> Plan:
    """The plan with the folder of its program's session, which is there then. Raises LaunchFailed."""
    if not world.drivers[plan.driver].keeps_session:
        return plan
    folder = _folder(world, plan)
    try:
        await trio.to_thread.run_sync(_make, folder)
    except OSError as error:
        raise LaunchFailed(f"no folder for its session: {error.strerror}") from None
    return replace(plan, work=replace(plan.work, session=str(folder)))


def shown(world: World, plan: Plan, asked: Asked) -> Asked:
    """The walls, and inside them the session's folder, which counts like all that an agent writes."""
    if not world.drivers[plan.driver].keeps_session:
        return asked
    return replace(asked, write_too=(*asked.write_too, Folder(str(_folder(world, plan)))))


def _folder(world: World, plan: Plan) -> Path:
    return world.folder(plan.session) / NAME


def _make(folder: Path) -> None:
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
