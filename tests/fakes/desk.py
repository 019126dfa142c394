"""An added gateway over scripted connections: what tests of `runtime.added_gateway` stand on."""

import contextlib
import dataclasses
from typing import Any

import pytest
import trio

from dashd.drivers import openclaw_client, openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.driver import ModelAccess
from dashd.drivers.openclaw_client import GatewayRefused
from dashd.runtime import added_gateway
from dashd.runtime.added_gateway import AddedGateway
from dashd.runtime.gateway_probes import NoToken
from dashd.store import added_gateways, attempts
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.bells import Bell
from dashd.store.queue import Claim
from tests.fakes.scene import SWARM

DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)


class FakeDoors:
    """Doors as far as an added gateway uses them."""

    def __init__(self) -> None:
        self.port = 4_000
        self.asked: list[int | None] = []
        self.keys_of: dict[str, str] = {}
        """Agent to the start that its key was made for."""
        self.made = 0
        self.held = True
        self.was_shut = False

    async def listen(self, door: str, place: str, port: int | None) -> int:
        assert (door, place) == ("added:desk", "desk")
        self.asked.append(port)
        return self.port

    async def keys(self, gateway, swarm_id, agent_ids, model) -> dict[str, ModelAccess]:
        self.made += len(agent_ids)
        self.keys_of |= dict.fromkeys(agent_ids, gateway)
        return {each: ModelAccess(f"http://127.0.0.1:{self.port}/v1", "a-key", "m") for each in agent_ids}

    async def retire(self, gateway: str) -> None:
        self.keys_of = {each: start for each, start in self.keys_of.items() if start == gateway}

    async def forget(self, gateway, agent_ids) -> None:
        for each in agent_ids:
            del self.keys_of[each]

    def holders(self, gateway: str) -> set[str]:
        return set(self.keys_of)

    def hold_off(self, gateway: str, *, on: bool) -> None:
        self.held = on

    async def shut(self, door: str) -> None:
        self.was_shut = True


@dataclasses.dataclass
class Seen:
    """See GatewayProbes."""

    health: str = "alive"
    why: str = ""
    ended: bool = False


class FakeProbes:
    """See GatewayProbes."""

    def __init__(self) -> None:
        self.seen = {"desk": Seen()}
        self.changes = Bell()
        self.followed = True
        self.hurried: list[str] = []
        self.missing = False

    async def token(self, row) -> str:
        if self.missing:
            raise NoToken("its file is gone")
        return "a-token"

    def hurry(self, name: str) -> None:
        self.hurried.append(name)

    def say(self, health: str, why: str = "", *, ended: bool = False) -> None:
        self.seen["desk"] = Seen(health, why, ended)
        self.changes.ring()


class FakeOpenClaw:
    """The gateway itself, over all its connections."""

    def __init__(self) -> None:
        self.boot_id = "boot-1"
        self.names = {"keeper"}
        self.providers = {"theirs"}
        self.patches: list[tuple[float, dict[str, Any], list[str]]] = []
        self.refusals: list[Exception] = []
        self.aborted: list[str] = []
        self.abort_refusals: list[Exception] = []
        self.abort_s = 0.0
        self.lines: list[bytes] = []
        self.client: FakeClient | None = None
        self.there = True
        self.refuses: Exception | None = None
        """What it answers to all but being let in."""
        self.busy = 0
        """So many deletions are refused for now."""

    def cut(self) -> None:
        assert self.client is not None
        self.client.lost.set()


