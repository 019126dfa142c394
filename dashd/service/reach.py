"""What a caller may give to agents, and which swarms it may act on: none reaches further than its key does.

The operator may give anything. An orchestrator's key may name folders (`within`): below them lies everything
that agents of its swarms read, write or work in, a repository's object stores too. Walls are given up only by
a key that was told that it may (`unsafe_no_jail`). Links are followed before anything is compared.

Whatever names a swarm, or something of one, is asked for it here before the method begins (`check_named`): a
key with folders looks into, changes and ends only what was given nothing outside of them. Which parameters
those are is read from the method table, so that a new method is held too. Lists and events tell such a key of
the same swarms alone (`seen`), and no hint names another one.
"""

import functools
import os
from collections.abc import Callable, Iterable
from typing import Final, get_args

import msgspec

from dashd import threads
from dashd.domain import folders, repository
from dashd.domain import scope as scopes
from dashd.domain.scope import Scope
from dashd.store import (
    agents,
    approvals,
    budgets,
    made_sessions,
    merges,
    sessions,
    swarms,
    tasks,
    workspaces,
)
from dashd.store.made_sessions import MadeRow
from dashd.store.rows import Among, Snapshot, SwarmRow
from dashd.wire import errors, methods
from dashd.wire.methods.table import Id, Params

from .core import Caller, Core

SWARM_OF: Final[dict[str, Callable[[Snapshot, str], str | None]]] = {
    "swarm": lambda db, name: swarms.get(db, name).id,
    "agent": lambda db, name: agents.get(db, name).swarm_id,
    "parent": lambda db, name: agents.get(db, name).swarm_id,
    "task": lambda db, name: tasks.get(db, name).swarm_id,
    "worktree": lambda db, name: workspaces.get(db, name).swarm_id,
    "session": sessions.swarm_of,
    "begin_from": lambda db, name: (
        sessions.swarm_of(db, name)
        if made_sessions.find(db, name)
        else sessions.of_checkpoint(db, name).swarm_id
    ),
    "checkpoint": lambda db, name: sessions.of_checkpoint(db, name, "checkpoint").swarm_id,
    "merge": lambda db, name: merges.get(db, name).swarm_id,
    "approvals": lambda db, name: approvals.get(db, name).swarm_id,
    "budget": lambda db, name: node.swarm_id if (node := budgets.find(db, name)) else None,
}
"""By parameter: the swarm of what it names; None where that is no swarm's."""
OF_SESSIONS: Final = ("session", "begin_from")
"""What may name a session that is no swarm's yet."""
STEERING: Final = frozenset({"agent.message", "session.compact"})
"""What gives an agent that runs new work: asked for walls too, as adding one is."""


def named_by(params: type[Params]) -> list[str]:
    """The parameters that name a swarm, or something of one."""
    fields = msgspec.structs.fields(params)
    return [each.name for each in fields if each.name in SWARM_OF and is_id(each.type)]


def is_id(annotation: object) -> bool:
    """Whether that is an id, or may be one, or some: the text of a task is called `task` too, and is none."""
    return annotation == Id or any(map(is_id, get_args(annotation)))


NAMED: Final = {name: named_by(method.params) for name, method in methods.METHODS.items()}


async def check_named(core: Core, caller: Caller, method: str, params: Params) -> None:
    """Raises Forbidden where a swarm that is named was given more than the caller's key may give."""
    steers = method in STEERING
    if caller.actor == "operator" or (caller.within is None and not steers):
        return

    def query(db: Snapshot) -> list[SwarmRow]:
        owners = [
            SWARM_OF[name](db, each) for name in NAMED[method] for each in _texts(getattr(params, name))
        ]
        return [swarms.get(db, owner) for owner in dict.fromkeys(owners) if owner is not None]

    try:
        found = await core.store.reader.read(query) if NAMED[method] else []
    except (errors.UnknownSwarm, errors.UnknownAgent) as error:
        if is_bounded(caller):  # it lists what there is, whoever's it is
            error.hint = "swarm.list shows the swarms that this key may act on, agent.list their agents"
        raise
    for row in found:
        outside = await _outside(caller, of_swarm(row))
        if outside is not None:
            raise errors.Forbidden(
                f"{caller.who} may act on what lies in {', '.join(caller.within or ())}, and swarm"
                f" {row.id}'s {outside} does not",
                hint="ask the operator to do it; or for a key with"
                f" key.create {{within: [..., {outside!r}]}}",
            )
        if steers:
            await check_swarm(core, caller, row)
    await _check_made(core, caller, method, params)


