"""What is wanted of a running attempt, carried to its holder, and the time that it may take.

As long as this daemon has the holder; what was wanted when an earlier one had it is in the plan.
"""

import contextlib
from functools import partial

import trio

from dashd.drivers import Driver
from dashd.jail.holder_link import HolderGone, HolderLink
from dashd.store import attempts, lifecycle
from dashd.store.queue import Claim

from .active_time import ActiveTime
from .plan import Plan
from .talk import LEAVING_SHARE, Talk
from .wish import Wish
from .world import World


class Steering:
    """Of one attempt."""

    def __init__(
        self,
        world: World,
        claim: Claim,
        plan: Plan,
        driver: Driver,
        wish: Wish,
        link: HolderLink,
        talk: Talk | None,
    ) -> None:
        """`talk` where its program is talked with: it is told of a stop before its holder is."""
        self._world = world
        self._claim = claim
        self._plan = plan
        self._driver = driver
        self._wish = wish
        self._link = link
        self._talk = talk
        self._active = ActiveTime(plan.left_s)
        self._paused = False

    def begin(self) -> None:
        """Its time counts from now on, unless it is paused."""
        held = self._link.adopted.state == "paused" or (self._driver.pause == "soft" and self._plan.hold)
        self._set_active(paused=held)

    async def heard(self, *, stopped: bool) -> None:
        """The holder has said whether the tree is stopped now."""
        await self._say_held(held=stopped or (self._driver.pause == "soft" and self._wish.hold))

    async def carry(self) -> None:
        """Carries wishes to the holder, and ends what runs over its time."""
        stopped = self._link.adopted.state == "paused"
        held = stopped if self._driver.pause == "hard" else self._plan.hold
        with contextlib.suppress(HolderGone):  # the listener hears of it too, and decides
            while self._wish.stop is None:
                ticket = self._wish.ticket()
                if self._stops_tree != stopped:
                    stopped = self._stops_tree
                    await (self._link.pause() if stopped else self._link.resume())  # answered once it is so
                elif self._wish.hold != held and self._driver.pause == "soft":
                    await self._say_held(held=self._wish.hold)
                held = self._wish.hold
                self._count()
                with trio.move_on_at(self._active.deadline):
                    await ticket.wait()
                if trio.current_time() >= self._active.deadline and self._wish.stop is None:
                    await self._time_out(held=held)
            await self._stop(stopped=stopped)

    async def _time_out(self, *, held: bool) -> None:
        await self._world.commit(
            partial(attempts.ask_stop, attempt_id=self._claim.attempt_id, stop="timeout")
        )
        self._wish.set(stop="timeout", hold=held, hard=self._wish.hard, waits=self._wish.waits)

    async def _stop(self, *, stopped: bool) -> None:
        grace_s = self._plan.grace_s
        if self._talk is not None and grace_s > 0 and not stopped:  # what is stopped hears nothing
            with trio.move_on_after(LEAVING_SHARE * grace_s):
                await self._talk.leave()
                await trio.sleep_forever()  # its end comes first, mostly
            grace_s -= LEAVING_SHARE * grace_s
        await self._link.stop(grace_s)

    @property
    def _stops_tree(self) -> bool:
        """The kernel is to stop the tree; otherwise the proxy alone holds the next call of what is paused.

        Never a gateway's, which others work in.
        """
        hard = self._wish.hard or self._driver.pause == "hard"
        return self._wish.hold and not self._plan.gateway and hard

    async def _say_held(self, *, held: bool) -> None:
        self._set_active(paused=held)
        await self._world.commit(
            partial(lifecycle.set_paused, attempt_id=self._claim.attempt_id, paused=held)
        )

    def _set_active(self, *, paused: bool) -> None:
        self._paused = paused
        self._count()
        self._wish.ring()  # the deadline has moved

    def _count(self) -> None:
        """Time counts while it is neither paused nor waits for a yes."""
        if self._paused or self._wish.waits:
            self._active.hold()
        else:
            self._active.run()
