"""Registry, secrets and rows together, under the service: what the wire's methods do, without a socket."""

import dataclasses
import threading
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from dashd.domain.prices import Price, Tier
from dashd.model_ports import NOT_READ, ModelPort, ProviderPort
from dashd.proxy import secrets
from dashd.proxy.prices import PriceList, _List
from dashd.proxy.registry import Registry, offline_providers
from dashd.proxy.upstream import Request, UpstreamBroken
from dashd.service import HANDLERS
from dashd.service.core import Caller, Core
from dashd.service.ports import DriverAbilities
from dashd.store import agents, providers
from dashd.store.providers import ProviderRow
from dashd.wire import errors, methods
from tests.fakes.ports import driver_abilities

KEY = "sk-0123456789"
URL = "https://api.example.com/v1"
ADD = {"name": "one", "format": "openai-chat", "url": URL, "secret": KEY, "models": ["m-1", "m-2"]}
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 4.0}


class Empty:
    """A price list in which nothing is priced."""

    providers = ()

    def find_provider_model(self, *_: object) -> None:
        raise LookupError


class Answer:
    """One that is there at once."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self._body = body

    async def receive(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def aclose(self) -> None:
        self._body = b""


class Http:
    """Says `status`, with the key it was shown in the body; 0 is nobody there."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[Request] = []

    async def send(self, request: Request) -> Answer:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        if self.status == 0:
            raise UpstreamBroken("provider one, connecting: refused")
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Answer(self.status, msgspec.json.encode({"error": {"message": f"no {shown}"}}))


class World:
    """A core with a registry under it; `again` is the next start."""

    def __init__(self, core: Core, folder: Path) -> None:
        self.folder = folder
        self.http = Http()
        self.swapped: list[str] = []
        self._core = core
        self.again()

    def again(self) -> None:
        prices = PriceList()
        prices._snapshot = Empty()  # type: ignore[assignment]
        self.registry = Registry({each.name: each for each in offline_providers()}, {}, prices)
        files = secrets.SecretFiles(self.folder)
        self.port = ProviderPort(self._core.store, self.registry, files, self.http)

        async def swap(agent_id: str) -> None:
            await trio.lowlevel.checkpoint()
            self.swapped.append(agent_id)

        self.core = dataclasses.replace(
            self._core, models=ModelPort(self.registry, swap), providers=self.port
        )

    async def __call__(self, method: str, **params: Any) -> Any:
        row = methods.METHODS[method]
        decoded = msgspec.json.decode(msgspec.json.encode(params), type=row.params)
        answer = HANDLERS[method](self.core, Caller("operator", 0), decoded)
        assert isinstance(answer, Awaitable)
        made = await answer
        assert KEY not in msgspec.json.encode(made).decode()
        return msgspec.json.decode(msgspec.json.encode(made), type=row.result)


@pytest.fixture
def world(core: Core, tmp_path: Path) -> World:
    return World(core, tmp_path / "secrets")


async def test_a_provider_is_added_priced_used_and_removed(world: World) -> None:
    added = await world("provider.add", **ADD)
    assert (added.secret, added.models, added.frozen) == ("file", 0, None)
    with pytest.raises(errors.InvalidParams, match="nobody has priced it"):
        await world("model.get", model="m-1")
    model = await world("model.set", model="m-1", aliases=["fast"], **PRICE)
    assert (model.provider, model.input_usd_per_mtok, model.output_usd_per_mtok) == ("one", 1.0, 4.0)
    assert (model.price_source, model.aliases, model.health) == ("config", ["fast"], "unknown")
    assert (await world("model.get", model="fast")).name == "m-1"
    assert (await world("provider.list")).providers[0].models == 1
    assert world.registry.providers["one"].secret == KEY
    assert (await world("provider.remove", name="one")).changed
    with pytest.raises(errors.NotFound, match="no provider 'one'"):
        await world("provider.remove", name="one")
    assert list(world.folder.iterdir()) == []
    with pytest.raises(errors.InvalidParams):
        await world("model.get", model="fast")


