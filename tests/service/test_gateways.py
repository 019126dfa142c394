"""Which gateways may be added, and what is said of those there are; tokens: tests/test_gateway_ports.py."""

import dataclasses

import pytest
import trio
import trio.testing

from dashd.domain.placement import Placed
from dashd.service.place_ports import PlaceSeen
from dashd.store import added_gateways, gateways, queue
from dashd.store.added_gateways import AddedGatewayRow
from dashd.wire import errors
from tests.fakes.here import Here

DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, '["gpu"]', "eu", 4, 0)
ADD = {"name": "desk", "url": "ws://127.0.0.1:18789", "token": "t-1", "unsafe_no_jail": True}


class Gateways:
    """Keeps tokens in a dictionary, and has seen what it is told."""

    def __init__(self, lock):
        self.changing = lock
        self.kept: dict[str, str] = {}
        self.shown: dict[str, PlaceSeen] = {}
        self.asked: dict[str, PlaceSeen] = {}
        """What those say who say something else than what was seen."""

    async def obtain(self, token, command):
        return token or command[0]

    async def keep(self, name, token):
        self.kept[name] = token

    async def forget(self, name):
        self.kept.pop(name, None)

    async def follow(self):
        self.shown = {}

    def seen(self):
        return self.shown

    def looks(self):
        return {}

    async def ask(self, name):
        return self.asked.get(name) or self.shown[name]


@pytest.fixture
def core(core):
    return dataclasses.replace(core, gateways=Gateways(core.gateways.changing))


@pytest.mark.parametrize("name", ["../desk", "Desk", "a b", ".desk", "-x", "1", "7k2m9q-g1"])
async def test_a_name_is_a_files_name_and_none_of_dash_s_own(call, name):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("gateway.add", **(ADD | {"name": name}))
    assert refused.value.path == "name"


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1",
        "ws://127.0.0.1:port",
        "ws://127.0.0.1:1/path",
        "ftp://127.0.0.1:1",
        "127.0.0.1:18789",
        "ws://user:t-1@127.0.0.1:1",
        "ws://127.0.0.1:1?token=t-1",
        "ws://[::1",
    ],
)
async def test_an_address_that_is_none_is_refused_and_a_token_in_it_not_repeated(call, url):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("gateway.add", **(ADD | {"url": url}))
    assert refused.value.path == "url"
    assert url.startswith("ws://user") is False or "t-1" not in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        "ws://10.0.0.1:7",
        "ws://0.0.0.0:7",
        "ws://[::]:7",
        "wss://gw.example.com:7",
        "ws://127.0.0.1.example.com:7",
    ],
)
async def test_another_address_than_loopback_is_not_supported_and_why(call, core, url):
    with pytest.raises(errors.Unsupported, match="no loopback address") as refused:
        await call("gateway.add", **(ADD | {"url": url}))
    assert "could not reach the model proxy" in refused.value.message
    assert refused.value.hint == "for a gateway on this host: ws://127.0.0.1:7"
    assert core.gateways.kept == {}


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("wss://127.0.0.1:7", "ws://127.0.0.1:7"),
        ("https://localhost:7", "ws://127.0.0.1:7"),
        ("wss://[::1]:7", "ws://[::1]:7"),
    ],
)
async def test_tls_is_not_supported_and_what_would_be_right(call, core, url, instead):
    with pytest.raises(errors.Unsupported, match="is TLS") as refused:
        await call("gateway.add", **(ADD | {"url": url}))
    assert (refused.value.hint.split(",")[0], refused.value.path) == (instead, "url")
    assert core.gateways.kept == {}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ws://127.0.0.1:1", "ws://127.0.0.1:1"),
        ("http://localhost:18789/", "ws://127.0.0.1:18789"),
        ("ws://[::1]:2", "ws://[::1]:2"),
    ],
)
async def test_an_address_is_kept_in_one_form(call, given, kept):
    assert (await call("gateway.add", **(ADD | {"url": given}))).url == kept


