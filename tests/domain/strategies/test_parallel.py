"""parallel: nothing waits for anything."""

from dashd.domain.strategies import STRATEGIES, Planned, parallel


def test_every_item_on_its_own() -> None:
    assert parallel.plan(["a", "b"]) == [Planned("a"), Planned("b")]
    assert STRATEGIES["parallel"] is parallel.plan
