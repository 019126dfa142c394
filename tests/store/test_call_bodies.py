"""What was said: kept once, found by whose it is, and removed by age and by size, oldest first."""

import pytest

from dashd.store import budgets, call_bodies, holds
from dashd.store.call_bodies import BodyRow
from dashd.store.holds import HoldRow


def keep(scene, at_ms: int, *, size: int = 10, agent: str | None = None, answer: str | None = "a") -> int:
    row = dict.fromkeys(HoldRow.__struct_fields__) | {
        "budget_id": budgets.PROJECT,
        "agent_id": agent,
        "model": "m",
        "provider": "p",
        "state": "open",
        "held_nusd": 0,
        "held_tokens": 0,
        "price_date": "",
        "started_at_ms": at_ms,
    }

    def operation(tx) -> int:
        hold_id = holds.insert(tx, HoldRow(**row))
        call_bodies.insert(tx, BodyRow(hold_id, at_ms, size, "{}", "q", answer))
        call_bodies.insert(tx, BodyRow(hold_id, at_ms, size, "{}", "again", None))
        return hold_id

    return scene.do(operation)


def test_pages_newest_first_of_one_or_of_all(scene) -> None:
    first, second, third = keep(scene, 1, agent="x-001"), keep(scene, 2), keep(scene, 3, agent="x-001")
    assert [row.id for row in call_bodies.page(scene.db, None, 0, 9)] == [third, second, first]
    assert [row.id for row in call_bodies.page(scene.db, "x-001", third, 9)] == [first]
    assert [row.id for row in call_bodies.page(scene.db, "project", 0, 1)] == [third]
    (row,) = call_bodies.page(scene.db, None, second, 1)
    assert (row.request, row.answer, row.agent_id, row.model) == ("q", "a", "x-001", "m")
    assert (call_bodies.count(scene.db), call_bodies.total_bytes(scene.db)) == (3, 30)


@pytest.mark.parametrize(
    ("before_ms", "bytes_max", "left"),
    [(0, 100, [3, 2, 1]), (2, 100, [3, 2]), (9, 100, []), (0, 25, [3, 2]), (0, 10, [3]), (0, 9, [])],
)
def test_the_oldest_go(scene, before_ms, bytes_max, left) -> None:
    for at_ms in (1, 2, 3):
        keep(scene, at_ms)
    assert scene.do(lambda tx: call_bodies.prune(tx, before_ms, bytes_max)) == 10 * len(left)
    assert [row.at_ms for row in call_bodies.page(scene.db, None, 0, 9)] == left
