"""Table `budget`: the path, the sums on it, and what is written down."""

import msgspec
import pytest

from dashd.domain import budget as rules
from dashd.store import budgets, database, migrations
from dashd.wire import errors
from tests.fakes.clock import FixedClock
from tests.fakes.scene import SWARM

SEAT = f"{SWARM}-001"


def test_a_seat_stands_under_its_swarm_under_the_project(scene) -> None:
    scene.swarm("a")
    assert [row.id for row in budgets.path(scene.db, SEAT)] == [SEAT, SWARM, "project"]
    assert [row.kind for row in budgets.path(scene.db, SEAT)] == ["agent", "swarm", "project"]
    assert [row.id for row in budgets.children(scene.db, SWARM)] == [SEAT]
    assert budgets.live_count(scene.db, "project") == budgets.live_count(scene.db, SEAT) == 1


def test_holds_and_settlements_count_on_the_whole_path_and_nowhere_else(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.do(lambda tx: budgets.hold(tx, SEAT, 100, 10))
    scene.do(
        lambda tx: budgets.settle(
            tx, SEAT, held_nusd=100, held_tokens=10, cost_nusd=120, tokens=7, confirmed=False
        )
    )
    for name in (SEAT, SWARM, "project"):
        row = budgets.get(scene.db, name)
        assert (row.held_nusd, row.spent_nusd, row.unconfirmed_nusd, row.overrun_nusd) == (0, 120, 120, 20)
        assert (row.held_tokens, row.spent_tokens) == (0, 7)
    assert budgets.get(scene.db, f"{SWARM}-002").spent_nusd == 0


def test_an_unknown_budget_is_named(scene) -> None:
    assert budgets.find(scene.db, "nope") is None
    with pytest.raises(errors.NotFound, match="no budget 'nope'"):
        budgets.get(scene.db, "nope")


def test_a_node_is_what_the_rules_see(scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 500, 70))
    scene.do(lambda tx: budgets.set_frozen(tx, SWARM, "why"))
    scene.do(lambda tx: budgets.set_share(tx, SWARM, allotment=1, reserve=100, rule="even", seat=9))
    scene.do(lambda tx: budgets.hold(tx, SWARM, 30, 4))
    node = budgets.node(scene.db, budgets.get(scene.db, SWARM))
    assert node == rules.Node(SWARM, 500, 100, 30, 0, 1, "why", 70, 4, 0)
    row = budgets.get(scene.db, SWARM)
    assert (row.allotment_nusd, row.seat_rule, row.seat_nusd) == (1, "even", 9)


def test_actions_thresholds_and_pauses_are_kept(scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: budgets.set_actions(tx, SWARM, "none", "pause", "kill"))
    scene.do(lambda tx: budgets.set_reached(tx, SWARM, 90))
    scene.do(lambda tx: budgets.set_paused_by(tx, SWARM, "project"))
    row = budgets.get(scene.db, SWARM)
    assert (row.action_75, row.action_90, row.action_100, row.reached) == ("none", "pause", "kill", 90)
    assert [each.id for each in budgets.paused(scene.db, "project")] == [SWARM]


def test_changes_are_told_newest_first(scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: budgets.change(tx, SWARM, "set", 1, 2, "because"))
    found = budgets.changes(scene.db, SWARM, 10)
    assert [row.kind for row in found] == ["set", "created"]
    assert msgspec.structs.astuple(found[0])[1:5] == ("set", 1, 2, "because")


def test_limits_set_by_hand_before_it_was_kept_are_known(tmp_path):
    path = tmp_path / "dash.db"
    known = migrations.load()
    db = database.connect(path)
    before = [each for each in known if each.number < 15]
    migrations.migrate(db, path, FixedClock(), known=before)
    for name, kind, to, why in (
        ("swarm", "set", 5, ""),
        ("seat", "set", 5, "it replaces aaaaaa-001"),
        ("acted", "set", 7, "at_100 kill"),
        ("grown", "extended", 5, ""),
    ):
        db.execute("INSERT INTO budget (id, kind, created_at_ms) VALUES (?, 'swarm', 0)", (name,))
        db.execute(
            "INSERT INTO budget_change (budget_id, at_ms, kind, from_nusd, to_nusd, why)"
            " VALUES (?, 0, ?, 7, ?, ?)",
            (name, kind, to, why),
        )
    migrations.migrate(db, path, FixedClock(), known=known)
    found = dict(db.execute("SELECT id, set_by FROM budget WHERE set_by IS NOT NULL").fetchall())
    database.close(db, checkpoint=True)
    assert found == {"swarm": "operator"}
