"""Keys of programs outside: whose name is whose, what rotating leaves, and what is remembered."""

import apsw
import pytest

from dashd.store import access_keys, budgets
from dashd.store.access_keys import KeyRow
from dashd.wire import errors

NOW = 1_000


def row(number: int = 1, **changes) -> KeyRow:
    fields = {
        "id": f"key-{number}",
        "kind": "proxy",
        "name": f"n{number}",
        "hash": f"h{number}",
        "old_hash": None,
        "old_until_ms": None,
        "budget_id": budgets.PROJECT,
        "model": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "requests_per_day": None,
        "tokens_per_day": None,
        "created_at_ms": number,
        "expires_at_ms": None,
    }
    return KeyRow(**(fields | changes))


def test_a_name_is_used_once_at_a_time(scene) -> None:
    scene.do(lambda tx: access_keys.insert(tx, row(1, name="ci")))
    with pytest.raises(apsw.ConstraintError):
        scene.do(lambda tx: access_keys.insert(tx, row(2, name="ci")))
    scene.do(lambda tx: access_keys.revoke(tx, "key-1"))
    assert access_keys.get(scene.db, "ci").id == "key-1"
    scene.do(lambda tx: access_keys.insert(tx, row(2, name="ci")))
    assert access_keys.get(scene.db, "ci").id == "key-2"
    assert access_keys.get(scene.db, "key-1").revoked_at_ms is not None
    assert [each.id for each in access_keys.live(scene.db)] == ["key-2"]
    assert [each.id for each in access_keys.every(scene.db, 9)] == ["key-1", "key-2"]
    assert access_keys.live_count(scene.db) == 1
    with pytest.raises(errors.NotFound, match="no key 'nobody'"):
        access_keys.get(scene.db, "nobody")


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"expires_at_ms": NOW + 1}, True),
        ({"expires_at_ms": NOW}, False),
        ({"revoked_at_ms": 1}, False),
    ],
)
def test_until_when_a_key_is_good(changes, good) -> None:
    assert row(**changes).good(NOW) is good


def test_rotating_keeps_the_secret_before_only_where_it_has_a_grace(scene) -> None:
    scene.do(lambda tx: access_keys.insert(tx, row(1)))
    scene.do(lambda tx: access_keys.rotate(tx, access_keys.get(tx.db, "key-1"), "h2", 5_000))
    found = access_keys.get(scene.db, "key-1")
    assert (found.hash, found.old_hash, found.old_until_ms) == ("h2", "h1", 5_000)
    scene.do(lambda tx: access_keys.rotate(tx, access_keys.get(tx.db, "key-1"), "h3", None))
    found = access_keys.get(scene.db, "key-1")
    assert (found.hash, found.old_hash, found.old_until_ms) == ("h3", None, None)


def test_the_last_use_only_goes_forward(scene) -> None:
    scene.do(lambda tx: access_keys.insert(tx, row(1)))
    for at_ms in (50, 70, 60):
        scene.do(lambda tx, at_ms=at_ms: access_keys.used(tx, "key-1", at_ms))
    assert access_keys.get(scene.db, "key-1").last_used_at_ms == 70


def test_only_a_proxy_key_has_a_budget(scene) -> None:
    with pytest.raises(apsw.ConstraintError):
        scene.do(lambda tx: access_keys.insert(tx, row(1, kind="operator")))
    scene.do(lambda tx: access_keys.insert(tx, row(1, kind="operator", budget_id=None)))
