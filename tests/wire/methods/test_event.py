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