async def test_without_walls_only_where_that_is_said(call, core):
    with pytest.raises(errors.InvalidParams, match="no walls") as refused:
        await call("gateway.add", **(ADD | {"unsafe_no_jail": False}))
    assert refused.value.path == "unsafe_no_jail"
    assert core.gateways.kept == {}


@pytest.mark.parametrize(
    ("more", "said"), [({}, "neither"), ({"token": "t", "token_command": ["x"]}, "both")]
)
async def test_one_way_to_a_token(call, more, said):
    with pytest.raises(errors.InvalidParams, match=said):
        await call("gateway.add", **{key: value for key, value in ADD.items() if key != "token"}, **more)


async def test_an_added_one_is_unknown_until_it_is_seen(call, core):
    added = await call("gateway.add", **ADD, capabilities=["gpu", "gpu"], region="eu", capacity=4)
    assert (added.health, added.grade, added.secret, added.kind) == ("unknown", "0", "file", "added")
    assert (added.capabilities, added.region, added.capacity, added.load) == (["gpu"], "eu", 4, 0)
    assert core.gateways.kept == {"desk": "t-1"}
    core.gateways.shown["desk"] = PlaceSeen("dead", "no answer")
    shown = await call("gateway.get", name="desk")
    assert (shown.health, shown.why) == ("dead", "no answer")
    found = await call("gateway.health", name="desk")
    assert (found.ok, found.text) == (False, "no answer")
    core.gateways.shown["desk"] = PlaceSeen("alive", "", 1.5, "2026.9.6")
    found = await call("gateway.health", name="desk")
    assert (found.ok, found.latency_ms, found.version) == (True, 1.5, "2026.9.6")


async def test_what_was_seen_of_a_former_one_of_its_name_is_not_shown(call, core):
    await call("gateway.add", **ADD)
    core.gateways.shown["desk"] = PlaceSeen("alive")
    await call("gateway.add", **ADD)
    assert (await call("gateway.get", name="desk")).health == "unknown"


async def test_one_gateway_has_one_name(call, core):
    await call("gateway.add", **ADD)
    for url in (ADD["url"], "http://localhost:18789/"):
        with pytest.raises(errors.Conflict, match="added already, as desk") as refused:
            await call("gateway.add", **(ADD | {"name": "attic", "url": url, "token": "t-2"}))
        assert (refused.value.path, "gateway remove desk" in refused.value.hint) == ("url", True)
    assert core.gateways.kept == {"desk": "t-1"}
    await call("gateway.add", **(ADD | {"token": "t-3"}))  # it may be replaced
    await call("gateway.add", **(ADD | {"name": "attic", "url": "ws://127.0.0.1:18790"}))
    with pytest.raises(errors.Conflict, match="as desk"):
        await call("gateway.add", **(ADD | {"name": "attic"}))


async def test_a_command_in_the_place_of_a_file_leaves_none(call, core):
    await call("gateway.add", **ADD)
    given = {key: value for key, value in ADD.items() if key != "token"}
    assert (await call("gateway.add", **given, token_command=["/bin/x"])).secret == "command"
    assert core.gateways.kept == {}


async def test_drain_and_remove(call, core, scene):
    await call("gateway.add", **ADD)
    assert [(await call("gateway.drain", name="desk")).changed for _ in range(2)] == [True, False]
    assert (await call("gateway.list")).gateways[0].draining
    assert (await call("gateway.drain", name="desk", on=False)).changed
    assert (await call("gateway.remove", name="desk")).changed
    assert (core.gateways.kept, (await call("gateway.list")).gateways) == ({}, [])


class Busy:
    """Gateway desk with one run in it."""

    def __init__(self, scene):
        self.scene = scene
        swarm = scene.swarm("a", placement="{}")
        scene.do(lambda tx: added_gateways.put(tx, DESK))
        (self.claim,) = scene.do(lambda tx: queue.claim(tx, 9, Desk())).claims
        self.agent = f"{swarm}-001"

    def end(self):
        self.scene.end(self.claim)


