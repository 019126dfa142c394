"""Added gateways, their tokens and probes together, against the stand-in that speaks the protocol."""

import dataclasses
import json
import socket

import msgspec
import pytest
import trio

from dashd.drivers.openclaw_client import GatewayLost
from dashd.gateway_ports import GatewayPort
from dashd.service import HANDLERS
from dashd.service.core import Caller
from dashd.wire import methods
from tests.fakes.standing_gateway import TOKEN, Standing

S_MAX = 30.0


@pytest.fixture
def standing(tmp_path):
    made = []

    def stand(name):
        made.append(Standing(tmp_path, name))
        return made[-1]

    yield stand
    for each in made:
        each.kill()


class Own:
    """A gateway of Dash's own that was connected a moment ago."""

    version = "2026.9.6"

    def __init__(self):
        self.answer = self.version

    async def ask(self):
        await trio.lowlevel.checkpoint()
        if self.answer is None:
            raise GatewayLost("no answer within 5 s")
        return self.answer


class Seen:
    """A world as far as probes look: a store, and which gateways of Dash's own there are, by launch."""

    def __init__(self, store):
        self.store = store
        self.commit = store.writer.apply
        self.gateways = self
        self.own = {}

    def versions(self):
        return {name: each.version for name, each in self.own.items()}

    def named(self, launch_id):
        return self.own.get(launch_id)


@pytest.fixture
def call(core, store, tmp_path):
    """Methods by name, with the real port under them."""
    port = GatewayPort(Seen(store), tmp_path / "tokens", lambda _: "")
    made = dataclasses.replace(core, store=store, gateways=port)

    async def called(method, **params):
        row = methods.METHODS[method]
        decoded = msgspec.json.decode(msgspec.json.encode(params), type=row.params)
        answer = await HANDLERS[method](made, Caller("operator", 0), decoded)
        assert TOKEN not in msgspec.json.encode(answer).decode()
        return answer

    called.port = port
    return called


async def add(call, name, url, **more):
    given = {"token": TOKEN} | more
    return await call("gateway.add", name=name, url=url, unsafe_no_jail=True, **given)


@pytest.mark.slow
async def test_three_gateways_of_which_one_is_killed_and_comes_back(call, standing):
    three = {name: standing(name) for name in ("a", "b", "c")}
    for name, each in three.items():
        await add(call, name, each.url)
    with trio.fail_after(S_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.port.run)
            assert [(await call("gateway.health", name=name)).ok for name in three] == [True] * 3
            three["b"].kill()
            found = [await call("gateway.health", name="b") for _ in range(2)]
            assert [each.health for each in found] == ["unknown", "unknown"]
            probes = call.port.probes
            while not (probes.seen["b"].health == "dead" and probes.seen["b"].ended):
                await probes.changes.ticket().wait()
            assert (await call("gateway.health", name="b")).health == "dead"
            assert sorted(call.port.added()) == ["a", "c"]
            listed = (await call("gateway.list")).gateways
            assert [(each.name, each.health) for each in listed] == [
                ("a", "alive"), ("b", "dead"), ("c", "alive")
            ]  # fmt: skip
            three["b"].start()
            back = await call("gateway.health", name="b")
            assert (back.ok, back.version) == (True, "stand-in")
            nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_one_whose_only_agent_has_all_to_itself_is_not_worked_in(call, standing):
    each = standing("a")
    each.kill()
    held = json.loads(each.config.read_text())
    held["agents"] = {"entries": {"main": {"workspace": "/"}}}
    each.config.write_text(json.dumps(held))
    each.start()
    await add(call, "a", each.url)
    with trio.fail_after(S_MAX):
        found = await call("gateway.health", name="a")
        assert (found.ok, "agents.ownership" in found.text) == (False, True)


@pytest.mark.slow
async def test_a_wrong_token_is_told_and_not_repeated(call, standing, tmp_path):
    each = standing("a")
    await add(call, "a", each.url, token="a-canary-that-is-no-token")
    found = await call("gateway.health", name="a")
    assert (found.ok, "UNAUTHORIZED" in found.text) == (False, True), found.text
    assert "canary" not in found.text
    await add(call, "a", each.url)
    assert (await call("gateway.health", name="a")).ok


@pytest.mark.slow
async def test_what_is_no_gateway_is_told(call):
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    await add(call, "a", f"ws://127.0.0.1:{port}")
    assert not (await call("gateway.health", name="a")).ok


async def test_a_token_is_in_its_file_alone_and_goes_with_its_gateway(call, tmp_path):
    await add(call, "a", "ws://127.0.0.1:1")
    (path,) = (tmp_path / "tokens").iterdir()
    assert (path.read_text(), path.stat().st_mode & 0o777) == (TOKEN, 0o600)
    holders = [each for each in tmp_path.rglob("*") if each.is_file() and TOKEN.encode() in each.read_bytes()]
    assert holders == [path]
    await call("gateway.remove", name="a")
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.slow
async def test_a_command_is_asked_once_and_again_by_a_question(call, standing, tmp_path):
    each, count = standing("a"), tmp_path / "count"
    script = tmp_path / "token.sh"
    script.write_text(f"#!/bin/sh\necho x >> {count}\necho {TOKEN}\n")
    script.chmod(0o755)
    given = {"name": "a", "url": each.url, "token_command": [str(script)], "unsafe_no_jail": True}
    assert (await call("gateway.add", **given)).secret == "command"
    assert (await call("gateway.health", name="a")).ok
    row = call.port.probes.seen["a"].row
    assert await call.port._token(row) == TOKEN
    assert count.read_text() == "x\n" * 2


async def test_a_lost_file_is_told(call, tmp_path):
    await add(call, "a", "ws://127.0.0.1:1")
    (tmp_path / "tokens" / "a").unlink()
    found = await call("gateway.health", name="a")
    assert (found.ok, "reading the secret of a" in found.text) == (False, True)


async def test_one_of_dash_s_own_is_asked_whatever_its_connection_says(call):
    own = call.port._world.own["aaaaaa-g1"] = Own()
    found = await call.port.ask("aaaaaa-g1")
    assert (found.health, found.version, found.latency_ms >= 0) == ("alive", "2026.9.6", True)
    own.answer = None
    found = await call.port.ask("aaaaaa-g1")
    assert (found.health, found.why, found.latency_ms) == ("unknown", "no answer within 5 s", None)
    assert (await call.port.ask("aaaaaa-g2")).health == "unknown"
