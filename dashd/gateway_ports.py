"""Composition of service and gateways: `place_ports.Gateways` over probes, token files and Dash's own.

A token goes from its file, or from what its command prints, to the gateway it opens and nowhere else.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from dashd import threads
from dashd.drivers import Programs
from dashd.drivers.openclaw_client import GatewayLost
from dashd.proxy import secrets
from dashd.runtime.added_gateway import AddedGateway
from dashd.runtime.gateway import Gateway
from dashd.runtime.gateway_probes import GatewayProbes, NoToken
from dashd.runtime.world import World
from dashd.service.place_ports import PlaceSeen
from dashd.store import added_gateways, gateways
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.registry import Look
from dashd.wire import errors


class GatewayPort:
    """See the port."""

    def __init__(self, world: World, folder: Path, why: Callable[[str], str]) -> None:
        """`folder` is for the tokens alone; `why` a swarm's own gateway is not up."""
        self.why = why
        self.changing = trio.Lock()
        self.probes = GatewayProbes(world, self._token)
        self._world = world
        self._files = secrets.SecretFiles(folder)
        self._printed: dict[str, tuple[int, str]] = {}

    async def open(self, runtime: trio.Nursery, programs: Programs) -> None:
        """Has all gateways served there, first those of an earlier daemon, whose attempts go on; new ones of
        swarms are made of what `programs` has.
        """
        world = self._world
        left = await world.store.own.read(gateways.open_gateways)
        await runtime.start(world.gateways.run, partial(Gateway, world, programs), left)
        await runtime.start(world.added.run, world.store, partial(AddedGateway, world, self.probes))

    async def run(self) -> None:
        """Removes what is nobody's, and then asks the gateways until cancelled."""
        async with self.changing:
            rows = await self._world.store.own.read(added_gateways.every)
            kept = {row.name for row in rows if row.secret == "file"}
            await threads.run(self._files.forget_others, kept)
        await self.probes.run()

    async def obtain(self, token: str | None, command: Sequence[str] | None) -> str:
        """See the port."""
        try:
            return await secrets.printed(command) if command is not None else secrets.check(token or "")
        except secrets.NoSecret as problem:
            path = "token" if command is None else "token_command"
            raise errors.InvalidParams(problem.message, hint=problem.hint, path=path) from None

    async def keep(self, name: str, token: str) -> None:
        """See the port."""
        await threads.run(self._files.keep, name, token)

    async def forget(self, name: str) -> None:
        """See the port."""
        self._printed.pop(name, None)
        await threads.run(self._files.forget, name)

    async def follow(self) -> None:
        """See the port."""
        await self.probes.follow()

    def seen(self) -> dict[str, PlaceSeen]:
        """See the port."""
        added = {
            name: PlaceSeen(*each.standing, each.latency_ms, each.version)
            for name, each in self.probes.seen.items()
        }
        return added | {name: _own(version) for name, version in self._world.gateways.versions().items()}

    def looks(self) -> dict[str, Look]:
        """See the port."""
        return self.probes.looks()

    def added(self) -> list[str]:
        """Those that were added, but for dead ones."""
        return [name for name, each in self.probes.seen.items() if each.health != "dead"]

    async def ask(self, name: str) -> PlaceSeen:
        """See the port."""
        if (own := self._world.gateways.named(name)) is not None:
            return await _ask(own)
        self._printed.pop(name, None)
        found = await self.probes.ask(name)
        if found is None:
            return PlaceSeen("unknown", "it was removed, or has ended, meanwhile")
        return PlaceSeen(found.health, found.why, found.latency_ms, found.version)

    async def _token(self, row: AddedGatewayRow) -> str:
        try:
            if row.secret == "file":
                return await threads.run(self._files.read, row.name)
            added_at_ms, token = self._printed.get(row.name, (-1, ""))
            if added_at_ms != row.added_at_ms:
                token = await secrets.printed(added_gateways.command(row))
                self._printed[row.name] = row.added_at_ms, token
            return token
        except secrets.NoSecret as missing:
            raise NoToken(missing.message) from None


def _own(version: str | None) -> PlaceSeen:
    if version is None:
        return PlaceSeen("unknown", "its protocol does not answer now: it is starting, or busy")
    return PlaceSeen("alive", "", None, version)


async def _ask(own: Gateway) -> PlaceSeen:
    """That its connection was there a moment ago says nothing of one that stands still."""
    began = trio.current_time()
    try:
        version = await own.ask()
    except GatewayLost as lost:
        return PlaceSeen("unknown", str(lost), None, own.version)
    return PlaceSeen("alive", "", (trio.current_time() - began) * 1_000, version)
