"""Cursors of list pages: opaque to the caller, checked when they come back."""

from dashd.wire import errors

INTEGER_MAX = 2**63 - 1
"""The largest that SQLite compares with."""


def number(cursor: str) -> int:
    """The cursor of a list in order of creation; empty is the beginning."""
    return _integer(cursor, cursor) if cursor else 0


def instant_and_id(cursor: str) -> tuple[int, str]:
    """The cursor of a list from new to old; empty is the beginning."""
    if not cursor:
        return 2**62, ""
    at_ms, _, found = cursor.partition(".")
    return _integer(at_ms, cursor), found


def _integer(digits: str, cursor: str) -> int:
    if not digits.isdecimal() or int(digits) > INTEGER_MAX:
        raise _foreign(cursor)
    return int(digits)


def _foreign(cursor: str) -> errors.InvalidParams:
    return errors.InvalidParams(
        f"{cursor!r} is not a cursor of this list",
        hint="pass next_cursor of the page before, or nothing",
        path="cursor",
    )
