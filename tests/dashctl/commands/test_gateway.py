"""`dashctl gateway …` against a scripted dashd."""

import json

import pytest

from dashctl import commands
from dashd.wire import errors
from dashd.wire.methods import gateway

TOKEN = "canary-token-1"
ADD = ("gateway", "add", "desk", "--url", "ws://127.0.0.1:1", "--unsafe-no-jail")


def a_gateway(**changes):
    made = {
        "name": "desk",
        "kind": "added",
        "health": "alive",
        "why": "",
        "grade": "0",
        "swarm": None,
        "url": "ws://127.0.0.1:1",
        "secret": "file",
        "capabilities": [],
        "region": None,
        "version": "2026.9.6",
        "capacity": 8,
        "load": 0,
        "draining": False,
    }
    return gateway.Gateway(**(made | changes))


def test_add_reads_the_token_from_stdin_and_says_what_is_next(dashd, ctl):
    dashd.on("gateway.add", a_gateway(health="unknown"))
    ran = ctl(*ADD, "--capability", "gpu", "--region", "eu", "--capacity", "4", typed=f"{TOKEN}\n")
    assert ran.out.splitlines()[-1] == "Next: dashctl gateway health desk"
    assert "without walls" in ran.out
    (asked,) = dashd.asked("gateway.add")
    assert asked == {
        "name": "desk",
        "url": "ws://127.0.0.1:1",
        "token": TOKEN,
        "capabilities": ["gpu"],
        "region": "eu",
        "capacity": 4,
        "unsafe_no_jail": True,
    }
    assert TOKEN not in ran.out + ran.err


def test_a_token_command_keeps_its_options(dashd, ctl):
    dashd.on("gateway.add", a_gateway(secret="command"))
    assert ctl(*ADD, "--token-command", "pass", "--json", "g").code == 0
    (asked,) = dashd.asked("gateway.add")
    assert (asked["token_command"], "token" in asked) == (["pass", "--json", "g"], False)


@pytest.mark.parametrize(
    ("more", "typed", "said"),
    [
        ((), "", "no token came on stdin"),
        ((), "k" * 10_001, "longer than 10000 characters"),
        (("--token-command",), TOKEN, "there must be a program"),
        (("--token", TOKEN), "", "there is no option '--token'"),
    ],
)
def test_add_refuses(dashd, ctl, more, typed, said):
    ran = ctl(*ADD, *more, typed=typed)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert dashd.asked("gateway.add") == []


def test_list_and_get(dashd, ctl):
    dashd.on("gateway.list", gateway.GatewayList(gateways=[]))
    assert "--mode gateway" in ctl("gateway", "list").out
    rows = [
        a_gateway(draining=True),
        a_gateway(name="two", health="dead", why="HTTP \x1b[31m"),
        a_gateway(name="7k2m9q-g1", kind="own", grade="B", swarm="7k2m9q", url=None, capacity=100, load=3),
    ]
    dashd.on("gateway.list", gateway.GatewayList(gateways=rows))
    ran = ctl("gateway", "list")
    assert ("alive, draining" in ran.out, "3/100" in ran.out, "\x1b" in ran.out) == (True, True, False)
    assert len(json.loads(ctl("gateway", "list", "--json").out)) == 3
    dashd.on("gateway.get", rows[0])
    assert "ws://127.0.0.1:1" in ctl("gateway", "get", "desk").out
    assert json.loads(ctl("gateway", "get", "desk", "--json").out)["capacity"] == 8


def test_health_of_all_and_its_exit_code(dashd, ctl):
    dashd.on("gateway.list", gateway.GatewayList(gateways=[a_gateway()]))
    well = {"name": "desk", "ok": True, "health": "alive", "text": "it is ready", "version": "v"}
    dashd.on("gateway.health", gateway.GatewayHealth(**well, latency_ms=12.4))
    ran = ctl("gateway", "health")
    assert (ran.code, ran.out) == (0, "desk: alive: it is ready (12 ms)\n")
    down = well | {"ok": False, "health": "dead", "text": "no answer"}
    dashd.on("gateway.health", gateway.GatewayHealth(**down, latency_ms=None))
    ran = ctl("gateway", "health", "desk")
    assert (ran.code, ran.out) == (1, "desk: dead: no answer\n")
    assert json.loads(ctl("gateway", "health", "desk", "--json").out)[0]["ok"] is False


def test_drain_and_remove(dashd, ctl):
    dashd.on("gateway.drain", gateway.GatewayDrained(name="desk", changed=True))
    assert ctl("gateway", "drain", "desk").out == "Gateway desk takes nothing new\n"
    dashd.on("gateway.drain", gateway.GatewayDrained(name="desk", changed=False))
    assert ctl("gateway", "drain", "desk", "--off").out == "Gateway desk takes work again, as before\n"
    assert [each["on"] for each in dashd.asked("gateway.drain")] == [True, False]
    dashd.on("gateway.remove", gateway.GatewayChanged(name="desk", changed=True))
    assert "runs on" in ctl("gateway", "remove", "desk").out
    dashd.on("gateway.remove", errors.NotFound("there is no gateway 'x'", hint="gateways: desk"))
    ran = ctl("gateway", "remove", "x")
    assert (ran.code, "gateways: desk" in ran.err) == (3, True)


def test_a_drain_is_waited_for_and_its_exit_code_says_whether_it_is_over(dashd, ctl):
    still = gateway.GatewayDrained(name="desk", changed=True, running=["7k2m9q-001"])
    dashd.on("gateway.drain", still)
    ran = ctl("gateway", "drain", "desk")
    assert (ran.code, ran.out.splitlines()[1]) == (0, "  7k2m9q-001 works in it")
    assert ctl("gateway", "drain", "desk", "--wait").code == 1
    dashd.on("gateway.drain", gateway.GatewayDrained(name="desk", changed=True))
    assert ctl("gateway", "drain", "desk", "--wait", "2m").code == 0
    assert [each.get("wait_s") for each in dashd.asked("gateway.drain")] == [None, 600.0, 120.0]
    assert ctl("gateway", "drain", "desk", "--off", "--wait").code == 2


def test_every_command_of_the_module_is_tried_here():
    assert set(commands.of_module("gateway")) == {"add", "list", "get", "health", "drain", "remove"}


def test_what_it_can_do_is_shown(dashd, ctl):
    found = a_gateway(capabilities=["gpu"], region="eu")
    dashd.on("gateway.list", gateway.GatewayList(gateways=[found]))
    dashd.on("gateway.get", found)
    for words in (("list",), ("get", "desk")):
        assert "gpu eu" in ctl("gateway", *words).out, words