async def test_the_default_is_the_first_priced_model_of_a_real_provider(world: World) -> None:
    seen = await world("model.list")
    assert (seen.default, seen.models[0].stand_in) == ("offline", True)
    assert "stand-in only pretends" in seen.why_default
    await world("provider.add", **ADD)
    assert "no priced model" in (await world("model.list")).why_default
    await world("model.set", model="m-2", **PRICE)
    seen = await world("model.list", provider="one")
    assert (seen.default, [each.name for each in seen.models]) == ("m-2", ["m-2"])
    assert seen.why_default == "it is the first priced model of provider one"
    await world("model.set", model="m-1 -> m-2", aliases=["default"])
    await world("model.set", model="m-1", **PRICE)
    assert (await world("model.list")).why_default == "the alias default says so"
    assert (await world("model.list")).default == "m-1"


async def test_a_model_that_can_be_called_is_nobody_s_alias(world: World) -> None:
    with pytest.raises(errors.InvalidParams, match="'offline-b' cannot be an alias: it is a model"):
        await world("model.set", model="offline", aliases=["offline-b"])
    early = await world("model.set", model="m-1", **PRICE)
    assert "cannot be called yet" in early.problem
    await world("provider.add", **ADD)
    assert (await world("model.get", model="m-1")).problem == ""


async def test_an_alias_says_what_it_leads_to(world: World) -> None:
    await world("provider.add", **ADD)
    await world("model.set", model="m-1", aliases=["fast"], **PRICE)
    await world("model.set", model="fast -> offline", aliases=["smart"])
    listed = (await world("model.list")).aliases
    assert [(each.name, each.means, each.leads_to) for each in listed] == [
        ("fast", "m-1", ["one/m-1"]),
        ("smart", "fast -> offline", ["one/m-1", "offline/offline", "offline-b/offline"]),
    ]
    assert (await world("model.get", model="smart")).leads_to == listed[1].leads_to
    assert [each.name for each in (await world("model.list", provider="one")).aliases] == ["fast", "smart"]
    await world("provider.remove", name="one")
    assert [each.leads_to for each in (await world("model.list")).aliases] == [
        [],
        ["offline/offline", "offline-b/offline"],
    ]


async def test_what_was_set_is_there_after_a_start_and_files_of_nobody_are_gone(world: World) -> None:
    await world("provider.add", **ADD)
    await world("model.set", model="m-1", capabilities=["code"], context_tokens=9, provider="one", **PRICE)
    secrets.SecretFiles(world.folder).keep("stranger", KEY)
    world.again()
    await world.port.open()
    assert world.registry.providers["one"].secret == KEY
    assert [path.name for path in world.folder.iterdir()] == ["one"]
    model = await world("model.get", model="m-1")
    assert (model.capabilities, model.context_tokens) == (["code"], 9)


async def test_a_new_key_reaches_the_calls_that_wait_for_one(world: World) -> None:
    await world("provider.add", **ADD)
    await world("model.set", model="m-1", **PRICE)
    (waiting,) = world.registry.chain("m-1")
    waiting.provider.frozen = "HTTP 401"
    ticket = world.registry.changes.ticket()
    await world("provider.add", **(ADD | {"secret": KEY + "2", "url": URL + "/2"}))
    with trio.fail_after(5):
        await ticket.wait()
    provider = waiting.provider
    assert (provider.frozen, provider.secret, provider.url) == (None, KEY + "2", URL + "/2")


async def test_a_lost_file_freezes_its_provider_and_says_so(world: World) -> None:
    await world("provider.add", **ADD)
    (world.folder / "one").unlink()
    world.again()
    await world.port.open()
    frozen = (await world("provider.list")).providers[0].frozen
    assert "reading the secret of one" in frozen
    assert frozen == (await world("provider.test", name="one")).text


@pytest.mark.slow
async def test_a_command_is_run_when_added_and_after_a_start(world: World) -> None:
    command = {"secret_command": ["/bin/echo", KEY[::-1]]}
    added = await world("provider.add", **{k: v for k, v in ADD.items() if k != "secret"}, **command)
    assert (added.secret, list(world.folder.glob("*"))) == ("command", [])
    world.again()
    await world.port.open()
    assert world.registry.providers["one"].frozen == NOT_READ
    ticket = world.registry.changes.ticket()
    await world.port.run_commands()
    await ticket.wait()
    assert world.registry.providers["one"].secret == KEY[::-1]
    with pytest.raises(errors.InvalidParams, match="exit code 1"):
        await world("provider.add", name="two", format="anthropic", url=URL, secret_command=["/bin/false"])


