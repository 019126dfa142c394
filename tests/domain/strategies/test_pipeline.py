"""pipeline: a chain."""

from dashd.domain.strategies import STRATEGIES, Planned, pipeline


def test_each_stage_waits_for_the_one_before() -> None:
    assert pipeline.plan(["a", "b", "c"]) == [Planned("a"), Planned("b", (0,)), Planned("c", (1,))]
    assert STRATEGIES["pipeline"] is pipeline.plan
