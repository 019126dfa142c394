"""`dashctl instance …` against a scripted dashd."""

import json

from dashctl import commands
from dashd.wire import errors
from dashd.wire.methods import instance

ADD = ("instance", "add", "next", "--program", "/opt/next/cli.js")


def an_instance(**changes):
    made = {
        "name": "next",
        "source": "static",
        "health": "alive",
        "why": "",
        "program": "/opt/next/cli.js",
        "capabilities": [],
        "region": None,
        "version": "1.6.0",
        "capacity": 8,
        "load": 0,
        "draining": False,
    }
    return instance.Instance(**(made | changes))


def test_add_says_what_is_next(dashd, ctl):
    dashd.on("instance.add", an_instance(health="unknown"))
    ran = ctl(*ADD, "--capability", "gpu", "--region", "eu", "--capacity", "4")
    assert ran.out.splitlines()[-1] == "Next: dashctl instance health next"
    (asked,) = dashd.asked("instance.add")
    assert asked == {
        "name": "next",
        "program": "/opt/next/cli.js",
        "capabilities": ["gpu"],
        "region": "eu",
        "capacity": 4,
    }
    assert json.loads(ctl(*ADD, "--json").out)["name"] == "next"


def test_what_is_refused_is_said_with_a_hint(dashd, ctl):
    dashd.on("instance.add", errors.Unsupported("Pis behind another Dash", hint="source static"))
    ran = ctl("instance", "add", "far", "--source", "gateway")
    assert (ran.code != 0, "source static" in ran.err) == (True, True)


def test_list_and_get(dashd, ctl):
    dashd.on("instance.list", instance.InstanceList(instances=[]))
    assert "no instance" in ctl("instance", "list").out
    rows = [
        an_instance(draining=True),
        an_instance(name="two", health="dead", why="it is \x1b[31m not there", program=None, version=None),
        an_instance(name="local", source="auto-spawn", capacity=100, load=3),
    ]
    dashd.on("instance.list", instance.InstanceList(instances=rows))
    ran = ctl("instance", "list")
    assert ("alive, draining" in ran.out, "3/100" in ran.out, "\x1b" in ran.out) == (True, True, False)
    assert len(json.loads(ctl("instance", "list", "--json").out)) == 3
    dashd.on("instance.get", rows[0])
    assert "1.6.0" in ctl("instance", "get", "next").out
    assert json.loads(ctl("instance", "get", "next", "--json").out)["capacity"] == 8


def test_health_of_all_and_its_exit_code(dashd, ctl):
    dashd.on("instance.list", instance.InstanceList(instances=[an_instance()]))
    well = {"name": "next", "ok": True, "health": "alive", "text": "it can start a Pi", "version": "1.6.0"}
    dashd.on("instance.health", instance.InstanceHealth(**well, latency_ms=12.4))
    ran = ctl("instance", "health")
    assert (ran.code, ran.out) == (0, "next: alive: it can start a Pi (1.6.0)\n")
    down = well | {"ok": False, "health": "dead", "text": "it is not there"}
    dashd.on("instance.health", instance.InstanceHealth(**down, latency_ms=None))
    ran = ctl("instance", "health", "next")
    assert (ran.code, ran.out) == (1, "next: dead: it is not there\n")
    assert json.loads(ctl("instance", "health", "next", "--json").out)[0]["ok"] is False


def test_drain_and_remove(dashd, ctl):
    dashd.on("instance.drain", instance.InstanceDrained(name="next", changed=True, running=["7k2m9q-001"]))
    assert ctl("instance", "drain", "next").out == (
        "Instance next takes nothing new\n  7k2m9q-001 works in it\n"
    )
    assert ctl("instance", "drain", "next", "--wait", "2m").code == 1
    dashd.on("instance.drain", instance.InstanceDrained(name="next", changed=False))
    assert ctl("instance", "drain", "next", "--off").out == "Instance next takes work again, as before\n"
    assert [(each["on"], each.get("wait_s")) for each in dashd.asked("instance.drain")] == [
        (True, None),
        (True, 120.0),
        (False, None),
    ]
    dashd.on("instance.remove", instance.InstanceChanged(name="next", changed=True))
    assert "stays where it is" in ctl("instance", "remove", "next").out
    dashd.on("instance.remove", errors.Conflict("2 attempts run in next", hint="dashctl instance drain next"))
    ran = ctl("instance", "remove", "next")
    assert (ran.code != 0, "instance drain next" in ran.err) == (True, True)


def test_every_command_of_the_module_is_tried_here():
    assert set(commands.of_module("instance")) == {"add", "list", "get", "health", "drain", "remove"}
