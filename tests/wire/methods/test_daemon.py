"""What the daemon's methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_stop_detaches_by_default():
    assert decode("daemon.stop", b"{}").agents == "detach"
    assert decode("daemon.stop", b'{"agents":"stop"}').agents == "stop"


@pytest.mark.parametrize("params", [b'{"agents":"kill"}', b'{"agents":null}', b'{"now":true}'])
def test_stop_takes_nothing_else(params):
    with pytest.raises(msgspec.ValidationError):
        decode("daemon.stop", params)
