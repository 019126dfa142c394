"""The parameters of `approval.*`."""

import msgspec
import pytest

from dashd.wire import methods


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"approvals":[],"decision":"allow"}',
        b'{"approvals":["ap1"],"decision":"maybe"}',
        b'{"approvals":["ap1"]}',
        b'{"approvals":"ap1","decision":"allow"}',
    ],
)
def test_what_is_no_decision(text):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=methods.METHODS["approval.resolve"].params)


def test_the_inbox_is_what_is_open():
    asked = msgspec.json.decode(b"{}", type=methods.METHODS["approval.list"].params)
    assert (asked.state, asked.before, asked.limit) == ("open", 0, 20)
