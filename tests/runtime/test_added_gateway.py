"""An added gateway over scripted connections, in virtual time: what is written to it, and what is lost.

tests/whole/test_federation.py does the like with stand-ins, tests/live/test_federation.py with real ones.
"""

import contextlib
import dataclasses
from typing import Any

import pytest
import trio

from dashd.drivers import openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.driver import ModelAccess
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.runtime import added_gateway, gateway_connection
from dashd.runtime.added_gateway import CONNECT_S_MAX, SEATS_MAX, WRITES_MAX, WRITES_S, AddedGateway
from dashd.runtime.gateway_connection import GatewayGone
from dashd.runtime.probes import NoToken
from dashd.store import added_gateways, attempts
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.bells import Bell
from tests.fakes.scene import SWARM

DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)
CHANGED = GatewayRefused("config.patch", protocol.Fault("INVALID_REQUEST", "config changed since last load"))


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
    """See Probes."""

    health: str = "alive"
    why: str = ""


class FakeProbes:
    """See Probes."""

    def __init__(self) -> None:
        self.seen = {"desk": Seen()}
        self.changes = Bell()
        self.followed = True
        self.hurried: list[str] = []
        self.missing = False

    async def token(self, row) -> str:
        if self.missing:
            raise NoToken("its file is gone")
        return "t"

    def hurry(self, name: str) -> None:
        self.hurried.append(name)

    def say(self, health: str, why: str = "") -> None:
        self.seen["desk"] = Seen(health, why)
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
        self.lines: list[bytes] = []
        self.client: FakeClient | None = None
        self.there = True
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

    async def delete(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        if self._openclaw.busy:
            self._openclaw.busy -= 1
            raise GatewayRefused("agents.delete", protocol.Fault("UNAVAILABLE", "lease was lost"))
        if name not in self._openclaw.names:
            raise GatewayRefused("agents.delete", protocol.Fault("INVALID_REQUEST", "not found"))
        self._openclaw.names.remove(name)

    async def configured(self) -> tuple[dict[str, int], dict[str, int], int]:
        await trio.lowlevel.checkpoint()
        return dict.fromkeys(self._openclaw.names, 1), dict.fromkeys(self._openclaw.providers, 1), 1_000

    async def abort(self, session: str) -> None:
        await trio.lowlevel.checkpoint()
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


@pytest.fixture
def there(bed, nursery, monkeypatch) -> There:
    made = There(bed, nursery)

    @contextlib.asynccontextmanager
    async def open_client(_stream, token, _version, _heard):
        assert token == "t"
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

    monkeypatch.setattr(gateway_connection, "open_client", open_client)
    monkeypatch.setattr(gateway_connection, "is_ready", is_ready)
    monkeypatch.setattr(added_gateway, "dial", dial)
    return made


async def add(there: There, *agents: str) -> None:
    async with trio.open_nursery() as nursery:
        for each in agents:
            nursery.start_soon(there.gateway.add, each)


async def test_a_swarm_comes_in_one_write_and_goes_in_another(there, autojump_clock) -> None:
    agents = there.swarm("a", "b")
    there.go()
    await add(there, *agents)
    ((_, come, lists),) = there.openclaw.patches
    assert (set(come["agents"]["entries"]), lists) == ({there.name(each) for each in agents}, ())
    entry = come["agents"]["entries"][there.name(agents[0])]
    assert "heartbeat" not in entry  # else only such agents had one
    (provider, _) = come["models"]["providers"].values()
    assert (provider["baseUrl"], provider["apiKey"]) == ("http://127.0.0.1:4000/v1", "a-key")
    there.end_swarm()
    await trio.sleep(30)
    (_, (_, go, lists)) = there.openclaw.patches
    assert go == {"models": {"providers": dict.fromkeys([f"dash-{there.name(each)}" for each in agents])}}
    assert f"models.providers.dash-{there.name(agents[0])}.models" in lists
    assert (there.openclaw.names, there.openclaw.providers, there.doors.keys_of) == (
        {"keeper"},
        {"theirs"},
        {},
    )
    assert (there.gateway.ending, there.doors.was_shut) == (True, True)


async def test_a_large_swarm_comes_in_several_writes_and_who_works_first(there, autojump_clock) -> None:
    agents = there.swarm("a", agents=100)
    there.go()
    await there.gateway.add(agents[-1])
    ((_, told, _),) = there.openclaw.patches
    assert there.name(agents[-1]) in told["agents"]["entries"]
    assert len(told["agents"]["entries"]) == SEATS_MAX
    await add(there, *agents)
    assert len(there.openclaw.patches) == -(-100 // SEATS_MAX)
    assert there.openclaw.names == {"keeper", *map(there.name, agents)}


async def test_what_it_is_too_busy_to_delete_goes_later(there, autojump_clock) -> None:
    agents = there.swarm("a", "b")
    there.go()
    await add(there, *agents)
    there.openclaw.busy = 3
    there.end_swarm()
    await trio.sleep(10)
    assert len(there.openclaw.names) == 3
    await trio.sleep(100)
    assert (there.openclaw.names, there.openclaw.providers) == ({"keeper"}, {"theirs"})
    assert there.gateway.ending


async def test_another_swarm_s_agents_stay_and_a_stranger_s_are_not_touched(there, autojump_clock) -> None:
    agents, others = there.swarm("a"), there.swarm("b", swarm_id="bbbbbb")
    there.openclaw.names |= {"zzzzzz-001-0a0b0c", "aaaaaa-001"}
    there.go()
    await add(there, agents[0], others[0])
    there.end_swarm()
    await trio.sleep(30)
    left = {"keeper", "zzzzzz-001-0a0b0c", "aaaaaa-001", *map(there.name, others)}
    assert there.openclaw.names == left
    assert not there.gateway.ending


async def test_it_is_not_written_to_more_often_than_it_takes(there, autojump_clock) -> None:
    swarms = [f"aaaa{number:02d}" for number in range(WRITES_MAX + 5)]
    agents = [there.swarm("a", agents=1, swarm_id=each)[0] for each in swarms]
    there.go()
    for each in agents:
        await there.gateway.add(each)
    times = [at for at, _, _ in there.openclaw.patches]
    assert len(times) == len(agents)
    assert max(len([at for at in times if now <= at < now + WRITES_S]) for now in times) <= WRITES_MAX


async def test_a_write_that_came_in_between_is_no_reason_to_fail(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.openclaw.refusals = [CHANGED, CHANGED]
    there.go()
    await there.gateway.add(agents[0])
    assert len(there.openclaw.patches) == 1
    (other, made) = there.swarm("b", swarm_id="bbbbbb", agents=1)[0], there.doors.made
    there.openclaw.refusals = [CHANGED] * added_gateway.TRIES_MAX
    with pytest.raises(GatewayRefused):
        await there.gateway.add(other)
    await there.gateway.add(other)
    assert there.doors.made == made + 1


async def test_another_start_of_it_ends_what_ran_in_the_former(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.go()
    await there.gateway.add(agents[0])
    first, before = there.openclaw.boot_id, there.name(agents[0])
    await there.gateway.connected(first)
    there.openclaw.boot_id = "boot-2"
    there.openclaw.cut()
    await trio.sleep(5)
    with pytest.raises(GatewayGone, match="begun again"):
        await there.gateway.connected(first)
    assert (there.doors.keys_of, there.doors.held) == ({}, False)
    await trio.sleep(10)
    assert before not in there.openclaw.names  # it went before anybody came
    await there.gateway.add(agents[0])
    assert there.name(agents[0]) in there.openclaw.names


async def test_one_that_returns_as_it_was_ends_what_was_given_up_meanwhile(there, autojump_clock) -> None:
    there.swarm("a")
    there.go()
    await there.gateway.connected()
    (row,) = attempts.open_attempts(there.bed.scene.db)
    there.bed.scene.do(lambda tx: attempts.set_place_boot(tx, row.launch_id, there.openclaw.boot_id))
    there.openclaw.there = False
    there.openclaw.cut()
    await trio.sleep(1)
    assert (there.probes.hurried, there.doors.held) == (["desk"], True)
    there.bed.scene.start(added_claim(row))
    there.bed.scene.end(added_claim(row), "lost", "it is dead")
    busy = protocol.Fault("UNAVAILABLE", "busy", True, 200)
    there.openclaw.abort_refusals = [GatewayRefused("sessions.abort", busy)] * 100
    there.openclaw.there = True
    await trio.sleep(60)
    assert there.doors.held  # its calls would be those of the agent's next attempt
    there.openclaw.abort_refusals = []
    await there.gateway.connected(there.openclaw.boot_id)
    session = openclaw_gateway.session_key(row.agent_id, row.id, there.gateway.tag)
    assert there.openclaw.aborted == [session]


async def test_nobody_waits_for_one_that_is_dead_or_cannot_be_connected_to(there, autojump_clock) -> None:
    there.swarm("a")
    there.openclaw.there = False
    there.go()
    with trio.move_on_after(CONNECT_S_MAX - 10) as waited:
        await there.gateway.connected()
    assert waited.cancelled_caught
    with pytest.raises(GatewayGone, match="could not be connected to"):
        await there.gateway.connected()
    there.openclaw.there = True
    await trio.sleep(10)
    await there.gateway.connected()
    there.openclaw.there = False
    there.openclaw.cut()
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(GatewayGone, match="no answer"):
                await there.gateway.connected()

        nursery.start_soon(wait)
        await trio.sleep(1)
        there.probes.say("dead", "no answer")


async def test_without_a_token_it_is_tried_again(there, autojump_clock) -> None:
    there.swarm("a")
    there.probes.missing = True
    there.go()
    await trio.sleep(1)
    there.probes.missing = False
    with trio.fail_after(10):
        await there.gateway.connected()


async def test_the_port_is_kept_and_where_it_is_lost_all_are_told_again(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.go()
    await there.gateway.add(agents[0])
    row = added_gateways.find(there.bed.scene.db, "desk")
    assert (row.port, there.doors.asked) == (4_000, [None])
    again = there.gateway = there.fresh()  # as after a restart of dashd
    there.go()
    await again.add(agents[0])
    assert (there.doors.asked, len(there.openclaw.patches)) == ([None, 4_000], 1)
    there.doors.port = 5_000
    moved = there.gateway = there.fresh()
    there.go()
    await moved.add(agents[0])
    _, told, _ = there.openclaw.patches[-1]
    assert {each["baseUrl"] for each in told["models"]["providers"].values()} == {"http://127.0.0.1:5000/v1"}
    assert added_gateways.find(there.bed.scene.db, "desk").port == 5_000


async def test_how_a_call_failed_is_in_the_end_of_its_log(there, autojump_clock) -> None:
    there.swarm("a")
    there.go()
    line = b"embedded run agent end: runId=%s isError=true error=- rawError=400 dash: no"
    there.openclaw.lines = [line % b"r1", line % b"r2", b"else"]
    assert await there.gateway.raw("r2", 2.0) == "400 dash: no"
    assert await there.gateway.raw("r3", 2.0) == ""


async def test_one_that_was_removed_is_let_go_of_and_keeps_nothing(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.go()
    await there.gateway.add(agents[0])
    there.bed.scene.do(lambda tx: added_gateways.remove(tx, "desk"))
    await trio.sleep(5)
    assert (there.gateway.ending, there.doors.was_shut, there.openclaw.names) == (True, True, {"keeper"})
    with pytest.raises(GatewayGone, match="removed"):
        await there.gateway.connected()
    with pytest.raises(GatewayLost):
        await there.gateway._token()
