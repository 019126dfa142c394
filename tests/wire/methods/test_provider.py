"""What a provider's methods take, and that no answer has a place for a secret."""

import msgspec
import pytest

from dashd.wire import methods
from dashd.wire.methods import provider

ONE = {"name": "one", "format": "anthropic", "url": "https://one/v1"}


@pytest.mark.parametrize("more", [{}, {"secret": "sk"}, {"secret_command": ["pass", "x"]}, {"models": ["m"]}])
def test_it_takes(more):
    params = methods.METHODS["provider.add"].params
    decoded = msgspec.json.decode(msgspec.json.encode(ONE | more), type=params)
    assert msgspec.to_builtins(decoded) == ONE | more


@pytest.mark.parametrize(
    "more", [{"format": "x"}, {"secret": ""}, {"secret_command": []}, {"secret_file": "/x"}]
)
def test_it_refuses_without_repeating_what_was_given(more):
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(
            msgspec.json.encode({"secret": "sk-canary"} | ONE | more),
            type=methods.METHODS["provider.add"].params,
        )
    assert "sk-canary" not in str(refused.value)


def test_an_answer_says_where_a_secret_is_and_no_more():
    kind = msgspec.inspect.type_info(provider.Provider)
    (secret,) = [each for each in kind.fields if "secret" in each.name]
    assert set(secret.type.values) == {"file", "command", "none"}
