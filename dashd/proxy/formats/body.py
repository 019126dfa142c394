"""Reads a request body as one JSON object, within bounds, and the pieces that every format has.

Whatever is not shaped as it should be becomes a CallRefused that says what would pass; nothing a caller sends
raises anything else. Messages quote a caller's text short and printable.
"""

from typing import Any, NoReturn

from dashd.domain import surrogates
from dashd.proxy.formats.format import CallRefused
from dashd.wire import safe

BODY_BYTES_MAX = 32 * 1024 * 1024
DEPTH_MAX = 128
COMMAS_MAX = 2_000_000
"""In text or between values: more than any conversation has, few enough to read in some 30 ms."""
CONTAINERS_MAX = 100_000
"""Objects and lists: each is looked at, so this bounds how long a hostile body can hold up everybody."""
NAME_CHARS_MAX = 200
_SHOWN_CHARS_MAX = 60


def decode(body: bytes) -> dict[str, Any]:
    """The body's object, its top-level nulls left out (null is how clients say "not set"). Raises
    CallRefused.
    """
    if len(body) > BODY_BYTES_MAX:
        malformed(f"the body has {len(body)} bytes", f"at most {BODY_BYTES_MAX} pass")
    if body.count(b",") > COMMAS_MAX:
        malformed("the body holds too many values", f"at most {COMMAS_MAX} pass")
    try:
        value = surrogates.decode(body)
    except RecursionError:
        _too_deep()
    except ValueError as error:
        malformed(f"the body is not JSON ({error})", "send one JSON object in UTF-8")
    if not isinstance(value, dict):
        malformed("the body is not a JSON object", "send one JSON object")
    _check_shape(value)
    return {name: part for name, part in value.items() if part is not None}


def model(body: dict[str, Any]) -> str:
    """The model that is asked for."""
    name = body.get("model")
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        malformed("there is no model", 'name one, as in "model": "NAME"', path="model")
    return name


def flag(body: dict[str, Any], name: str) -> bool:
    """A field that is true, false or absent."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        malformed("neither true nor false", "send true or false", path=name)
    return value


def token_limit(body: dict[str, Any], *names: str) -> int | None:
    """The smallest of these limits that is given."""
    given = []
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not int or value < 1:
            malformed("not a whole number of tokens", "send a number from 1 on, or leave it out", path=name)
        given.append(value)
    return min(given, default=None)


def entries(value: object, path: str) -> list[Any]:
    """A list, or CallRefused."""
    if not isinstance(value, list):
        malformed("not a list", "send a list", path=path)
    return value


def fields(value: object, path: str) -> dict[str, Any]:
    """An object, or CallRefused."""
    if not isinstance(value, dict):
        malformed("not an object", "send an object", path=path)
    return value


def shown(value: object) -> str:
    """A caller's own text, fit for a message: short, printable, quoted."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = value if isinstance(value, str) else str(value)
    return f"'{safe.line(text[:_SHOWN_CHARS_MAX])}{'…' if len(text) > _SHOWN_CHARS_MAX else ''}'"


def malformed(message: str, hint: str, *, path: str = "") -> NoReturn:
    """Refuses what is not shaped as its format says."""
    raise CallRefused("malformed", message, hint=hint, path=path)


def _too_deep() -> NoReturn:
    malformed("the body is nested too deeply", f"at most {DEPTH_MAX} levels pass")


def _check_shape(value: object) -> None:
    level = [value]
    containers = 0
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
        containers += len(level)
        if containers > CONTAINERS_MAX:
            malformed("the body holds too many objects and lists", f"at most {CONTAINERS_MAX} pass")
    _too_deep()
