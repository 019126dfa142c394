"""How a run gets its agent a way to a model; what the proxy does for it, `app` hands in."""

import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from dashd.drivers.driver import ModelAccess
from dashd.store.queue import Claim


class OpenDoor(msgspec.Struct, frozen=True):
    """A listener that is served, and what the agent needs to use it."""

    listener: socket.socket | None
    """The caller hands a dup to the holder and closes this one. None: the agent's jail will open it."""
    access: ModelAccess
    environ: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What tells its programs the way to the hosts they may reach."""


class Doors(Protocol):
    """The agents' listeners at the proxy, one an attempt."""

    async def open(self, claim: Claim, model: str | None, *, inside: bool, calls: bool) -> OpenDoor:
        """Makes a listener and a key for the attempt, and serves them; the key is durable. Raises OSError.

        `inside`: the listener comes out of the agent's jail, and is served by `resume`. `calls`: its program
        calls a model; without that the key opens hosts, and no model.
        """

    async def resume(self, claim: Claim, listener: socket.socket, *, calls: bool) -> None:
        """Serves a listener that its holder kept while dashd was away; it is owned from here on."""

    async def close(self, claim: Claim) -> None:
        """The attempt is over: serves no more, revokes its key; calls under way are settled."""


class GatewayDoors(Protocol):
    """The listeners of gateways at the proxy: one for all agents of a gateway, and a key for each."""

    async def keys(
        self, gateway: str, swarm_id: str, agent_ids: Sequence[str], model: str | None
    ) -> dict[str, ModelAccess]:
        """A new key for each of these agents, durable; it opens nothing before `let_in`. Raises OSError."""

    async def serve(self, gateway: str, listener: socket.socket) -> None:
        """Serves the listener of a gateway (its launch id), old keys included; it is owned from here on."""

    async def let_in(self, gateway: str, claim: Claim) -> None:
        """The agent's calls are those of this attempt, from now on."""

    def hold_off(self, gateway: str, *, on: bool) -> None:
        """Nobody knows whose runs they are that call now: where an attempt is in, it is to try again."""

    def keep_out(self, claim: Claim) -> None:
        """The attempt is over: whatever still calls with its agent's key is refused."""

    async def close(self, gateway: str) -> None:
        """The gateway is over: serves no more, revokes its keys."""

    async def listen(self, door: str, place: str, port: int | None) -> int:
        """Serves the agents of an added gateway on loopback, old keys included; gives the port, which is
        another one where this one cannot be had. Raises OSError.

        The other functions take `door@start` as the gateway of one of its starts.
        """

    async def retire(self, gateway: str) -> None:
        """An added gateway has begun again: keys that were made for its earlier starts are refused."""

    async def forget(self, gateway: str, agent_ids: Sequence[str]) -> None:
        """These agents are no longer in its configuration: their keys name nobody."""

    def holders(self, gateway: str) -> set[str]:
        """The agents that have keys there."""

    async def shut(self, door: str) -> None:
        """Nothing of Dash's is left in an added gateway: serves no more, revokes all its keys."""
