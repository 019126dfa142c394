"""Keys by their hashes: whose they are, and until when."""

from dashd.store import added_gateways, budgets, proxy_keys
from dashd.store.added_gateways import AddedGatewayRow

SEAT = "swarm1-001"
DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)


def _insert(scene, digest: bytes, name: str, agent: str | None = SEAT) -> None:
    scene.do(lambda tx: proxy_keys.insert(tx, digest, budgets.PROJECT, agent, name))


def _good(scene) -> list[str]:
    query = "SELECT name FROM proxy_key WHERE revoked_at_ms IS NULL ORDER BY hash"
    return [name for (name,) in scene.db.execute(query)]


def test_a_key_is_its_attempts(scene) -> None:
    _insert(scene, b"\x01" * 32, "t1.1")
    _insert(scene, b"\x02" * 32, "t2.1")
    assert proxy_keys.of_attempt(scene.db, SEAT, "t1.1") == [b"\x01" * 32]
    assert proxy_keys.of_attempt(scene.db, "other", "t1.1") == []


def test_revoking_leaves_the_seats_next_attempt_its_key(scene, clock) -> None:
    _insert(scene, b"\x01" * 32, "t1.1")
    _insert(scene, b"\x02" * 32, "t2.1")
    scene.do(lambda tx: proxy_keys.revoke(tx, SEAT, "t1.1"))
    assert proxy_keys.of_attempt(scene.db, SEAT, "t1.1") == []
    assert _good(scene) == ["t2.1"]
    at = scene.db.execute("SELECT revoked_at_ms FROM proxy_key WHERE name = 't1.1'").get
    clock.advance(5)
    scene.do(lambda tx: proxy_keys.revoke(tx, SEAT, "t1.1"))
    assert (
        scene.db.execute("SELECT revoked_at_ms FROM proxy_key WHERE name = 't1.1'").get
        == at
        == clock.now_ms() - 5
    )


def test_a_start_revokes_what_a_crash_left_and_no_program_outsides(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, second = scene.claim()
    _insert(scene, b"\x01" * 32, first.attempt_id, first.agent_id)
    _insert(scene, b"\x02" * 32, second.attempt_id, second.agent_id)
    _insert(scene, b"\x03" * 32, "editor", None)
    scene.end(first)
    scene.do(proxy_keys.revoke_ended)
    assert _good(scene) == [second.attempt_id, "editor"]


def test_keys_of_an_added_gateway_are_of_one_of_its_starts(scene) -> None:
    _insert(scene, b"\x01" * 32, "added:desk@1")
    _insert(scene, b"\x02" * 32, "added:desk@2")
    _insert(scene, b"\x03" * 32, "added:desk-2@1")
    found = proxy_keys.of_door(scene.db, "added:desk")
    assert sorted(name for _, _, name in found) == ["added:desk@1", "added:desk@2"]
    assert proxy_keys.doors(scene.db) == {"added:desk", "added:desk-2"}
    scene.do(lambda tx: proxy_keys.revoke_others(tx, "added:desk", "added:desk@2"))
    assert _good(scene) == ["added:desk@2", "added:desk-2@1"]


def test_a_start_keeps_the_keys_of_gateways_that_are_there(scene) -> None:
    scene.do(lambda tx: added_gateways.put(tx, DESK))
    _insert(scene, b"\x01" * 32, "added:desk@1")
    _insert(scene, b"\x02" * 32, "added:attic@1")
    scene.do(proxy_keys.revoke_ended)
    assert _good(scene) == ["added:desk@1"]
