"""Gates that are made while agents of a gateway work: they hold from an agent's next attempt on."""

from types import SimpleNamespace

import pytest

from dashd.domain.attempt import Ending
from dashd.runtime import gateway_entry
from tests.fakes.gateway_attempts import CLAIM, plan_of


@pytest.mark.parametrize(("begun", "state"), [(False, "failed"), (True, "lost")])
async def test_rules_that_were_made_later_do_not_end_what_has_begun(autojump_clock, begun, state) -> None:
    """They hold from the next attempt on; whether this one goes on, its gateway says."""
    plan = plan_of("s-t1.2")
    plan.work = SimpleNamespace(asks=("command",))
    plan.begun, plan.place, plan.within = begun, None, "a-gateway"
    world = SimpleNamespace(gateways=SimpleNamespace(find=lambda _: None))
    ending = await gateway_entry.enter(world, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(ending, Ending)
    assert ending.state == state
