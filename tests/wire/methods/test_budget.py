"""What the budget methods, and the money of swarm.create, take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_null_takes_a_limit_away_and_nothing_leaves_it():
    assert decode("budget.set", b'{"budget":"x","limit_usd":null}').limit_usd is None
    assert decode("budget.set", b'{"budget":"x"}').limit_usd is msgspec.UNSET


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("budget.extend", b'{"budget":"x","usd":0}'),
        ("budget.extend", b'{"budget":"x","usd":10001}'),
        ("budget.set", b'{"budget":"x","limit_usd":-1}'),
        ("budget.set", b'{"budget":"x","actions":{"at_100":"stop"}}'),
        ("swarm.create", b'{"task":"t","budget":10001}'),
        ("swarm.create", b'{"task":"t","agent_budget":"odd"}'),
        ("swarm.create", b'{"task":"t","reserve":101}'),
        ("swarm.plan", b'{"task":"t","dry_run":true}'),
    ],
)
def test_what_is_refused(method, params):
    with pytest.raises(msgspec.ValidationError):
        decode(method, params)


def test_a_plan_takes_what_create_takes():
    plan, create = (methods.METHODS[name].params.__struct_fields__ for name in ("swarm.plan", "swarm.create"))
    assert set(create) - set(plan) == {"dry_run", "idempotency_key"}


@pytest.mark.parametrize(("typed", "read"), [(b'"even"', "even"), (b"2.5", 2.5), (b"3", 3.0)])
def test_an_agents_budget_is_an_amount_or_even(typed, read):
    assert decode("swarm.create", b'{"task":"t","agent_budget":%s}' % typed).agent_budget == read
