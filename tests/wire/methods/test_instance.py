"""What an instance's methods take."""

import msgspec
import pytest

from dashd.wire import methods

NEXT = {"name": "next", "program": "/p/cli.js"}


def decoded(given):
    return msgspec.json.decode(msgspec.json.encode(given), type=methods.METHODS["instance.add"].params)


@pytest.mark.parametrize("more", [{}, {"source": "gateway"}, {"capabilities": ["gpu"], "region": "eu"}])
def test_it_takes(more):
    assert msgspec.to_builtins(decoded(NEXT | more)) == NEXT | more


@pytest.mark.parametrize("more", [{"program": ""}, {"capacity": 0}, {"source": "own"}, {"version": "1"}])
def test_it_refuses(more):
    with pytest.raises(msgspec.ValidationError):
        decoded(NEXT | more)


def test_looking_changes_nothing():
    changing = {name for name, row in methods.METHODS.items() if name.startswith("instance.") and row.changes}
    assert changing == {"instance.add", "instance.drain", "instance.remove"}
