"""`session.create`, and what can be done with a session that nobody has begun: see it, or take it back."""

from typing import Final

from dashd.domain import folders, ids
from dashd.store import made_sessions, sessions
from dashd.store.made_sessions import MadeRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import session as wire

from . import drivers, pages, reach
from .core import Caller, Core

PREFIX: Final = "s-"


async def create(core: Core, caller: Caller, params: wire.CreateSession) -> wire.Session:
    """For a driver that keeps sessions, in a folder that the caller may give to agents."""
    if not params.name.strip():
        raise errors.InvalidParams(
            "a name of blanks alone finds nothing", hint="a word to call it by: refactor", path="name"
        )
    driver = await drivers.of_session(core, params.driver)
    _, cwd = await core.drivers.check(driver, None, params.cwd)
    await reach.check(caller, [cwd], walled=True)
    new_id = f"{PREFIX}{ids.swarm_id(core.clock.token(ids.SWARM_ID_BITS))}"
    row = MadeRow(new_id, params.name, driver, cwd, None, None, core.clock.now_ms())

    def operation(tx: Tx) -> wire.Session:
        if sessions.is_name_of_another(tx.db, row.name):
            raise errors.Conflict(
                f"{row.name!r} is an agent, a session or a checkpoint", hint="give another name", path="name"
            )
        made_sessions.insert(tx, row)
        return _shown(row)

    return await core.store.writer.apply(operation)


async def page(core: Core, caller: Caller, params: wire.ListSessions) -> wire.SessionList:
    """Those that wait, oldest first; a key is told of its own folders alone."""
    after = pages.number(params.cursor)
    found = [
        row
        for row in await core.store.reader.read(made_sessions.waiting)
        if caller.actor == "operator" or caller.within is None or folders.covers(caller.within, row.cwd)
    ]
    shown = found[after : after + params.limit]
    more = after + len(shown) < len(found)
    next_cursor = str(after + len(shown)) if more else ""
    return wire.SessionList(items=[_shown(row) for row in shown], next_cursor=next_cursor, total=len(found))


async def waiting(core: Core, caller: Caller, wanted: str) -> MadeRow | None:
    """The one that is meant, where nobody has begun it. Raises Forbidden."""
    row = await core.store.reader.read(lambda db: made_sessions.find(db, wanted))
    if row is None or row.task_id is not None:
        return None
    await reach.check(caller, [row.cwd], walled=True)
    return row


async def get(core: Core, caller: Caller, wanted: str) -> wire.Session | None:
    """The same, as it is shown."""
    row = await waiting(core, caller, wanted)
    return None if row is None else _shown(row)


async def remove(core: Core, caller: Caller, wanted: str) -> wire.SessionChanged | None:
    """Takes back one that nobody has begun; None where that is not what is meant."""
    row = await waiting(core, caller, wanted)
    if row is None:
        return None
    await core.store.writer.apply(lambda tx: made_sessions.remove(tx, row))
    return wire.SessionChanged(session=row.id, state="gone", changed=True, agent="")


def _shown(row: MadeRow) -> wire.Session:
    return wire.Session(
        id=row.id,
        swarm="",
        agent="",
        task="",
        driver=row.driver,
        state="new",
        begun_from=None,
        head=None,
        opened_at=iso(row.at_ms),
        name=row.name,
        cwd=row.cwd,
    )
