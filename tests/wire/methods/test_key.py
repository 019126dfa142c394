"""What a key's methods take, and that a secret is in one kind of answer alone."""

import msgspec
import pytest

from dashd.wire import methods
from dashd.wire.methods import key


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"limit_usd": None},
        {"limit_usd": 0},
        {"expires_in_s": 1},
        {"tokens_per_day": 0},
        {"kind": "operator"},
    ],
)
def test_it_takes(more):
    params = methods.METHODS["key.create"].params
    assert msgspec.json.decode(msgspec.json.encode({"name": "x"} | more), type=params).name == "x"


@pytest.mark.parametrize(
    "more", [{"name": ""}, {"kind": "root"}, {"limit_usd": -1}, {"expires_in_s": 0}, {"requests_per_day": -1}]
)
def test_it_refuses(more):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(
            msgspec.json.encode({"name": "x"} | more), type=methods.METHODS["key.create"].params
        )


def test_only_what_makes_a_secret_shows_one():
    for name in ("KeyInfo", "KeyList", "KeyChanged"):
        kind = msgspec.inspect.type_info(getattr(key, name))
        assert not [each for each in kind.fields if each.name in ("secret", "hash")]
