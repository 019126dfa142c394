"""The added gateways that this daemon is connected to: those that work was given to, or that have something
of Dash's in them still, whoever began that.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from dashd.store import added_gateways, attempts, proxy_keys
from dashd.store.bells import Bell
from dashd.store.opening import Store
from dashd.store.rows import Snapshot

if TYPE_CHECKING:
    from .added_gateway import AddedGateway


class AddedGateways:
    """By name."""

    def __init__(self) -> None:
        self._found: dict[str, AddedGateway] = {}
        self._store: Store | None = None
        self._make: Callable[[str], AddedGateway] | None = None
        self._nursery: trio.Nursery | None = None
        self._changes = Bell()

    async def run(
        self,
        store: Store,
        make: Callable[[str], "AddedGateway"],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keeps them until cancelled, those of an earlier daemon first. Cancelled, it lets go of them."""
        self._store, self._make = store, make
        left = await store.own.read(_left)
        async with trio.open_nursery() as self._nursery:
            for name in left:
                self._begin(name)
            task_status.started()
            await trio.sleep_forever()

    async def of(self, name: str) -> "AddedGateway | None":
        """The one of that name; None where there is none any more."""
        assert self._store is not None, "run() comes first"
        while (found := self._found.get(name)) is not None and found.ending:
            await self._changes.ticket().wait()
        if found is None:
            if await self._store.own.read(partial(added_gateways.find, name=name)) is None:
                return None
            await trio.lowlevel.checkpoint_if_cancelled()  # else it could begin where all are let go already
            found = self._found.get(name) or self._begin(name)
        found.uses += 1
        return found

    def _begin(self, name: str) -> "AddedGateway":
        assert self._nursery is not None, "run() comes first"
        assert self._make is not None, "run() comes first"
        made = self._found[name] = self._make(name)
        self._nursery.start_soon(self._keep, made, name=f"gateway {name}")
        return made

    async def _keep(self, gateway: "AddedGateway") -> None:
        await gateway.run()
        del self._found[gateway.name]
        self._changes.ring()


def _left(db: Snapshot) -> list[str]:
    doors, placed = proxy_keys.doors(db), attempts.open_by_place(db)
    return [
        row.name
        for row in added_gateways.every(db)
        if row.name in placed or added_gateways.door(row.name) in doors
    ]
