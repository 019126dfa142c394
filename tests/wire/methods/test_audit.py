"""The parameters of `audit.*`."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, text):
    return msgspec.json.decode(text, type=methods.METHODS[method].params)


def test_the_defaults_ask_for_the_newest():
    asked = decode("audit.list", b"{}")
    assert (asked.before, asked.limit, asked.action, asked.actor, asked.subject) == (0, 20, "", "", "")
    assert decode("audit.verify", b"{}").head is msgspec.UNSET


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("audit.list", b'{"limit":0}'),
        ("audit.list", b'{"limit":101}'),
        ("audit.list", b'{"before":-1}'),
        ("audit.export", b'{"limit":2001}'),
        ("audit.verify", b'{"seq":1}'),
    ],
)
def test_what_is_refused(method, text):
    with pytest.raises(msgspec.ValidationError):
        decode(method, text)


def test_none_of_them_changes_anything():
    assert not [name for name, row in methods.METHODS.items() if name.startswith("audit.") and row.changes]
