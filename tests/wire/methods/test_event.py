"""What the events' methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_list_starts_at_the_beginning_and_subscribe_now():
    assert decode("event.list", b"{}").since == 0
    assert decode("event.subscribe", b"{}").since is msgspec.UNSET


@pytest.mark.parametrize(
    "params",
    [b'{"since":-1}', b'{"limit":0}', b'{"limit":1001}', b'{"timeout_s":3601}', b'{"kinds":"task.*"}'],
)
def test_wait_has_bounds(params):
    with pytest.raises(msgspec.ValidationError):
        decode("event.wait", params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("event.list", {"since": 5, "swarm": "s", "kinds": ["task.*"], "attention": True, "limit": 1_000}),
        ("event.wait", {"since": 5, "timeout_s": 3_600.0}),
        ("event.subscribe", {"since": 7, "kinds": ["*"]}),
        ("event.unsubscribe", {"subscription": 1}),
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
        ("event.list", {"since": -1}),
        ("event.list", {"limit": 0}),
        ("event.list", {"limit": 1_001}),
        ("event.list", {"kinds": [""]}),
        ("event.list", {"kinds": ["task.*"] * 51}),
        ("event.list", {"timeout_s": 5}),
        ("event.wait", {"timeout_s": -1}),
        ("event.wait", {"timeout_s": 3_601}),
        ("event.subscribe", {"limit": 5}),
        ("event.unsubscribe", {}),
    ],
)
def test_it_refuses(method: str, params: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(method, msgspec.json.encode(params))


def test_without_a_cursor_a_list_begins_at_the_beginning_and_a_subscription_now() -> None:
    assert decode("event.list", b"{}").since == 0
    assert decode("event.subscribe", b"{}").since is msgspec.UNSET
