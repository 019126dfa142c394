"""Answers already given are kept 24 hours."""

from dashd.store import idempotency

DAY_MS = 24 * 3_600 * 1_000


def test_an_answer_is_found_by_its_key(scene, clock) -> None:
    scene.do(lambda tx: idempotency.insert(tx, "k", "swarm.create", "hash", "{}"))
    assert idempotency.find(scene.db, "k", clock.now_ms()) == ("swarm.create", "hash", "{}")
    assert idempotency.find(scene.db, "other", clock.now_ms()) is None


def test_an_answer_is_kept_for_a_day_and_no_longer(scene, clock) -> None:
    scene.do(lambda tx: idempotency.insert(tx, "k", "m", "hash", "{}"))
    assert idempotency.find(scene.db, "k", clock.now_ms() + DAY_MS - 1) is not None
    assert idempotency.find(scene.db, "k", clock.now_ms() + DAY_MS) is None


def test_old_answers_make_room_and_their_keys_are_free_again(scene, clock) -> None:
    scene.do(lambda tx: idempotency.insert(tx, "old", "m", "hash", "1"))
    scene.do(lambda tx: idempotency.insert(tx, "k", "m", "hash", "1"))
    clock.advance(DAY_MS)
    scene.do(lambda tx: idempotency.insert(tx, "k", "m", "other", "2"))
    assert idempotency.find(scene.db, "k", clock.now_ms()) == ("m", "other", "2")
    assert scene.db.execute("SELECT count(*) FROM idempotency").get == 1
