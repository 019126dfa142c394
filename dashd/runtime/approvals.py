"""Requests that wait: they end at their deadline, and whoever waits for one hears of it.

All of it is in rows, so a restart forgets nothing: what came due meanwhile is decided at the first look, and
who asks again under the same reference finds its request, or the answer.
"""

from functools import partial

import trio

from dashd.store import approvals, decisions
from dashd.store.decisions import Asked, Question
from dashd.store.rows import Snapshot

from .world import World


async def run(world: World) -> None:
    """Decides what nobody decided in time, until cancelled; between deadlines it sleeps without a tick."""
    while True:
        ticket = world.store.bells.approvals.ticket()
        due_ms = await world.store.own.read(approvals.next_due_ms)
        if due_ms is not None and due_ms <= world.clock.now_ms():
            await world.commit(decisions.expire)
            continue
        with trio.move_on_at(_deadline(world, due_ms)):
            await ticket.wait()


async def ask(world: World, question: Question) -> Asked:
    """Whether something may be done: at once, or when somebody has decided.

    Returns `allow` or `deny`, never `wait`. Cancellable; the request stays then, to be found again by its
    `ref`, until its agent or swarm ends.
    """
    return await settle(world, await world.commit(lambda tx: decisions.ask(tx, question)))


async def settle(world: World, asked: Asked) -> Asked:
    """What a question comes to: as it stands, or when somebody has decided. Cancellable, like `ask`."""
    while asked.verdict == "wait":
        assert asked.approval is not None, "a request is what is waited for"
        ticket = world.store.bells.approvals.ticket()
        asked = await world.store.own.read(partial(_look, asked.approval.id))
        if asked.verdict == "wait":
            await ticket.wait()
    return asked


def _look(approval_id: str, db: Snapshot) -> Asked:
    return decisions.standing(approvals.get(db, approval_id))


def _deadline(world: World, due_ms: int | None) -> float:
    if due_ms is None:
        return float("inf")
    return trio.current_time() + max(0, due_ms - world.clock.now_ms()) / 1_000
