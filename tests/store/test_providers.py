"""Rows of providers."""

import msgspec

from dashd.store import providers
from dashd.store.providers import ProviderRow

ONE = ProviderRow("one", "openai-chat", "https://one/v1", "file", None, '["a","b"]', 5)
TWO = ProviderRow("two", "anthropic", "https://two/v1", "command", '["pass","two"]', "[]", 6)


def test_they_are_kept_in_order_and_replaced_in_place(scene) -> None:
    for row in (ONE, TWO):
        scene.do(lambda tx, row=row: providers.put(tx, row))
    again = msgspec.structs.replace(ONE, url="https://new/v1", created_at_ms=9)
    scene.do(lambda tx: providers.put(tx, again))
    assert providers.every(scene.db) == [msgspec.structs.replace(again, created_at_ms=5), TWO]
    assert providers.find(scene.db, "two") == TWO
    assert providers.find(scene.db, "three") is None
    assert scene.do(lambda tx: providers.remove(tx, "one"))
    assert not scene.do(lambda tx: providers.remove(tx, "one"))


def test_columns_of_json() -> None:
    assert (providers.command(ONE), providers.command(TWO)) == ([], ["pass", "two"])
    assert (providers.models(ONE), providers.models(TWO)) == (("a", "b"), ())


def test_no_column_could_hold_a_secret(scene) -> None:
    names = {row[1] for row in scene.db.execute("PRAGMA table_info(provider)")}
    assert names == {"name", "format", "url", "secret", "command", "models", "created_at_ms"}
