"""How fast one payer may call, by configuration: its buckets, made when its door opens.

They are in memory, and so is nobody's but the door's. What was called before, by the seat's last attempt or
before a restart, is read from the ledger, which has every try of the last day: so neither starts afresh.
"""

import math
from typing import Protocol

import trio

from dashd.clock import Clock
from dashd.store import bells, holds
from dashd.store.opening import Store
from dashd.wire import errors

from .held_time import HeldTime
from .ledger import Payer
from .rates import DAY_S, Limits, Past, Rates, Slow
from .room import Seat

AGENTS_REMEDY = "proxy.{limit} in dashd's configuration says so (dashd config)"


class TooFast(errors.RateLimited):
    """More calls, or more tokens, than the limit lets through."""

    def __init__(self, slow: Slow, remedy: str) -> None:
        hint = remedy.format(limit=slow.name)
        super().__init__(
            f"more than {slow.text}; the next call is possible in {math.ceil(slow.wait_s)} s"
            + (f"; {hint}" if hint else ""),
            hint=hint,
            data={"retry_after_s": slow.wait_s, "limit": slow.name},
        )


async def rates_of(
    store: Store, clock: Clock, payer: Payer, limits: Limits, *, remedy: str = AGENTS_REMEDY
) -> Rates | None:
    """The payer's buckets as its calls of the last day have left them; None where nothing is limited."""
    if not limits.any:
        return None
    now_ms = clock.now_ms()
    since_ms = now_ms - round(DAY_S * 1_000)
    budget_id = None if payer.agent_id else payer.budget_id
    found = await store.own.read(
        lambda db: holds.lately(
            db, since_ms, swarm_id=payer.swarm_id, agent_id=payer.agent_id, budget_id=budget_id
        )
    )
    rates = Rates(limits, remedy=remedy)
    past = [Past(max(0, now_ms - at_ms) / 1_000, tries, tokens) for at_ms, tries, tokens in found]
    rates.replay(trio.current_time(), past)
    return rates


class Wishes(Protocol):
    """What is wanted of agents; see Ledger."""

    wishes: bells.Bell

    async def is_paused(self, payer: Payer) -> bool:
        """Whether its agent is held on purpose."""


async def slow_down(
    rates: Rates, tokens: int, payer: Payer, seat: Seat, held: HeldTime, wanted: Wishes
) -> None:
    """Has a call that can use so many tokens begin once it may. Raises TooFast, and NoRoom.

    An agent is slowed down for as long as its call may be `held`, which stands still while the agent is held
    on purpose: so does the call of its own, then, that has the limit. A program outside is told to come back.
    """
    while True:
        tickets = rates.ended.ticket(), wanted.wishes.ticket()
        slow = rates.slowest(trio.current_time())
        if slow is not None and payer.agent_id is not None:
            held.stand(await wanted.is_paused(payer))
            slow = rates.slowest(now := trio.current_time())
        if slow is None:
            break
        if payer.agent_id is None or now + slow.wait_s > held.until:
            raise TooFast(slow, rates.remedy)
        text = f"its calls are slowed down to {slow.text}"
        until = min(held.until, now + (slow.refilled_s if slow.under_way else slow.wait_s))
        with seat.during("rate", slow.name, text, None if slow.under_way else slow.wait_s):
            with trio.move_on_at(until):
                await bells.either(*tickets)
    held.stand(False)
    rates.begin(trio.current_time(), tokens)
