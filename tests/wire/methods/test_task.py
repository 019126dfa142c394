"""What a task's methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_a_list_has_pages():
    assert decode("task.list", b"{}").limit == 20
    with pytest.raises(msgspec.ValidationError):
        decode("task.list", b'{"limit":101}')


def test_states_are_known_words():
    assert decode("task.list", b'{"states":["dead","ready"]}').states == ["dead", "ready"]
    with pytest.raises(msgspec.ValidationError):
        decode("task.list", b'{"states":["done"]}')


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("task.list", {"swarm": "s", "states": ["dead", "retrying"], "limit": 1, "cursor": "5"}),
        ("task.get", {"task": "t"}),
        ("task.cancel", {"task": "t"}),
        ("task.retry", {"task": "t"}),
    ],
)
def test_it_takes(method: str, params: dict) -> None:
    decoded = decode(method, msgspec.json.encode(params))
    for name, value in params.items():
        assert msgspec.to_builtins(getattr(decoded, name)) == value
    # What was left out is left out again on its way to a daemon.
    assert set(msgspec.to_builtins(decoded)) <= set(params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("task.list", {"states": ["failed"]}),
        ("task.list", {"cursor": "x" * 65}),
        ("task.get", {}),
        ("task.get", {"task": 5}),
        ("task.cancel", {"task": "t", "force": True}),
    ],
)
def test_it_refuses(method: str, params: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(method, msgspec.json.encode(params))
