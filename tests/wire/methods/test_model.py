"""What a model's methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(msgspec.json.encode(params), type=methods.METHODS[method].params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("model.list", {"provider": "one"}),
        ("model.get", {"model": "m"}),
        ("model.set", {"model": "m", "aliases": [], "input_usd_per_mtok": 0.0, "output_usd_per_mtok": 2.5}),
        ("model.set", {"model": "a -> b", "aliases": ["fast"]}),
    ],
)
def test_it_takes(method, params):
    assert msgspec.to_builtins(decode(method, params)) == params


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("model.get", {}),
        ("model.set", {"model": "m", "input_usd_per_mtok": -1}),
        ("model.set", {"model": "m", "context_tokens": 0}),
        ("model.set", {"model": "m", "aliases": [""]}),
        ("model.list", {"all": True}),
    ],
)
def test_it_refuses(method, params):
    with pytest.raises(msgspec.ValidationError):
        decode(method, params)
