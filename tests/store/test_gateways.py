"""Gateways of swarms: one at a time, and the swarm's end comes after its gateway's."""

import pytest

from dashd.store import attempts, gateways, lifecycle, proxy_keys, swarms
from tests.fakes.scene import SWARM

TOKEN = "t" * 64


def test_a_swarm_has_one_at_a_time_and_they_are_numbered(scene) -> None:
    swarm = scene.swarm("a", mode="gateway", driver="openclaw")
    first = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    assert first.launch_id == f"{swarm}-g1"
    with pytest.raises(AssertionError, match="has a gateway"):
        scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    scene.do(lambda tx: gateways.set_boot(tx, first, "boot"))
    assert gateways.open_of(scene.db, swarm).boot_id == "boot"
    scene.do(lambda tx: gateways.set_ended(tx, first, "it ended"))
    assert gateways.open_of(scene.db, swarm) is None
    second = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    assert second.launch_id == f"{swarm}-g2"
    assert [each.launch_id for each in gateways.open_gateways(scene.db)] == [second.launch_id]
    last = gateways.open_of(scene.db, swarm)
    assert (last.number, last.ended_at_ms) == (2, None)


def test_a_swarm_ends_after_its_gateway(scene) -> None:
    swarm = scene.swarm("a", mode="gateway", driver="openclaw")
    row = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    assert not gateways.is_idle(scene.db, swarm)
    scene.run("succeeded")
    assert gateways.is_idle(scene.db, swarm)
    assert swarms.get(scene.db, swarm).state == "active"  # a process of it is left

    def end(tx) -> None:
        gateways.set_ended(tx, row, "")
        lifecycle.settle_swarm(tx, swarm)

    scene.do(end)
    assert swarms.get(scene.db, swarm).state == "completed"


def test_an_attempt_is_within_its_gateway(scene) -> None:
    swarm = scene.swarm("a", mode="gateway", driver="openclaw")
    row = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    (claim,) = scene.claim()
    assert attempts.agents_within(scene.db, row.launch_id) == []
    scene.do(lambda tx: gateways.enter(tx, claim.attempt_id, row.launch_id))
    assert attempts.launch(scene.db, claim.attempt_id).within == row.launch_id
    assert attempts.agents_within(scene.db, row.launch_id) == [claim.agent_id]


def test_its_keys_outlive_attempts_and_end_with_it(scene) -> None:
    swarm = scene.swarm("a", mode="gateway", driver="openclaw")
    row = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    seat = f"{swarm}-001"
    digest = b"\x01" * 32
    scene.do(lambda tx: proxy_keys.insert(tx, digest, "project", seat, row.launch_id))
    scene.do(proxy_keys.revoke_ended)
    assert proxy_keys.of_gateway(scene.db, row.launch_id) == {seat: [digest]}
    scene.do(lambda tx: proxy_keys.revoke_of_gateway(tx, row.launch_id))
    assert proxy_keys.of_gateway(scene.db, row.launch_id) == {}


def test_agents_in_gateways_take_no_place_of_processes(scene) -> None:
    scene.swarm("a", "b", mode="gateway", driver="openclaw", agents_made=2)
    scene.claim()
    assert attempts.open_by_driver(scene.db) == {}


def test_a_session_is_gone_on_with_by_its_agent_in_its_gateway_alone(scene, clock) -> None:
    scene.swarm("a", mode="gateway", agents_made=2)
    found = []
    for place in ("desk", "desk", "attic", "desk", "desk"):
        (claim,) = scene.claim()
        assert claim.agent_id == f"{SWARM}-001"  # the session is its alone, wherever it goes on
        scene.do(lambda tx, at=(place, claim): tx.execute(_q_put, (at[0], at[1].attempt_id)))
        scene.start(claim)
        found.append(gateways.session_of(scene.db, scene.attempt(claim)).id)
        scene.end(claim, "lost")
        clock.advance(60_000)
    assert [int(each.rpartition(".")[2]) for each in found] == [1, 1, 3, 4, 4]


_q_put = "UPDATE launch SET place = ? WHERE id = ?"


def _failed(scene, swarm: str, count: int) -> list[str]:
    """Launches of gateways that did not come up."""
    made = []
    for _ in range(count):
        row = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
        scene.do(lambda tx, row=row: gateways.set_ended(tx, row, "it did not start"))
        made.append(row.launch_id)
    return made


def test_of_those_that_never_came_up_the_newest_are_kept_and_the_first_with_its_sessions(scene) -> None:
    swarm = scene.swarm("a", mode="gateway", driver="openclaw")
    made = _failed(scene, swarm, 3)
    row = scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN))
    scene.do(lambda tx: gateways.set_boot(tx, row, "boot"))
    scene.do(lambda tx: gateways.set_ended(tx, row, "it ended"))
    assert gateways.old_failures(scene.db, "", 10) == []
    made += _failed(scene, swarm, gateways.FAILURES_KEPT_MAX)
    other = scene.swarm("a", swarm_id="bbbbbb", mode="gateway", driver="openclaw")
    _failed(scene, other, gateways.FAILURES_KEPT_MAX + 1)
    assert gateways.old_failures(scene.db, "", 10) == made[1:3]
    assert gateways.old_failures(scene.db, made[1], 10) == made[2:3]
    assert gateways.old_failures(scene.db, "", 1) == made[1:2]
    scene.do(lambda tx: gateways.forget(tx, made[1:3]))
    assert gateways.old_failures(scene.db, "", 10) == []
    assert scene.do(lambda tx: gateways.insert(tx, swarm, TOKEN)).number == 8  # no number comes twice
