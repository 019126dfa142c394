"""Turns what msgspec says about wrong parameters into an InvalidParams that a person can act on.

It names the parameter by path, says what was wrong and, from the struct's own types, what would be right;
for a name or a choice that is nearly one of ours it asks "did you mean". Slow path only: nothing here runs
for a good request.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import inspect

from . import errors

_SHOWN_CHARACTERS_MAX: Final = 60
_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `\$?\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_CHOICE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_TYPE = re.compile(r"Expected `(?P<wanted>.*)`, got `(?P<got>.*)`")

# The first that occurs in msgspec's words decides, so lengths stand before amounts.
_BOUNDS: Final = {
    "length >=": "too short",
    "length <=": "too long",
    ">": "too small",
    "<": "too large",
}
_WORDS: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def invalid_params(params: type[msgspec.Struct], error: Exception) -> errors.InvalidParams:
    """What `error`, raised while decoding `params`, means for the caller."""
    if not isinstance(error, msgspec.ValidationError):
        return errors.InvalidParams(_unreadable(error))
    match = _PLACE.match(str(error))
    assert match is not None, "the pattern matches every text"
    problem, path = match["problem"], match["path"] or ""
    here = _type_at(inspect.type_info(params), path)
    if found := _UNKNOWN.fullmatch(problem):
        return _unknown_field(here, path, found[1])
    if found := _MISSING.fullmatch(problem):
        missing = _join(path, found[1])
        right = describe(_type_at(inspect.type_info(params), missing))
        return errors.InvalidParams(f"`{missing}` is missing.", path=missing, hint=f"It is {right}.")
    name = f"`{path}`" if path else "`params`"
    if found := _CHOICE.fullmatch(problem):
        return _wrong_choice(here, path, found[1])
    if found := _TYPE.fullmatch(problem):
        got = _WORDS.get(found["got"], found["got"])
        if not path:
            return errors.InvalidParams(
                f"`params` must be an object, not {got}.",
                hint='Parameters go by name: {"name": value}.',
            )
        return errors.InvalidParams(f"{name} may not be {got}.", path=path, hint=f"It is {describe(here)}.")
    fault = next((words for sign, words in _BOUNDS.items() if sign in problem), "not valid")
    return errors.InvalidParams(f"{name} is {fault}.", path=path, hint=f"It is {describe(here)}.")


def did_you_mean(wrong: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """A hint: the nearest of `known`, else the text `otherwise`."""
    import difflib  # only who is mistaken waits for it

    near = difflib.get_close_matches(wrong[:_SHOWN_CHARACTERS_MAX], list(known), n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else otherwise


def describe(kind: inspect.Type | None) -> str:
    """What a value of this type is, in words: "an integer from 1 to 100"."""
    match kind:
        case inspect.IntType():
            return "an integer" + _above(kind.gt) + _range(kind.ge, kind.le)
        case inspect.FloatType():
            return "a number" + _above(kind.gt) + _range(kind.ge, kind.le)
        case inspect.StrType():
            return "a string" + _length(kind.min_length, kind.max_length, "characters")
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType():
            return "a list" + _length(kind.min_length, kind.max_length, "entries")
        case inspect.LiteralType():
            return "one of " + ", ".join(map(str, kind.values))
        case inspect.StructType() | inspect.DictType():
            return "an object"
        case inspect.NoneType():
            return "null"
        case inspect.Metadata():
            return describe(kind.type)
        case inspect.UnionType():
            return " or ".join(describe(each) for each in kind.types)
        case _:
            return "a JSON value"


def _unreadable(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "The parameters are not valid UTF-8."
    if isinstance(error, RecursionError):
        return "The parameters are nested too deep."
    return "The parameters hold a string that is not valid Unicode (half of a surrogate pair)."


def _unknown_field(here: inspect.Type | None, path: str, field: str) -> errors.InvalidParams:
    known = [each.encode_name for each in here.fields] if isinstance(here, inspect.StructType) else []
    listed = f"Known: {', '.join(known)}." if known else "It takes no parameters."
    return errors.InvalidParams(
        f"There is no parameter `{_join(path, _short(field))}`.",
        path=_join(path, _short(field)),
        hint=did_you_mean(field, known, otherwise=listed),
    )


def _wrong_choice(here: inspect.Type | None, path: str, shown: str) -> errors.InvalidParams:
    choices = [str(value) for value in here.values] if isinstance(here, inspect.LiteralType) else []
    near = did_you_mean(shown.strip("'\""), choices)
    return errors.InvalidParams(
        f"`{path}` may not be {_short(shown)}.", path=path, hint=f"{near} It is {describe(here)}.".lstrip()
    )


def _type_at(kind: inspect.Type | None, path: str) -> inspect.Type | None:
    """The type of the value at a path such as `limits.retries` or `items[3]`; None where it is not known."""
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        kind = _plain(kind)
        if isinstance(kind, inspect.StructType):
            kind = next((each.type for each in kind.fields if each.encode_name == step), None)
        elif isinstance(kind, inspect.ListType):
            kind = kind.item_type
        elif isinstance(kind, inspect.DictType):
            kind = kind.value_type
        else:
            return None
    return _plain(kind)


def _plain(kind: inspect.Type | None) -> inspect.Type | None:
    return _plain(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _above(low: float | None) -> str:
    return f" above {_number(low)}" if low is not None else ""


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    if low is not None:
        return f" of at least {_number(low)}"
    return f" of at most {_number(high)}" if high is not None else ""


def _length(low: int | None, high: int | None, unit: str) -> str:
    if low and high is not None:
        return f" of {_number(low)} to {_number(high)} {unit}"
    if low:
        return f" of at least {_number(low)} {unit}"
    return f" of at most {_number(high)} {unit}" if high is not None else ""


def _number(value: float) -> str:
    return f"{value:,}"


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[:_SHOWN_CHARACTERS_MAX] + "…"
