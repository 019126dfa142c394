"""What a caller may give to agents: no swarm of an orchestrator reaches further than its key does.

The operator may give anything. An orchestrator's key may name folders (`within`): below them lies everything
that agents of its swarms read, write or work in, a repository's object stores too. Walls are given up only by
a key that was told that it may (`unsafe_no_jail`). Links are followed before anything is compared.
"""

import os
from collections.abc import Iterable

import trio

from dashd.domain import folders, repository
from dashd.domain import scope as scopes
from dashd.domain.scope import Scope
from dashd.store.rows import SwarmRow
from dashd.wire import errors

from .core import Caller, Core


def of_scope(scope: Scope, root: str) -> list[str]:
    """Every folder that is given with a scope, absolute."""
    named = [each for part in (scope.write, scope.read) for each in (("/",) if part is None else part)]
    return [root, *(folders.absolute(each, root) for each in named)]


def of_swarm(row: SwarmRow) -> list[str]:
    """What a swarm's agents have been given."""
    terms = repository.from_json(row.repo) if row.repo else None
    root = terms.path if terms else row.cwd
    found = of_scope(scopes.from_json(row.scope), root) if row.scope else [root]
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
    if caller.within is None:
        return
    for folder in given:
        real = await trio.to_thread.run_sync(os.path.realpath, folder)
        if not folders.covers(caller.within, real):
            raise errors.Forbidden(
                f"{caller.who} may give agents what lies in {', '.join(caller.within)}, and {folder}"
                " does not",
                hint="name a folder in there for cwd, repo, scope and read; or the operator makes a key with"
                f" key.create {{within: [..., {folder!r}]}}",
            )
