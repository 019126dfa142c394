"""Starts the gateways that swarms wait for, ahead of their tasks, and again where one does not come up.

    wanted ──▶ starting ──▶ up (its swarm's tasks are startable)
                 ▲   │
                 └───┘ failed: 5 s later, TRIES_MAX times; then, once it was said, every minute

A swarm wants one while it has a task that is ready. Until it is up none of them is claimed, so that a gateway
that does not start costs no attempt; `why` says what they wait for, and other swarms go on. What is known
here is memory: after a start it is found out again.
"""

import math
from dataclasses import dataclass
from functools import partial

import trio

from dashd.store import bells, gateways
from dashd.store.bells import Bell
from dashd.store.transaction import Tx

from .gateway_connection import GatewayGone
from .world import World

TRIES_MAX = 10
AGAIN_S = 5.0
LATER_S = 60.0
"""Between tries, once it was said that it does not start."""
OFF = (
    "its gateway is not started: programs.openclaw_autostart is off;"
    " set it (DASH_OPENCLAW_DAEMON_ENABLED=true) and run dashctl restart"
)
STARTING = "its gateway is starting"


@dataclass(slots=True)
class _Start:
    """One swarm's."""

    tries: int = 0
    """That failed, one after the other."""
    why: str = ""
    due_at: float = -math.inf
    trying: bool = False


class GatewayStarts:
    """See the module."""

    def __init__(self, world: World, *, auto: bool) -> None:
        """Without `auto` none is started: their tasks wait, and say what to run."""
        self._world = world
        self._auto = auto
        self._starts: dict[str, _Start] = {}
        self._changes = Bell()

    def why(self, swarm_id: str) -> str:
        """What its tasks wait for; empty where its gateway is up."""
        if self._world.gateways.is_up(swarm_id):
            return ""
        if not self._auto:
            return OFF
        found = self._starts.get(swarm_id)
        if found is None or not found.tries:
            return STARTING
        if found.tries < TRIES_MAX:
            return f"its gateway did not start (try {found.tries} of {TRIES_MAX}): {found.why}"
        return (
            f"its gateway did not start, {found.tries} times: {found.why}; it is tried every {LATER_S:g} s,"
            f" and at once with dashctl swarm resume {swarm_id}"
        )

    async def run(self) -> None:
        """Starts what is wanted, until cancelled."""
        if not self._auto:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hurry)
            while True:
                tickets = self._world.store.bells.queue.ticket(), self._changes.ticket()
                wanted = await self._world.store.own.read(gateways.wanted)
                self._starts = {each: self._starts.get(each) or _Start() for each in wanted}
                now, later = trio.current_time(), math.inf
                for swarm_id in [each for each in wanted if not self._is_served(each)]:
                    start = self._starts[swarm_id]
                    if start.due_at > now:
                        later = min(later, start.due_at)
                        continue
                    start.trying = True
                    nursery.start_soon(self._try, swarm_id, start)
                with trio.CancelScope(deadline=later):
                    await bells.either(*tickets)

    def _is_served(self, swarm_id: str) -> bool:
        return self._starts[swarm_id].trying or self._world.gateways.is_up(swarm_id)

    async def _hurry(self) -> None:
        """What may help has happened: nobody waits for the next try."""
        while True:
            await self._world.store.bells.gateways.ticket().wait()
            for each in self._starts.values():
                each.due_at = -math.inf
            self._changes.ring()

    async def _try(self, swarm_id: str, start: _Start) -> None:
        try:
            gateway = await self._world.gateways.begun(swarm_id)
            await gateway.connected()
            start.tries = 0
        except GatewayGone as gone:
            if str(gone):  # otherwise its swarm has ended meanwhile
                await self._failed(swarm_id, start, str(gone))
        finally:
            start.trying = False
            self._changes.ring()

    async def _failed(self, swarm_id: str, start: _Start, why: str) -> None:
        start.tries, start.why = start.tries + 1, why
        start.due_at = trio.current_time() + (AGAIN_S if start.tries < TRIES_MAX else LATER_S)
        if start.tries == TRIES_MAX:
            await self._world.commit(partial(_say, swarm_id, start))


def _say(swarm_id: str, start: _Start, tx: Tx) -> None:
    data = {"reason": start.why, "tries": start.tries, "hint": f"dashctl swarm resume {swarm_id}"}
    tx.emit("gateway.down", swarm=swarm_id, data=data)
