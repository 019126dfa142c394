"""The tree that an attempt works in, where its swarm has a repository: entered before, taken in afterwards.

Before the first launch in a seat the workspace is made: the row `creating` is durable first, then the clone
(whose last step is a rename), then the row `ready`. Every later attempt works in the same tree.

After a success, and where its session goes on elsewhere, in this order, so that `kill -9` anywhere loses
nothing and does nothing twice:

1. the program's exit is on disk (its holder wrote it), the attempt is open in the rows
2. what was left uncommitted is committed in the agent's own clone; a second time there is nothing left
3. the commits are brought back and the branch in the user's repository moves; a second time it is there
4. one transaction ends the attempt, completes its task and says where the branch is

Killed before 4, the next daemon finds 1 and goes on from 2. What failed or was stopped leaves its tree as it
is: the next attempt in the seat finds it, with the locks of git gone that a killed program had left.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import msgspec
import trio

from dashd.domain import folders
from dashd.domain.attempt import Ending
from dashd.domain.repository import Terms
from dashd.jail.view import Folder
from dashd.store import agents, attempts, session_moves, swarms, workspaces
from dashd.store.queue import Claim
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.store.workspaces import Changed
from dashd.workspace import place
from dashd.workspace.errors import WorkspaceError
from dashd.workspace.place import Workspace

from .jails import Asked
from .wish import Wish
from .workspaces import TakenIn, spoken
from .world import World

MESSAGE_CHARS_MAX = 200
WHY_CHARS_MAX = 300
NESTED_MAX = LEFT_MAX = 20
"""Nested repositories that come before all files, where there are more than a row names."""


class Entered(msgspec.Struct, frozen=True):
    """Where an attempt works, and what its walls must leave open."""

    cwd: str
    asked: Asked


class WorkingTree:
    """Of one attempt."""

    def __init__(self, world: World, claim: Claim, terms: Terms) -> None:
        self._world = world
        self._claim = claim
        self._terms = terms
        self.owner = terms.owner(claim.swarm_id, claim.agent_id)

    async def enter(self, asked: Asked, cwd: str, wish: Wish) -> Entered | Ending:
        """Makes the workspace where it is not there; how it ended where that failed, or was to be stopped."""
        made: list[Workspace | Ending] = []

        async def make(scope: trio.CancelScope) -> None:
            made.append(await self._make())
            scope.cancel(reason="the workspace is there, or cannot be made")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make, nursery.cancel_scope)
            while wish.stop is None:
                await wish.ticket().wait()
            nursery.cancel_scope.cancel(reason="the attempt is to be stopped")
        if not made:
            return Ending("never", "stopped before its workspace was made")
        return made[0] if isinstance(made[0], Ending) else self._entered(made[0], asked, cwd)

    async def _make(self) -> Workspace | Ending:
        world = self._world
        async with world.workspaces.lock(self.owner):
            row, alone = await world.commit(self._begin)
            world.points.at("workspace.before_make")
            try:
                made = await world.workspaces.make(
                    self.owner, row.swarm_id, self._terms, row.base, alone=alone
                )
            except WorkspaceError as error:
                return Ending("failed", f"workspace_failed: {error}")
            world.points.at("workspace.after_make")
            if row.state != "ready":
                await world.commit(partial(set_ready, made))
            return made

    def _begin(self, tx: Tx) -> tuple[workspaces.WorkspaceRow, bool]:
        row = workspaces.begin(tx, self.owner, self._claim.swarm_id, self._terms.base)
        return row, self._alone(tx.db)

    def _alone(self, db: Snapshot) -> bool:
        """Nobody else runs in the tree."""
        return self._terms.workspace == "agent" or attempts.open_in_swarm(db, self._claim.swarm_id) <= 1

    def _entered(self, workspace: Workspace, asked: Asked, cwd: str) -> Entered:
        top = str(workspace.path)
        shared = [Folder(str(each.source), "", str(each.target)) for each in workspace.shared]
        read = [Folder(str(store)) for store in workspace.source.objects]
        whole = asked.scope.write is None or folders.ROOT in asked.scope.write
        return Entered(
            self._terms.inside(cwd, top),
            replace(
                asked,
                cwd=top,
                own_clone=True,
                alone=self._terms.workspace == "agent",
                write_too=() if whole else (Folder(top, ".git"),),
                read_too=(*read, *shared),
            ),
        )

    @asynccontextmanager
    async def leaving(self, ending: Ending, item: str) -> AsyncIterator[tuple[Ending, Callable[[Tx], None]]]:
        """After the program's end: the ending as it stands then, and what is to be committed with it.

        The workspace is held until that is done, so that of those who share one the last knows that it is.
        """
        shares = self._terms.workspace == "swarm" and ending.state == "failed"
        if ending.state != "succeeded" and not shares and not await self._world.store.own.read(self._moves):
            yield ending, _nothing
            return
        async with self._world.workspaces.lock(self.owner):
            row, alone, scope = await self._world.store.own.read(self._rows)
            if row is None or not row.place:
                yield ending, _nothing
            elif shares and not alone:
                yield ending, self._left("others still work in it")
            else:
                yield await self._take_in(row, ending, item, alone=alone, scope=scope)

    async def _take_in(
        self,
        row: workspaces.WorkspaceRow,
        ending: Ending,
        item: str,
        *,
        alone: bool,
        scope: tuple[str, ...] | None,
    ) -> tuple[Ending, Callable[[Tx], None]]:
        workspace = place.decode(row.place.encode())
        message = _message(self._claim, item)
        try:
            taken = await self._world.workspaces.take_in(workspace, message, within=scope, all_of_it=alone)
        except WorkspaceError as error:
            left = self._left(str(error))
            if ending.state != "succeeded":
                return ending, left
            return replace(ending, state="failed", reason=f"import_failed: {error}"), left
        self._world.points.at("workspace.after_import")
        return ending, partial(_set_imported, self.owner, taken)

    def _left(self, why: str) -> Callable[[Tx], None]:
        """What becomes of it where the attempt's session goes on elsewhere."""
        return partial(_say_left, self._claim.attempt_id, self.owner, why)

    def _moves(self, db: Snapshot) -> bool:
        """Another agent goes on with the attempt's session, and with its files."""
        return session_moves.is_stopping(db, self._claim.attempt_id)

    def _rows(self, db: Snapshot) -> tuple[workspaces.WorkspaceRow | None, bool, tuple[str, ...] | None]:
        """The workspace, whether nobody else runs in it, and the folders that may be changed."""
        return workspaces.find(db, self.owner), self._alone(db), _within(db, self._claim)


