"""Cursors of list pages: opaque to the caller, checked when they come back."""

from dashd.wire import errors


def number(cursor: str) -> int:
    """The cursor of a list in order of creation; empty is the beginning."""
    if not cursor:
        return 0
    if not cursor.isdecimal():
        raise _foreign(cursor)
    return int(cursor)


def instant_and_id(cursor: str) -> tuple[int, str]:
    """The cursor of a list from new to old; empty is the beginning."""
    if not cursor:
        return 2**62, ""
    at_ms, _, found = cursor.partition(".")
    if not at_ms.isdecimal():
        raise _foreign(cursor)
    return int(at_ms), found


def _foreign(cursor: str) -> errors.InvalidParams:
    return errors.InvalidParams(
        f"{cursor!r} is not a cursor of this list",
        hint="pass next_cursor of the page before, or nothing",
        path="cursor",
    )