class FakeClient:
    """One connection to it."""

    def __init__(self, openclaw: FakeOpenClaw) -> None:
        self.hello = protocol.Hello(4, protocol.Server("1.2.3", openclaw.boot_id))
        self.lost = trio.Event()
        self.heard_at = trio.current_time()
        self._openclaw = openclaw

    async def agents(self) -> set[str]:
        await trio.lowlevel.checkpoint()
        return set(self._openclaw.names)

    async def patch(self, change: dict[str, Any], lists: list[str] = ()) -> None:
        await trio.sleep(0.1)
        if self._openclaw.refusals:
            raise self._openclaw.refusals.pop(0)
        self._openclaw.patches.append((trio.current_time(), change, lists))
        self._openclaw.names |= set(change.get("agents", {}).get("entries", ()))
        for name, told in change["models"]["providers"].items():
            (self._openclaw.providers.discard if told is None else self._openclaw.providers.add)(name)

    async def delete(self, agent: str) -> None:
        await trio.lowlevel.checkpoint()
        if self._openclaw.busy:
            self._openclaw.busy -= 1
            raise GatewayRefused("agents.delete", protocol.Fault("UNAVAILABLE", "lease was lost"))
        if agent not in self._openclaw.names:
            raise GatewayRefused("agents.delete", protocol.Fault("INVALID_REQUEST", "not found"))
        self._openclaw.names.remove(agent)

    async def configured(self) -> tuple[dict[str, int], dict[str, int], int]:
        await trio.lowlevel.checkpoint()
        if (refusal := self._openclaw.refuses) is not None:
            await trio.sleep(1.0)
            raise refusal
        return dict.fromkeys(self._openclaw.names, 1), dict.fromkeys(self._openclaw.providers, 1), 1_000

    async def abort(self, session: str) -> None:
        await trio.sleep(self._openclaw.abort_s)
        if self._openclaw.abort_refusals:
            raise self._openclaw.abort_refusals.pop()
        self._openclaw.aborted.append(session)

    async def log(self, lines: int) -> list[bytes]:
        return self._openclaw.lines


class There:
    """All of it together."""

    def __init__(self, bed, nursery: trio.Nursery) -> None:
        self.bed, self._nursery = bed, nursery
        self.doors, self.probes, self.openclaw = FakeDoors(), FakeProbes(), FakeOpenClaw()
        self.world = dataclasses.replace(bed.world, gateway_doors=self.doors)
        bed.scene.do(lambda tx: added_gateways.put(tx, DESK))
        self.gateway = self.fresh()

    def fresh(self) -> AddedGateway:
        return AddedGateway(self.world, self.probes, "desk")  # type: ignore[arg-type]

    def go(self) -> None:
        self._nursery.start_soon(self.gateway.run)

    def swarm(self, *items: str, agents: int = 2, swarm_id: str = SWARM) -> list[str]:
        """Its agents; their tasks are given to the gateway."""
        self.bed.scene.swarm(*items, swarm_id=swarm_id, agents_made=agents, mode="gateway")
        for claim in self.bed.scene.claim():
            self.bed.scene.do(
                lambda tx, claim=claim: tx.execute(
                    "UPDATE launch SET place = 'desk' WHERE id = ?", (claim.attempt_id,)
                )
            )
        return [f"{swarm_id}-{number:03d}" for number in range(1, agents + 1)]

    def again(self) -> list[Claim]:
        """What can be claimed by then, at the gateway."""
        self.bed.world.clock.advance(60_000)
        claims = self.bed.scene.claim()
        for claim in claims:
            self.bed.scene.do(
                lambda tx, claim=claim: tx.execute(
                    "UPDATE launch SET place = 'desk' WHERE id = ?", (claim.attempt_id,)
                )
            )
        return claims

    def name(self, agent_id: str) -> str:
        return openclaw_gateway.agent_name(agent_id, openclaw_gateway.tag_of(self.openclaw.boot_id))

    def end_swarm(self, swarm_id: str = SWARM) -> None:
        """Its attempts end well, and with them the swarm."""
        for row in attempts.open_attempts(self.bed.scene.db):
            if row.id.startswith(swarm_id):
                claim = added_claim(row)
                self.bed.scene.start(claim)
                self.bed.scene.end(claim)


def added_claim(row):
    return type("Claim", (), {"attempt_id": row.id})()


def stand(bed, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> There:
    """All of it, where an added gateway would dial."""
    made = There(bed, nursery)

    @contextlib.asynccontextmanager
    async def open_client(_stream, token, _version, _heard):
        assert token == "a-token"
        made.openclaw.client = FakeClient(made.openclaw)
        yield made.openclaw.client

    class Stream:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *_: object) -> None:
            await trio.lowlevel.checkpoint()

    async def dial(url: str) -> Stream:
        assert url == DESK.url
        await trio.lowlevel.checkpoint()
        if not made.openclaw.there:
            raise OSError(111, "Connection refused")
        return Stream()

    async def is_ready(_stream) -> bool:
        return True

    monkeypatch.setattr(openclaw_client, "open_client", open_client)
    monkeypatch.setattr(openclaw_client, "is_ready", is_ready)
    monkeypatch.setattr(added_gateway, "dial", dial)
    return made
