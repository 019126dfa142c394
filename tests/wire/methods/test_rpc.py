"""What the door's own methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_hello_names_a_client():
    hello = decode("rpc.hello", b'{"client":"dash-mcp"}')
    assert (hello.client, hello.key) == ("dash-mcp", msgspec.UNSET)


@pytest.mark.parametrize("params", [b"{}", b'{"client":""}', b'{"client":"x","key":""}'])
def test_hello_is_strict(params):
    with pytest.raises(msgspec.ValidationError):
        decode("rpc.hello", params)
