"""What holds for every strategy: one task an item, in order, and nothing waits for what comes later."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.strategies import STRATEGIES, Planned


def test_a_task_waits_for_nothing_by_default() -> None:
    assert Planned("a").after == ()


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(items=st.lists(st.text(max_size=3), min_size=1, max_size=20))
def test_a_plan_is_its_items_in_order_and_has_no_cycle(name: str, items: list[str]) -> None:
    planned = STRATEGIES[name](items)
    assert [task.item for task in planned] == items
    assert all(before < index for index, task in enumerate(planned) for before in task.after)
    assert planned[0].after == ()