def set_ready(made: Workspace, tx: Tx) -> None:
    """Writes down that a workspace is there."""
    encoded = place.encode(made).decode()
    workspaces.set_ready(tx, made.agent, place=encoded, path=str(made.path), branch=made.branch)


def _within(db: Snapshot, claim: Claim) -> tuple[str, ...] | None:
    swarm = swarms.get(db, claim.swarm_id)
    if swarm.walls != "required" or not swarm.scope:
        return None
    write = agents.scope_of(agents.get(db, claim.agent_id), swarm).write
    if write is None or folders.ROOT in write:
        return None
    return tuple(each for each in write if not each.startswith("/"))


def _message(claim: Claim, item: str) -> str:
    head = " ".join(item.split())[:MESSAGE_CHARS_MAX]
    return (
        f"dash: what {claim.agent_id} left uncommitted\n\nTask: {claim.task_id}\nItem: {head}\n"
        f"Committed by Dash when the program had ended.\n"
    )


def _set_imported(owner: str, taken: TakenIn, tx: Tx) -> None:
    changed = [Changed(spoken(each.path), each.status, each.flags) for each in taken.changes]
    where = f"not in the branch, but in the clone and refs/dash/salvage/{owner}"
    own = f"a repository of its own: {where}"
    aside = [Changed(spoken(f"{each}/.git"), "added", (own,)) for each in taken.nested]
    left = [
        Changed(spoken(os.fsdecode(each.path)), each.status, (f"{each.why}: {where}",)) for each in taken.left
    ]
    changed = [*aside[:NESTED_MAX], *left[:LEFT_MAX], *changed, *aside[NESTED_MAX:], *left[LEFT_MAX:]]
    workspaces.set_imported(tx, owner, taken.commit, changed)


def _say_left(attempt_id: str, owner: str, why: str, tx: Tx) -> None:
    session_moves.files_left(tx, attempt_id, owner, spoken(why).rstrip(".")[:WHY_CHARS_MAX])


def _nothing(_tx: Tx) -> None:
    """Nothing has come back."""
