"""The parameters of `session.*`."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, text):
    return msgspec.json.decode(text, type=methods.METHODS[method].params)


def test_the_defaults_are_the_latest_steps_of_where_it_goes_on():
    asked = decode("session.tree", b'{"session":"s-t1.1"}')
    assert (asked.limit, asked.checkpoint) == (200, msgspec.UNSET)
    assert decode("session.fork", b'{"session":"s-t1.1","task":"t"}').at is msgspec.UNSET


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("session.fork", b'{"session":"s"}'),
        ("session.fork", b'{"session":"s","task":""}'),
        ("session.fork", b'{"session":"s","task":"t","at":""}'),
        ("session.branch", b'{"session":"s","at":"x"}'),
        ("session.rewind", b'{"session":"s"}'),
        ("session.tree", b'{"session":"s","limit":1001}'),
        ("session.export", b'{"session":"s","format":"pdf"}'),
        ("session.list", b'{"limit":101}'),
        ("session.forget", b'{"session":"s"}'),
    ],
)
def test_what_is_refused(method, text):
    with pytest.raises(msgspec.ValidationError):
        decode(method, text)


def test_only_what_ends_an_agent_or_removes_a_copy_is_destructive():
    rows = [row for name, row in methods.METHODS.items() if name.startswith("session.")]
    assert {row.name for row in rows if row.destructive} == {
        "session.migrate",
        "session.terminate",
        "session.forget",
    }
