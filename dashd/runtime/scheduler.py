"""Starts what can start: woken by the queue's bell or by the next retry that is due, never by a tick."""

from collections.abc import Callable
from functools import partial

import trio

from dashd.domain import healing
from dashd.store import queue
from dashd.store.queue import Claim, Claimed
from dashd.store.transaction import Tx

from .placing import Placing, Round, Seen
from .world import World


async def run(world: World, start: Callable[[Claim], None], placing: Placing) -> None:
    """Claims and starts until cancelled. A claim is durable before `start` is called with it, and so is the
    place that was chosen for it.
    """
    while True:
        ticket = world.store.bells.queue.ticket()
        seen = placing.look()
        claimed = await world.commit(partial(_claim, world, seen))
        placing.followed(claimed.claims)
        if claimed.claims:
            world.points.at("scheduler.after_claim")
        for claim in claimed.claims:
            start(claim)
        with trio.move_on_after(_delay_s(world, claimed.next_due_ms)):
            await ticket.wait()


def _claim(world: World, seen: Seen, tx: Tx) -> Claimed:
    return queue.claim(tx, world.agents_max, Round(seen))


def _delay_s(world: World, due_ms: int | None) -> float:
    """Until the next retry; never longer than any delay is, should the wall clock be set back."""
    if due_ms is None:
        return float("inf")
    return min(max(0.0, (due_ms - world.clock.now_ms()) / 1_000), healing.NEVER_DELAY_S_MAX)
