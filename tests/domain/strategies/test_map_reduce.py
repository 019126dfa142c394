"""map-reduce: the last item waits for all others."""

from dashd.domain.strategies import STRATEGIES, Planned, map_reduce


def test_the_last_waits_for_all_others() -> None:
    assert map_reduce.plan(["a", "b", "c"]) == [Planned("a"), Planned("b"), Planned("c", (0, 1))]
    assert STRATEGIES["map-reduce"] is map_reduce.plan


def test_one_item_alone_waits_for_nothing() -> None:
    assert map_reduce.plan(["a"]) == [Planned("a")]