class Desk(Here):
    """Everything goes there."""

    def choose(self, *_):
        return Placed("desk", "swarm")


async def test_the_load_is_of_attempts_that_have_not_ended(call, scene):
    busy = Busy(scene)
    assert (await call("gateway.get", name="desk")).load == 1
    busy.end()
    assert (await call("gateway.list")).gateways[0].load == 0


async def test_a_drain_says_what_runs_in_it_still(call, scene):
    busy = Busy(scene)
    assert (await call("gateway.drain", name="desk")).running == [busy.agent]
    busy.end()
    assert (await call("gateway.drain", name="desk")).running == []


async def test_a_drain_is_waited_for_as_long_as_was_asked(call, scene, autojump_clock):
    busy = Busy(scene)
    began = trio.current_time()
    assert (await call("gateway.drain", name="desk", wait_s=60)).running == [busy.agent]
    assert trio.current_time() - began == 60
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ended():
            await trio.testing.wait_all_tasks_blocked()
            busy.end()

        assert (await call("gateway.drain", name="desk", wait_s=60)).running == []
    assert trio.current_time() - began == 60


async def test_a_daemon_that_is_to_stop_does_not_wait(call, core, scene, autojump_clock):
    busy = Busy(scene)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stopped():
            await trio.testing.wait_all_tasks_blocked()
            core.daemon.state = "stopping"
            core.store.bells.events.ring()

        assert (await call("gateway.drain", name="desk", wait_s=60)).running == [busy.agent]
    assert trio.current_time() == began


async def test_one_that_works_is_neither_removed_nor_made_another(call, core, scene):
    busy = Busy(scene)
    core.gateways.kept["desk"] = "its own"
    for method, given in (("gateway.remove", {"name": "desk"}), ("gateway.add", ADD)):
        with pytest.raises(errors.Conflict, match=busy.agent) as refused:
            await call(method, **given)
        assert "drain desk --wait" in refused.value.hint
        assert core.gateways.kept == {"desk": "its own"}
    assert (await call("gateway.add", **(ADD | {"url": DESK.url}))).load == 1  # a new token, or more room
    busy.end()
    assert (await call("gateway.remove", name="desk")).changed


async def test_a_swarm_s_own_is_listed_and_not_to_be_drained(call, core, scene):
    swarm = scene.swarm()
    row = scene.do(lambda tx: gateways.insert(tx, swarm_id=swarm, token="t"))
    core.gateways.shown[row.launch_id] = PlaceSeen("alive", "", None, "2026.9.6")
    shown = await call("gateway.get", name=row.launch_id)
    assert (shown.kind, shown.swarm, shown.health, shown.load) == ("own", swarm, "alive", 0)
    assert (await call("gateway.health", name=row.launch_id)).ok
    core.gateways.asked[row.launch_id] = PlaceSeen("unknown", "no answer within 5 s")
    found = await call("gateway.health", name=row.launch_id)  # whatever is seen of it, it is asked
    assert (found.ok, found.health, found.text) == (False, "unknown", "no answer within 5 s")
    for method, instead in (("gateway.drain", "swarm pause"), ("gateway.remove", "swarm destroy")):
        with pytest.raises(errors.Unsupported, match="ends with its swarm") as refused:
            await call(method, name=row.launch_id)
        assert refused.value.hint == f"dashctl {instead} {swarm}"


async def test_a_wrong_name_is_told_the_right_ones(call, scene):
    scene.do(lambda tx: added_gateways.put(tx, DESK))
    for verb in ("get", "health", "drain", "remove"):
        with pytest.raises(errors.NotFound, match="no gateway 'dsek'") as refused:
            await call(f"gateway.{verb}", name="dsek")
        assert (refused.value.hint, refused.value.path) == ("gateways: desk", "name")
