"""A limit that changes, and what follows."""

from dashd.store import budgets, limits


def test_extending_adds_tells_and_is_kept_in_the_history(scene):
    scene.do(lambda tx: budgets.set_limits(tx, "project", 1_000_000_000, None))
    before = budgets.get(scene.db, "project")
    assert scene.do(lambda tx: limits.extend(tx, before, 500_000_000, "more")) == 0
    assert budgets.get(scene.db, "project").limit_nusd == 1_500_000_000
    (event,) = scene.events()
    assert event["kind"] == "budget.extended"
    assert event["data"] == {"budget": "project", "from": 1.0, "to": 1.5, "why": "more"}
    assert budgets.changes(scene.db, "project", 1)[0].kind == "extended"


def test_following_a_raised_limit_tells_no_threshold(scene):
    before = budgets.get(scene.db, "project")
    scene.do(lambda tx: budgets.set_limits(tx, "project", 10, None))
    assert scene.do(lambda tx: limits.follow(tx, before)) == 0
    assert scene.kinds() == []
