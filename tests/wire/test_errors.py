"""The tree of refusals keeps what its readers rely on."""

import pytest

from dashd.wire import errors


@pytest.mark.parametrize("kind", errors.BY_KIND.values(), ids=errors.BY_KIND)
def test_every_error_survives_the_wire(kind):
    sent = kind(hint="do this", path="a.b", data={"x": 1})
    wire = sent.to_wire()
    assert wire["message"].endswith(".")
    got = errors.from_wire(wire)
    assert type(got) is kind
    assert (got.message, got.hint, got.path, got.data) == (sent.message, "do this", "a.b", {"x": 1})


def test_codes_are_inside_their_range_and_one_category_each():
    by_code: dict[int, set[str]] = {}
    for kind in errors.BY_KIND.values():
        by_code.setdefault(kind.code, set()).add(kind.category)
        own = -32019 <= kind.code <= -32000 and kind.code != -32002
        assert own or kind.code in (-32700, -32600, -32601, -32602, -32800), kind
    assert all(len(categories) == 1 for categories in by_code.values()), by_code


def test_what_a_newer_daemon_says_is_still_an_error():
    error = errors.from_wire({"code": -32019, "message": "new", "data": {"kind": "Newer", "hint": "h"}})
    assert (type(error), error.message, error.hint) == (errors.DashError, "new", "h")
    assert errors.from_wire({"data": "nonsense"}).hint == ""
