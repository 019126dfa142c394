"""Cursors come back as they were given, or are refused."""

import pytest

from dashd.service import pages
from dashd.wire import errors


def test_the_beginning() -> None:
    assert pages.number("") == 0
    at_ms, found = pages.instant_and_id("")
    assert at_ms > 10**15
    assert found == ""


def test_what_was_given_comes_back() -> None:
    assert pages.number("17") == 17
    assert pages.instant_and_id("1795168800000.7k2m9q") == (1_795_168_800_000, "7k2m9q")


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", " 1", "9" * 64, "²"])
def test_a_foreign_number_is_refused(cursor: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        pages.number(cursor)
    assert (caught.value.path, "next_cursor" in caught.value.hint) == ("cursor", True)


@pytest.mark.parametrize("cursor", ["x", ".7k2m9q", "-1.a", "9" * 40 + ".a"])
def test_a_foreign_instant_is_refused(cursor: str) -> None:
    with pytest.raises(errors.InvalidParams):
        pages.instant_and_id(cursor)
