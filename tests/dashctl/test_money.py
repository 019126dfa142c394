"""What a swarm would cost and has cost, as text; the commands around it are in test_swarm.py."""

import argparse

import msgspec
import pytest

from dashctl import money
from tests.dashctl import answers


def test_a_plan_without_a_model_or_a_budget_leaves_out_what_it_has_not(output):
    out = output()
    plan = answers.a_plan(
        model=None, calls=0, usd=0.0, task_usd=0.0, start_usd=0.0, budget_usd=None, agent_usd=None
    )
    money.show_plan(out, msgspec.to_builtins(plan))
    shown = out._stdout.getvalue()
    assert "model      none" in shown
    for name in ("budget", "to start", "agents", "calls"):
        assert f"\n{name}" not in shown


def test_a_cap_is_not_called_a_part(output):
    for cap, text in ((True, "$0.50 each\n"), (False, "$0.50 each, not a cap\n")):
        out = output()
        money.show_plan(out, msgspec.to_builtins(answers.a_plan(agent_cap=cap)))
        assert text in out._stdout.getvalue()


def test_caps_of_their_own_are_shown_by_name(output):
    for usd, more in ((None, "\n"), (0.5, ", the others $0.50 each, not a cap\n")):
        out = output()
        plan = answers.a_plan(agent_caps_usd={"a": 10.0, "b": 5.0}, agent_usd=usd)
        money.show_plan(out, msgspec.to_builtins(plan))
        assert f"a $10.00 at most, b $5.00 at most{more}" in out._stdout.getvalue()


def test_a_swarm_that_spent_nothing_has_no_tables(output):
    out = output()
    nothing = answers.costs(agents=[], models=[], queue_waits=[], usd=0.0, held_usd=0.0, unconfirmed_usd=0.0)
    money.show_costs(out, msgspec.to_builtins(nothing))
    assert "spent" in out._stdout.getvalue()
    assert "AGENT" not in out._stdout.getvalue()


def test_a_model_is_a_name_or_what_it_must_be():
    assert money.model("a -> b") == "a -> b"
    assert money.model('{"prefer": "cost"}') == {"prefer": "cost"}
    with pytest.raises(argparse.ArgumentTypeError, match="is not JSON"):
        money.model("{prefer: cost}")