async def _check_made(core: Core, caller: Caller, method: str, params: Params) -> None:
    """The same for sessions that were made and are no swarm's yet; their folder is not told."""
    texts = [each for name in NAMED[method] if name in OF_SESSIONS for each in _texts(getattr(params, name))]

    def query(db: Snapshot) -> list[tuple[str, MadeRow | None]]:
        return [(each, made_sessions.find(db, each)) for each in texts]

    for wanted, row in await core.store.reader.read(query) if texts else []:
        if row is not None and row.task_id is None and await _outside(caller, [row.cwd]) is not None:
            raise errors.Forbidden(
                f"{caller.who} may act on what lies in {', '.join(caller.within or ())}, and session"
                f" {wanted!r} is of another folder",
                hint="session.list {new: true} shows those that this key may begin in",
            )


def is_bounded(caller: Caller) -> bool:
    """Whether there may be swarms that the caller is told nothing of."""
    return caller.actor != "operator" and caller.within is not None


def seen(db: Snapshot, caller: Caller) -> frozenset[str] | None:
    """The swarms that a list or an event may tell the caller of; None: all. Looks at the disk."""
    if not is_bounded(caller):
        return None
    within = caller.within or ()

    @functools.cache
    def lies_there(folder: str) -> bool:
        return folders.covers(within, os.path.realpath(folder))

    found: set[str] = set()
    for place, ids in swarms.places(db):
        if all(map(lies_there, of_place(place))):
            found.update(ids)
    return frozenset(found)


def among(db: Snapshot, caller: Caller) -> Among:
    """The same as queries take it."""
    found = seen(db, caller)
    return None if found is None else msgspec.json.encode(sorted(found)).decode()


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return list(map(str, value)) if isinstance(value, list) else []


async def _outside(caller: Caller, given: Iterable[str]) -> str | None:
    """The first of them that does not lie in the folders of the caller's key."""
    if caller.within is None:
        return None
    for folder in given:
        real = await threads.run(os.path.realpath, folder)
        if not folders.covers(caller.within, real):
            return folder
    return None


def of_scope(scope: Scope, root: str) -> list[str]:
    """Every folder that is given with a scope, absolute."""
    named = [each for part in (scope.write, scope.read) for each in (("/",) if part is None else part)]
    return [root, *(folders.absolute(each, root) for each in named)]


def of_swarm(row: SwarmRow) -> list[str]:
    """What a swarm's agents have been given."""
    return of_place(swarms.Place(row.cwd, row.scope, row.repo))


def of_place(place: swarms.Place) -> list[str]:
    """The same, by what a swarm's row says of it."""
    terms = repository.from_json(place.repo) if place.repo else None
    root = terms.path if terms else place.cwd
    found = of_scope(scopes.from_json(place.scope), root) if place.scope else [root]
    return [*found, *(terms.granted if terms else ())]


async def check_swarm(core: Core, caller: Caller, row: SwarmRow) -> None:
    """The same for what is added to a swarm that is there, whoever made it."""
    if caller.actor == "operator":
        return
    required = (await core.walls.state()).required
    walled = row.walls == "required" or (not required and caller.within is None)
    await check(caller, of_swarm(row), walled=walled)


async def check(caller: Caller, given: Iterable[str], *, walled: bool) -> None:
    """Raises Forbidden, naming what the caller's key lacks."""
    if caller.actor == "operator":
        return
    if not walled and not caller.unsafe_no_jail:
        raise errors.Forbidden(
            f"{caller.who} may not start agents without walls (unsafe_no_jail)",
            hint="leave it out; or the operator makes a key with key.create {unsafe_no_jail: true}",
        )
    folder = await _outside(caller, given)
    if folder is not None:
        raise errors.Forbidden(
            f"{caller.who} may give agents what lies in {', '.join(caller.within or ())}, and {folder}"
            " does not",
            hint="name a folder in there for cwd, repo, scope and read; or the operator makes a key with"
            f" key.create {{within: [..., {folder!r}]}}",
        )
