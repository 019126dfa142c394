"""What a gateway's methods take, and that no answer has a place for a token."""

import msgspec
import pytest

from dashd.wire import methods
from dashd.wire.methods import gateway

DESK = {"name": "desk", "url": "ws://127.0.0.1:1"}


def decoded(given):
    return msgspec.json.decode(msgspec.json.encode(given), type=methods.METHODS["gateway.add"].params)


@pytest.mark.parametrize("more", [{"token": "t"}, {"token_command": ["pass"]}, {"unsafe_no_jail": True}])
def test_it_takes(more):
    assert msgspec.to_builtins(decoded(DESK | more)) == DESK | more


@pytest.mark.parametrize("more", [{"token": ""}, {"token_command": []}, {"capacity": 0}, {"load": 1}])
def test_it_refuses_without_repeating_what_was_given(more):
    with pytest.raises(msgspec.ValidationError) as refused:
        decoded({"token": "a-canary"} | DESK | more)
    assert "a-canary" not in str(refused.value)


def test_an_answer_says_where_a_token_is_and_no_more():
    names = [each.name for each in msgspec.inspect.type_info(gateway.Gateway).fields]
    assert not any("token" in name for name in names)


def test_looking_changes_nothing():
    changing = {name for name, row in methods.METHODS.items() if name.startswith("gateway.") and row.changes}
    assert changing == {"gateway.add", "gateway.drain", "gateway.remove"}
