"""Mode gateway: what it takes, and what does not go with it."""

import dataclasses

import pytest

from dashd.store import added_gateways, instances
from dashd.store.added_gateways import AddedGatewayRow, Look
from dashd.wire import errors
from tests.fakes.ports import FakeDrivers, driver_abilities
from tests.service.test_walls import FakeWalls


class Drivers(FakeDrivers):
    """The same, and openclaw and pi."""

    async def choose(self, name, *, has_argv):
        known = name in ("openclaw", "pi")
        return (name, "it was asked for") if known else await super().choose(name, has_argv=has_argv)

    def abilities(self, name):
        return driver_abilities("soft", message=True)

    def remarks(self, name, argv):
        return []


@pytest.fixture
def core(core):
    return dataclasses.replace(core, walls=FakeWalls(), drivers=Drivers())


async def _create(call, **more):
    given = {"task": "t", "driver": "openclaw", "cwd": "/work", "mode": "gateway"}
    return await call("swarm.create", **(given | more))


async def test_it_is_said_of_swarm_and_agent(call) -> None:
    made = await _create(call)
    assert (await call("swarm.get", swarm=made.id)).mode == "gateway"
    assert (await call("agent.get", agent=f"{made.id}-001")).mode == "gateway"
    assert (await call("agent.get", agent=f"{made.id}-001")).command_policy == "not_asked"
    with pytest.raises(errors.Unsupported, match="none of them can be stopped alone"):
        await call("agent.pause", agent=f"{made.id}-001", hard=True)
    await call("agent.pause", agent=f"{made.id}-001")
    other = await _create(call, mode="jailed")
    assert (await call("swarm.get", swarm=other.id)).mode == "jailed"


@pytest.mark.parametrize(
    ("more", "error", "path"),
    [
        ({"driver": "command", "argv": ["true"]}, errors.InvalidParams, "mode"),
        ({"driver": "pi"}, errors.InvalidParams, "mode"),
        ({"hosts": ["npm"]}, errors.Unsupported, "hosts"),
        ({"placement": {"region": "eu"}}, errors.InvalidParams, "placement"),
        ({"mode": "jailed", "unsafe_no_jail": True, "placement": {}}, errors.InvalidParams, "placement"),
        (
            {"unsafe_no_jail": True, "placement": {"version": "new"}},
            errors.InvalidParams,
            "placement.version",
        ),
        ({"limits": {"cpu_s": 5}}, errors.InvalidParams, "limits.cpu_s"),
        ({"allow_commands": ["ls *"]}, errors.Unsupported, "mode"),
        ({"deny_commands": ["rm *"]}, errors.Unsupported, "mode"),
    ],
)
async def test_what_does_not_go_with_it_is_refused(call, more, error, path) -> None:
    with pytest.raises(error) as refused:
        await _create(call, **more)
    assert (refused.value.path, bool(refused.value.hint)) == (path, True)
    assert (await call("swarm.list")).items == []


async def test_a_gate_that_would_have_to_be_asked_about_refuses_it(call) -> None:
    await call("gate.set", name="g", kind="command", pattern="rm *", verdict="ask")
    with pytest.raises(errors.Unsupported, match="rules for command"):
        await _create(call)


async def test_a_narrower_scope_is_kept_by_walls_and_goes(call) -> None:
    assert (await _create(call, scope=["src"])).id


async def test_without_walls_it_means_the_gateways_that_were_added(call, scene) -> None:
    wanted = {"policy": "round-robin", "capabilities": ["gpu", "gpu"], "region": "eu", "version": "2026.9"}
    made = await _create(call, unsafe_no_jail=True, placement=wanted)
    assert scene.row(made.id).placement == (
        '{"policy":"round-robin","capabilities":["gpu"],"region":"eu","version":"2026.9"}'
    )
    found = (await call("swarm.get", swarm=made.id)).placement
    assert (found.policy, found.capabilities, found.region, found.version) == (
        "round-robin",
        ["gpu"],
        "eu",
        "2026.9",
    )
    plain = await _create(call, unsafe_no_jail=True)
    assert (await call("swarm.get", swarm=plain.id)).placement.policy == "least-loaded"
    assert scene.row((await _create(call)).id).placement == ""


async def test_where_no_gateway_fits_creator_and_planner_are_told(call, scene) -> None:
    given = {"unsafe_no_jail": True, "placement": {"region": "eu"}}
    assert "they wait: there is none" in str((await _create(call, **given)).notes)
    desk = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", "us", 4, 0)
    scene.do(lambda tx: added_gateways.put(tx, desk))
    assert "they wait: desk is unknown" in str((await _create(call, **given, dry_run=True)).notes)


# --- driver pi: among instances -----------------------------------------------------------------------------


@pytest.fixture
def local(core, scene, monkeypatch):
    own = scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    monkeypatch.setattr(core.instances, "looks", lambda: {"local": Look(own.added_at_ms, "alive", None)})


async def _pi(call, **more):
    return await call("swarm.create", **({"task": "t", "driver": "pi", "cwd": "/work"} | more))


async def test_a_swarm_of_pis_may_ask_something_of_its_places_and_need_not(call, scene, local) -> None:
    plain = await _pi(call)
    assert (scene.row(plain.id).placement, "they wait" in str(plain.notes)) == ("", False)
    assert (await call("swarm.get", swarm=plain.id)).placement is None
    made = await _pi(call, placement={"policy": "round-robin"})
    assert scene.row(made.id).placement == '{"policy":"round-robin"}'
    with pytest.raises(errors.InvalidParams) as refused:
        await _pi(call, placement={"version": "new"})
    assert refused.value.path == "placement.version"
    with pytest.raises(errors.InvalidParams, match="has no modes"):
        await _pi(call, mode="gateway")


async def test_where_no_instance_fits_creator_and_agent_are_told(call, scene, local) -> None:
    made = await _pi(call, placement={"capabilities": ["gpu"]})
    assert "no instance takes its tasks now, so they wait: local is without gpu" in str(made.notes)
    why = await call("agent.why", agent=f"{made.id}-001")
    assert (why.waits_for, "no instance takes one: local is without gpu" in why.text) == ("place", True)
    scene.do(lambda tx: instances.drain(tx, "local", on=True))
    plain = await _pi(call)
    assert "local is draining" in str(plain.notes)
    why = await call("agent.why", agent=f"{plain.id}-001")
    assert "dashctl instance list" in why.text
