"""Table `hold`: opened on the whole path, settled once, exported without gaps."""

from typing import Any

import pytest

from dashd.store import budgets, holds
from dashd.store.holds import HoldRow, Settlement
from tests.fakes.scene import SWARM

SEAT = f"{SWARM}-001"


def opened(scene, nusd: int = 100, tokens: int = 10, **changes: Any) -> int:
    fields: dict[str, Any] = {
        "id": None, "budget_id": SEAT, "swarm_id": SWARM, "agent_id": SEAT, "task_id": f"{SWARM}-t1",
        "model": "m", "provider": "p", "state": "open", "held_nusd": nusd, "held_tokens": tokens,
        "cost_nusd": None, "tokens": None, "input_tokens": None, "output_tokens": None, "basis": None,
        "confirmed": None, "price_date": "d", "started_at_ms": 0, "settled_at_ms": None,
    }  # fmt: skip
    return scene.do(lambda tx: holds.insert(tx, HoldRow(**(fields | changes))))


def settled(scene, nusd: int, **changes: Any) -> int:
    hold_id = opened(scene, **changes)
    scene.do(lambda tx: holds.settle(tx, hold_id, Settlement(nusd, 5, "usage", 3, 2)))
    return hold_id


def test_a_hold_is_settled_once(scene) -> None:
    scene.swarm("a")
    hold_id = opened(scene)
    assert budgets.get(scene.db, "project").held_nusd == 100
    first = scene.do(lambda tx: holds.settle(tx, hold_id, Settlement(40, 4, "usage", 3, 1)))
    assert first is not None
    assert scene.do(lambda tx: holds.settle(tx, hold_id, Settlement(90, 9, "worst-case"))) is None
    row = holds.get(scene.db, hold_id)
    assert (row.state, row.cost_nusd, row.basis, row.confirmed) == ("settled", 40, "usage", 1)
    assert [(each.held_nusd, each.spent_nusd) for each in budgets.path(scene.db, SEAT)] == [(0, 40)] * 3


@pytest.mark.parametrize(
    ("basis", "confirmed"),
    [("usage", True), ("unsent", True), ("rejected", True), ("worst-case", False), ("crash", False)],
)
def test_what_no_usage_confirms_is_unconfirmed(basis, confirmed) -> None:
    assert Settlement(1, 1, basis).confirmed == confirmed


def test_open_holds_come_oldest_first(scene) -> None:
    scene.swarm("a")
    first, second = opened(scene), opened(scene)
    assert [row.id for row in holds.open_holds(scene.db)] == [first, second]


def test_an_export_ends_before_the_oldest_call_under_way_so_that_it_misses_none(scene) -> None:
    scene.swarm("a")
    first = settled(scene, 1)
    slow = opened(scene)
    later = settled(scene, 2)
    assert [row.id for row in holds.page(scene.db, SWARM, 0, 10)] == [first]
    scene.do(lambda tx: holds.settle(tx, slow, Settlement(3, 1, "usage")))
    assert [row.id for row in holds.page(scene.db, SWARM, first, 10)] == [slow, later]
    assert holds.page(scene.db, "other", 0, 10) == []
    assert [row.id for row in holds.page(scene.db, None, 0, 2)] == [first, slow]
