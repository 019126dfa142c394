"""The gateways of this daemon, one a swarm at a time: made when the first attempt needs one, kept until its
swarm has nothing left to do, and followed by a new one where it ended before.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from dashd.store.bells import Bell
from dashd.store.rows import GatewayRow

if TYPE_CHECKING:
    from .gateway import Gateway


class Gateways:
    """By swarm."""

    def __init__(self) -> None:
        self._found: dict[str, Gateway] = {}
        self._make: Callable[[str, GatewayRow | None], Gateway] | None = None
        self._nursery: trio.Nursery | None = None
        self._changes = Bell()

    async def run(
        self,
        make: Callable[[str, GatewayRow | None], "Gateway"],
        left: Sequence[GatewayRow],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keeps them until cancelled, `left` by an earlier daemon first. Cancelled, it lets go of them."""
        self._make = make
        async with trio.open_nursery() as self._nursery:
            for row in left:
                self._begin(row.swarm_id, row)
            task_status.started()
            await trio.sleep_forever()

    async def of(self, swarm_id: str) -> "Gateway":
        """The swarm's; a new one where there is none, or only one that is ending."""
        await trio.lowlevel.checkpoint_if_cancelled()  # else one could begin where all are let go already
        while (found := self._found.get(swarm_id)) is not None and found.ending:
            await self._changes.ticket().wait()
        return found or self._begin(swarm_id, None)

    async def begun(self, swarm_id: str) -> "Gateway":
        """The same, passing over one that an earlier daemon left before it had begun."""
        while await (found := await self.of(swarm_id)).never_began():
            pass
        return found

    def find(self, swarm_id: str) -> "Gateway | None":
        """The swarm's, if it has one now."""
        return self._found.get(swarm_id)

    def named(self, launch_id: str) -> "Gateway | None":
        """The one of this launch."""
        return next((each for each in self._found.values() if each.has(launch_id)), None)

    def is_up(self, swarm_id: str) -> bool:
        """Whether attempts of the swarm may go into one now; its connection may be lost for a moment."""
        found = self._found.get(swarm_id)
        return found is not None and found.is_up

    def up(self) -> frozenset[str]:
        """The swarms that this is so of."""
        return frozenset(swarm_id for swarm_id in self._found if self.is_up(swarm_id))

    def versions(self) -> dict[str, str | None]:
        """By launch: what version each says it is; None while it is not connected."""
        return {each.launch_id: each.version for each in self._found.values() if each.launched}

    async def end_all(self) -> None:
        """Ends every one, for the end of all agents; returns when no process is left."""
        for gateway in self._found.values():
            gateway.end("dashd ends its agents")
        while self._found:
            await self._changes.ticket().wait()

    def _begin(self, swarm_id: str, row: GatewayRow | None) -> "Gateway":
        assert self._nursery is not None, "run() comes first"
        assert self._make is not None, "run() comes first"
        made = self._found[swarm_id] = self._make(swarm_id, row)
        self._nursery.start_soon(self._keep, made, name=f"gateway of {swarm_id}")
        return made

    async def _keep(self, gateway: "Gateway") -> None:
        await gateway.run()
        del self._found[gateway.swarm_id]
        self._changes.ring()
