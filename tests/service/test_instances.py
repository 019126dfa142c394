"""Which instances may be added, and what is said of those there are."""

import dataclasses

import pytest

from dashd.service.place_ports import PlaceSeen
from dashd.store import added_gateways, instances
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.instances import InstanceRow
from dashd.wire import errors

NEXT = InstanceRow("next", "static", "/p/cli.js", '["gpu"]', "eu", 4)
ADD = {"name": "next", "program": "/p/cli.js"}


class Instances:
    """Has seen what it is told; every program is where it is said to be."""

    def __init__(self, lock):
        self.changing = lock
        self.shown: dict[str, PlaceSeen] = {}
        self.mute = ""

    async def place(self, program):
        if "nowhere" in program:
            raise errors.InvalidParams(f"{program} is not there", path="program")
        return program

    async def here(self):
        return "/found/cli.js"

    async def follow(self):
        self.shown = {}

    def seen(self):
        return self.shown

    async def look(self, name):
        return self.shown[name]

    async def look_here(self):
        return self.mute


@pytest.fixture
def core(core):
    return dataclasses.replace(core, instances=Instances(core.instances.changing))


@pytest.fixture
def local(scene):
    scene.do(lambda tx: instances.put(tx, instances.own("local", 100)))


@pytest.mark.parametrize("name", ["../next", "Next", "a b", "1", "local", "local-2"])
async def test_a_name_is_plain_and_none_of_dash_s_own(call, name):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("instance.add", **(ADD | {"name": name}))
    assert refused.value.path == "name"


async def test_what_is_not_supported_yet_says_what_is(call):
    with pytest.raises(errors.Unsupported, match="another host") as refused:
        await call("instance.add", name="far", source="gateway")
    assert "source static" in refused.value.hint
    with pytest.raises(errors.InvalidParams, match="made by Dash itself") as refused:
        await call("instance.add", **ADD, source="auto-spawn")
    assert "pi_instances_max" in refused.value.hint


@pytest.mark.parametrize("more", [{}, {"program": "/nowhere"}])
async def test_it_needs_a_program_that_is_there(call, more):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("instance.add", name="next", **more)
    assert refused.value.path == "program"
    assert (await call("instance.list")).instances == []


async def test_an_added_one_is_unknown_until_it_is_looked_at(call, core):
    added = await call("instance.add", **ADD, capabilities=["gpu", "gpu"], region="eu", capacity=4)
    assert (added.health, added.source, added.version) == ("unknown", "static", None)
    assert (added.capabilities, added.region, added.capacity, added.load) == (["gpu"], "eu", 4, 0)
    core.instances.shown["next"] = PlaceSeen("dead", "it is not there")
    shown = await call("instance.get", name="next")
    assert (shown.health, shown.why) == ("dead", "it is not there")
    found = await call("instance.health", name="next")
    assert (found.ok, found.text) == (False, "it is not there")
    core.instances.shown["next"] = PlaceSeen("alive", "", 1.5, "1.6.0")
    found = await call("instance.health", name="next")
    assert (found.ok, found.text, found.version) == (True, "it can start a Pi", "1.6.0")


async def test_this_machine_s_own_runs_what_dash_finds(call, core, local):
    (shown,) = (await call("instance.list")).instances
    assert (shown.name, shown.source, shown.health, shown.program) == (
        "local",
        "auto-spawn",
        "unknown",
        "/found/cli.js",
    )
    core.instances.shown["local"] = PlaceSeen("alive", "", 1.0, "1.5.2")
    found = await call("instance.health", name="local")
    assert (found.ok, found.health, found.version) == (True, "alive", "1.5.2")
    core.instances.mute = "it ended with exit code 1"
    found = await call("instance.health", name="local")
    assert (found.ok, found.health, found.text) == (False, "alive", "it ended with exit code 1")


async def test_the_health_that_is_shown_is_that_by_which_work_is_placed(call, core, local):
    core.instances.shown["local"] = PlaceSeen("dead", "pi is not there")
    shown = await call("instance.get", name="local")
    assert (shown.health, shown.why) == ("dead", "pi is not there")
    found = await call("instance.health", name="local")
    assert (found.ok, found.health, found.text) == (False, "dead", "pi is not there")


async def test_what_was_seen_of_a_former_one_of_its_name_is_not_shown(call, core):
    await call("instance.add", **ADD)
    core.instances.shown["next"] = PlaceSeen("alive")
    await call("instance.add", **ADD)
    assert (await call("instance.get", name="next")).health == "unknown"


async def test_drain_and_remove(call, local):
    await call("instance.add", **ADD)
    assert [(await call("instance.drain", name="next")).changed for _ in range(2)] == [True, False]
    assert (await call("instance.get", name="next")).draining
    assert (await call("instance.drain", name="next", on=False)).changed
    assert (await call("instance.drain", name="local")).changed
    assert (await call("instance.remove", name="next")).changed
    assert [each.name for each in (await call("instance.list")).instances] == ["local"]


async def test_this_machine_s_own_is_not_removed(call, local):
    with pytest.raises(errors.Unsupported, match="is this machine's own") as refused:
        await call("instance.remove", name="local")
    assert "pi_instances_max" in refused.value.hint


async def test_one_that_has_work_is_not_removed(call, scene):
    await call("instance.add", **ADD)
    scene.swarm("a", driver="pi")
    (claim,) = scene.claim()
    scene.do(lambda tx: tx.execute("UPDATE launch SET place = 'next' WHERE id = ?", (claim.attempt_id,)))
    assert (await call("instance.get", name="next")).load == 1
    assert (await call("instance.add", **ADD, capacity=5)).load == 1, "what runs in it runs on"
    with pytest.raises(errors.Conflict, match="cannot be removed now: aaaaaa-001 work in it") as refused:
        await call("instance.remove", name="next")
    assert "instance drain next --wait" in refused.value.hint
    scene.start(claim)
    scene.end(claim)
    assert (await call("instance.remove", name="next")).changed


async def test_a_name_is_of_one_kind_of_place(call, scene):
    desk = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)
    scene.do(lambda tx: added_gateways.put(tx, desk))
    with pytest.raises(errors.Conflict, match="desk is the name of a gateway"):
        await call("instance.add", **(ADD | {"name": "desk"}))


async def test_a_drain_says_what_runs_still(call, scene):
    await call("instance.add", **ADD)
    scene.swarm("a", driver="pi")
    (claim,) = scene.claim()
    scene.do(lambda tx: tx.execute("UPDATE launch SET place = 'next' WHERE id = ?", (claim.attempt_id,)))
    assert (await call("instance.drain", name="next")).running == [claim.agent_id]
    scene.start(claim)
    scene.end(claim)
    assert (await call("instance.drain", name="next", wait_s=60)).running == []


async def test_a_wrong_name_is_told_the_right_ones(call, scene):
    scene.do(lambda tx: instances.put(tx, NEXT))
    for verb in ("get", "health", "drain", "remove"):
        with pytest.raises(errors.NotFound, match="no instance 'nxet'") as refused:
            await call(f"instance.{verb}", name="nxet")
        assert (refused.value.hint, refused.value.path) == ("instances: next", "name")