@pytest.mark.parametrize(
    ("status", "ok", "said"),
    [
        (200, True, "answers and takes the key"),
        (401, False, "refuses the key: HTTP 401 no ***"),
        (404, False, "does the address end in /v1"),
        (429, False, "no calls for now"),
        (503, False, "is in trouble: HTTP 503"),
        (0, False, "cannot be reached at https://api.example.com/v1"),
    ],
)
async def test_a_test_says_what_is_wrong(world: World, status: int, ok: bool, said: str) -> None:
    await world("provider.add", **ADD)
    world.registry.providers["one"].frozen = "quota"
    world.http.status = status
    assert (await world("provider.list")).providers[0].heard is False
    tested = await world("provider.test", name="one")
    assert (await world("provider.list")).providers[0].heard is ok
    assert (tested.ok, said in tested.text) == (ok, True), tested.text
    assert (world.http.asked[0].method, world.http.asked[0].url) == ("GET", URL + "/models")
    assert world.registry.providers["one"].frozen == (None if ok else "quota")


async def test_a_provider_that_has_answered_a_call_is_heard_of(world: World) -> None:
    await world("provider.add", **ADD)
    await world("model.set", model="m-1", **PRICE)
    assert (await world("provider.list")).providers[0].heard is False
    world.registry.measured(world.registry.chain("m-1")[0], 0.1)
    assert (await world("provider.list")).providers[0].heard is True


async def test_a_price_with_tiers_is_shown_from_its_base(world: World) -> None:
    await world("provider.add", **ADD)
    tiers = (Tier(0, 3_000, 15_000, 300, 3_750), Tier(200_000, 6_000, 22_500, 600, 7_500))
    price = Price(6_000, 22_500, 600, 7_500, 0, "d", "genai-prices", tiers)
    world.registry.prices.set("m-1", price)
    found = await world("model.get", model="m-1")
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok) == (3.0, 15.0)
    (tier,) = found.tiers
    assert (tier.over_input_tokens, tier.input_usd_per_mtok, tier.output_usd_per_mtok) == (200_000, 6.0, 22.5)


async def test_the_list_is_loaded_before_its_version_is_shown(world: World, monkeypatch) -> None:
    prices, threads = world.registry.prices, []

    def load(_list: PriceList) -> object:
        threads.append(threading.current_thread())
        prices._list = _List("genai-prices 9", [], "2026-11-09", "")
        return prices._list

    prices._list = None
    monkeypatch.setattr(PriceList, "load", load)
    assert ((await world("budget.status")).prices_date, threads) == ("", [])
    await world("provider.add", **ADD)
    prices._list = None
    threads.clear()
    assert (await world("budget.status")).prices_date == "genai-prices 9, newest price of 2026-11-09"
    assert threads
    assert threads[0] is not threading.main_thread()


async def test_a_broken_list_keeps_no_status_from_being_told(world: World, monkeypatch) -> None:
    def load(_list: PriceList) -> object:
        raise errors.Unavailable("reading the price list")

    await world("provider.add", **ADD)
    world.registry.prices._list = None
    monkeypatch.setattr(PriceList, "load", load)
    assert (await world("budget.status")).prices_date == ""


async def test_who_waits_for_a_change_hears_of_it(world: World) -> None:
    for method, params in (
        ("provider.add", ADD),
        ("provider.test", {"name": "one"}),
        ("model.set", {"model": "m-1", "aliases": ["fast"], **PRICE}),
        ("provider.remove", {"name": "one"}),
    ):
        heard = world.registry.changes.ticket()
        await world(method, **params)
        with trio.fail_after(1):
            await heard.wait()


async def test_an_unknown_provider_is_named_with_those_there_are(world: World) -> None:
    await world("provider.add", **ADD)
    with pytest.raises(errors.NotFound) as refused:
        await world("provider.test", name="two")
    assert refused.value.hint == "providers: one"


async def test_one_provider_alone_serves_what_is_said_to_be_its_own(world: World) -> None:
    for name in ("one", "two"):
        await world("provider.add", **(ADD | {"name": name, "models": []}))
    await world("model.set", model="m-3", provider="two", **PRICE)
    assert [each.name for each in world.registry.chain("m-3")] == ["two/m-3"]


