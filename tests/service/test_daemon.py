"""`daemon.*`: the daemon about itself."""

from tests.fakes.scene import SWARM


async def test_ping(call) -> None:
    got = await call("daemon.ping")
    assert (got.version, got.pid) == ("0.1", 4321)


async def test_status_counts_swarms_agents_and_tasks_apart(call, core, scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.swarm("c", swarm_id="bbbbbb")
    await call("swarm.destroy", swarm="bbbbbb")
    scene.claim(1)
    clock.advance(2_500)
    got = await call("daemon.status")
    assert (got.epoch, got.uptime_s, got.state, got.warnings) == (3, 2.5, "ready", [])
    assert got.swarms == {"active": 1, "destroyed": 1}
    assert got.agents == {"spawning": 1, "idle": 1}
    assert got.tasks == {"running": 1, "ready": 1}
    assert (got.last_seq, got.agents_max) == (scene.seq, 100)
    assert (got.socket, got.database) == ("/run/dashd.sock", str(core.store.path))


async def test_trouble_is_shown_first_and_makes_a_ready_daemon_degraded(call, core) -> None:
    core.daemon.warnings.append("DASH_REDIS_URL is not used")
    assert (await call("daemon.status")).state == "ready"
    core.daemon.troubles.append("the disk is full")
    got = await call("daemon.status")
    assert (got.state, got.warnings) == ("degraded", ["the disk is full", "DASH_REDIS_URL is not used"])
    core.daemon.state = "stopping"
    assert (await call("daemon.status")).state == "stopping"


async def test_stop_answers_what_lives_and_asks_for_the_end(call, core, scene) -> None:
    scene.swarm("a", "b", "c", agents_made=3)
    first, second = scene.claim(2)
    scene.start(first)
    scene.paused(first)
    got = await call("daemon.stop")
    assert (got.agents, got.live, core.daemon.warnings) == ("detach", 2, ["stop detach"])
    got = await call("daemon.stop", agents="stop")
    assert (got.agents, core.daemon.warnings[-1]) == ("stop", "stop stop")
    assert second.swarm_id == SWARM
