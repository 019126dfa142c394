"""Landings: the user's branch and checkout move to a commit, together, or nothing of them changes.

One at a time, in order. The row says `running`, and where the branch was, before anything begins. The library
keeps a journal of its own; killed anywhere, the next daemon has it finished or taken back, and does the rest.
"""

import logging
from functools import partial

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import landings, swarms
from dashd.store.landings import LandingRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.workspace.errors import CheckoutNotClean, NotAhead, WorkspaceError

from .workspaces import spoken
from .world import World

log = logging.getLogger(__name__)


async def run(world: World) -> None:
    """Lands until cancelled; sleeps until something may be landed."""
    while True:
        ticket = world.store.bells.merges.ticket()
        found = await world.store.own.read(_next)
        if found is None:
            await ticket.wait()
        else:
            await _land(world, *found)


async def _land(world: World, row: LandingRow, terms: Terms) -> None:
    try:
        before = await world.workspaces.tip(terms, row.onto)
        await world.commit(partial(landings.set_running, row=row, before=before))
        world.points.at("landing.before")
        await world.workspaces.land(terms, onto=row.onto, commit=row.commit_id)
        world.points.at("landing.after")
    except WorkspaceError as error:
        log.warning("a landing was refused", extra={"swarm": row.swarm_id, "why": error.message})
        await world.commit(partial(_refused, row, error))
    else:
        await world.commit(partial(landings.landed, row=row))


def _next(db: Snapshot) -> tuple[LandingRow, Terms] | None:
    row = landings.next_open(db)
    if row is None:
        return None
    repo = swarms.get(db, row.swarm_id).repo
    assert repo is not None, "only a swarm with a repository is landed"
    return row, repository.from_json(repo)


def _refused(row: LandingRow, error: WorkspaceError, tx: Tx) -> None:
    paths = [spoken(path) for path in error.paths] if isinstance(error, CheckoutNotClean) else []
    hint = error.hint
    if isinstance(error, NotAhead):
        hint = (
            f"swarm.land {row.swarm_id} --onto {row.onto} --rebase (rebase: true) puts the result on top of"
            f" {row.onto} in a jail, behind the gates of its merges, and lands that"
        )
    landings.refused(tx, row, error.message, hint=hint, paths=paths)