async def test_an_agents_model_is_swapped(world: World, scene) -> None:
    class Drivers:
        def abilities(self, _name: str) -> DriverAbilities:
            return driver_abilities("soft", False, needs_model=True)

        def remarks(self, _name: str, _argv: Sequence[str]) -> list[str]:
            return []

    (seat,) = agents.open_seats(scene.db, scene.swarm("a.py"))
    with pytest.raises(errors.Unsupported):
        await world("agent.set_model", agent=seat.id, model="offline")
    world.core = dataclasses.replace(world.core, drivers=Drivers())
    swapped = await world("agent.set_model", agent=seat.id, model="offline-b")
    assert (swapped.first, swapped.provider, swapped.changed) == ("offline-b", "offline-b", True)
    assert agents.get(scene.db, seat.id).model == "offline-b"
    assert world.swapped == [seat.id]
    with pytest.raises(errors.InvalidParams):
        await world("agent.set_model", agent=seat.id, model="nobody's")
    with pytest.raises(errors.InvalidParams, match="did you mean 'offline-b'"):
        await world("agent.set_model", agent=seat.id, model="offline -> offline-bb")
    assert agents.get(scene.db, seat.id).model == "offline-b"
    back = await world("agent.set_model", agent=seat.id, model=None)
    assert (back.model, back.first, back.changed) == (None, "offline", True)
    scene.do(lambda tx: tx.execute("UPDATE swarm SET model = 'gone'"))
    await world("agent.set_model", agent=seat.id, model="offline")
    back = await world("agent.set_model", agent=seat.id, model=None)
    assert (back.first, back.changed) == ("", True)


async def test_a_row_without_a_registry_entry_is_followed(world: World, core: Core) -> None:
    row = ProviderRow("late", "anthropic", URL, "none", None, "[]", 1)
    await core.store.writer.apply(lambda tx: providers.put(tx, row))
    async with world.port.changing:
        await world.port.follow()
    assert world.registry.providers["late"].format == "anthropic"


@pytest.mark.slow
async def test_a_price_that_may_be_for_several_providers_names_one(world: World) -> None:
    """`two` serves whatever the price list has of it: its calls would go at another price, and first."""
    await world("provider.add", **(ADD | {"name": "two", "url": "https://api.openai.com/v1", "models": []}))
    await world("provider.add", **(ADD | {"models": ["gpt-4o-mini"]}))
    with pytest.raises(errors.InvalidParams, match="may be served by one or two") as refused:
        await world("model.set", model="gpt-4o-mini", **PRICE)
    assert (refused.value.path, "with provider, e.g. one" in refused.value.hint) == ("provider", True)
    assert (await world("model.set", model="gpt-4o-mini", aliases=["mini"])).input_usd_per_mtok != 1.0
    model = await world("model.set", model="gpt-4o-mini", provider="one", **PRICE)
    assert (model.provider, model.input_usd_per_mtok, model.leads_to) == ("one", 1.0, ["one/gpt-4o-mini"])
    assert (await world("model.set", model="gpt-4o-mini", output_usd_per_mtok=2.0)).output_usd_per_mtok == 2.0


async def test_a_secret_that_is_printed_too_late_replaces_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its provider was added anew while the command ran that it had before."""
    await world("provider.add", name="one", format="openai-chat", url=URL, secret_command=["/bin/echo", "a"])
    world.again()
    await world.port.open()
    printing, printed = trio.Event(), trio.Event()

    async def slow(_argv) -> str:
        printing.set()
        await printed.wait()
        return "old"

    monkeypatch.setattr(secrets, "printed", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.port.run_commands)
        await printing.wait()
        await world("provider.add", **ADD)
        printed.set()
    assert world.registry.providers["one"].secret == ADD["secret"]


async def test_nor_does_one_that_is_printed_too_late_for_a_test(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world("provider.add", name="one", format="openai-chat", url=URL, secret_command=["/bin/echo", "a"])

    async def slow(_argv) -> str:
        await world("provider.add", **ADD)
        return "old"

    monkeypatch.setattr(secrets, "printed", slow)
    tested = await world("provider.test", name="one")
    assert (tested.ok, "test it again" in tested.text) == (False, True)
    assert world.registry.providers["one"].secret == ADD["secret"]
