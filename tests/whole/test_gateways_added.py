"""Gateways through the door of a real dashd: a swarm's own, and one that somebody else started."""

import contextlib
import os
import signal

import pytest
import trio

from tests.fakes.standing_gateway import TOKEN, Standing
from tests.jail import inside
from tests.whole.door import Refused, open_door
from tests.whole.test_gateway import CONFIGURED, pids_of

pytestmark = pytest.mark.slow
S_MAX = 60.0


@pytest.fixture
def standing(tmp_path):
    made = Standing(tmp_path, "desk")
    yield made
    made.kill()


@contextlib.contextmanager
def standing_still(launch):
    """The processes in its jail are stopped meanwhile."""
    pids = pids_of(launch)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_swarm_s_own_is_listed_while_it_works(start_daemon, tmp_path, gate):
    inside.of_grade("B")
    daemon = start_daemon(**CONFIGURED)
    task = f"do `echo x; read -r _ < {gate.path}`"
    async with open_door(daemon.socket) as dash:
        given = {"task": task, "cwd": str(tmp_path), "driver": "openclaw", "mode": "gateway"}
        swarm = (await dash.call("swarm.create", **given))["id"]
        await dash.events(swarm, "agent.progress", 2)
        (own,) = (await dash.call("gateway.list"))["gateways"]
        assert (own["name"], own["kind"], own["swarm"]) == (f"{swarm}-g1", "own", swarm)
        assert (own["health"], own["load"], own["grade"] in ("A", "B")) == ("alive", 1, True)
        assert (await dash.call("gateway.health", name=own["name"]))["version"] == "stand-in"
        with standing_still(own["name"]):  # its connection stays
            found = await dash.call("gateway.health", name=own["name"])
        assert (found["ok"], found["health"], found["text"]) == (False, "unknown", "no answer within 5 s")
        assert (await dash.call("gateway.health", name=own["name"]))["ok"]
        with pytest.raises(Refused) as refused:
            await dash.call("gateway.drain", name=own["name"])
        assert refused.value.kind == "Unsupported"
        gate.let()
        await dash.ended(swarm)
        assert (await dash.call("gateway.list"))["gateways"] == []


async def test_an_added_one_is_watched_over_the_end_of_either(start_daemon, standing):
    daemon = start_daemon()
    given = {"name": "desk", "url": standing.url, "token": TOKEN, "unsafe_no_jail": True}
    with trio.fail_after(S_MAX):
        async with open_door(daemon.socket) as dash:
            await dash.call("gateway.add", **given)
            (up,) = await _told(dash, 0, 1)
            assert up["data"] == {"gateway": "desk", "version": "stand-in", "restarted": False}
        daemon.kill()
        daemon.start()
        standing.kill()
        async with open_door(daemon.socket) as dash:
            assert not (await dash.call("gateway.health", name="desk"))["ok"]
            (down,) = await _told(dash, up["seq"], 1)  # that it is up was no news for the next dashd
            assert down["kind"] == "gateway.down"
            assert (await dash.call("gateway.health", name="desk"))["health"] == "dead"
            standing.start()
            assert (await dash.call("gateway.health", name="desk"))["ok"]
            (again,) = await _told(dash, down["seq"], 1)
            assert (again["kind"], again["data"]["restarted"]) == ("gateway.up", True)
            audit = await dash.call("audit.list")
            assert TOKEN not in str(audit)
            assert "desk" in str(audit)
    holders = [
        path.relative_to(daemon.folder)
        for path in daemon.folder.rglob("*")
        if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
    assert [str(path) for path in holders] == ["state/gateway-tokens/desk"]


async def test_an_added_one_is_enough_where_no_openclaw_is_here(start_daemon, standing, tmp_path):
    daemon = start_daemon()
    asked = {"task": "do `echo hi`", "cwd": str(tmp_path), "mode": "gateway", "unsafe_no_jail": True}
    with trio.fail_after(S_MAX):
        async with open_door(daemon.socket) as dash:
            with pytest.raises(Refused, match="driver openclaw needs openclaw"):
                await dash.call("swarm.create", **asked)
            await dash.call("gateway.add", name="desk", url=standing.url, token=TOKEN, unsafe_no_jail=True)
            assert (await dash.call("gateway.health", name="desk"))["ok"]
            for more in ({}, {"driver": "openclaw"}):
                made = await dash.call("swarm.create", **asked, **more)
                assert made["driver"] == "openclaw"
                assert (await dash.ended(made["id"]))["outcome"] == "complete"
                (placed,) = await dash.events(made["id"], "task.assigned")
                assert placed["data"]["place"] == "desk"
            with pytest.raises(Refused, match="driver openclaw needs openclaw"):
                await dash.call("swarm.create", **(asked | {"mode": "jailed", "driver": "openclaw"}))


async def _told(dash, since, count):
    """That many events of gateways after `since`."""
    found = await dash.call("event.wait", since=since, kinds=["gateway.*"], timeout_s=30, limit=count)
    return found["events"]
