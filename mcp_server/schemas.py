"""Wire structs as a model sees them: slim JSON Schema, and arguments checked with our own words.

The types come from the method table alone. Nested structs are written flat (`limits.retries` is
`retries`), lengths and titles are left out of the listing (bytes there are paid in every session), and
descriptions are the docstrings below the struct's fields. Nothing is judged here that the types do not say.
"""

import ast
import difflib
import inspect
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import msgspec

from dashd.wire import errors, explain

SHOWN_CHARS_MAX = 60
"""How much of a wrong value an error repeats."""
Patches = Mapping[str, Mapping[str, Any]]
UNTOLD: Mapping[str, Any] = {"description": ""}
"""The patch of an argument whose name says enough."""
PLACE_MIN = 2**53
"""A bound above it is of a place in a list that only grows."""
_KEPT = ("type", "enum", "minimum", "maximum", "items", "default")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tool: `path` says where it goes in the parameters, `schema` is what models see."""

    name: str
    path: tuple[str, ...]
    type: Any
    required: bool
    schema: dict[str, Any]


def arguments(struct: type[msgspec.Struct], patches: Patches, left_out: frozenset[str]) -> list[Argument]:
    """The arguments that stand for `struct`, nested structs flattened; `patches` changes schemas by name."""
    return [found for found in _flatten(struct, patches, ()) if found.name not in left_out]


def _flatten(struct: type[msgspec.Struct], patches: Patches, path: tuple[str, ...]) -> Iterator[Argument]:
    docs = field_docs(struct)
    shown = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
    for field in msgspec.structs.fields(struct):
        where = (*path, field.encode_name)
        told = [part for part in _parts(field.type) if part not in (msgspec.UnsetType, type(None))]
        nested = told[0] if len(told) == 1 and _is_struct(told[0]) else None
        if nested is not None:
            yield from _flatten(nested, patches, where)
            continue
        schema = slim(shown[field.encode_name], field.type)
        if doc := docs.get(field.name, shown[field.encode_name].get("description")):
            schema["description"] = doc
        schema |= patches.get(field.name, {})
        if not schema.get("description", True):
            del schema["description"]
        yield Argument(field.name, where, field.type, field.required, schema)


def _parts(kind: object) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    return get_args(kind) or (kind,)


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def slim(schema: Mapping[str, Any], kind: object) -> dict[str, Any]:
    """The part of a JSON Schema that helps a model: no lengths, no titles, no empty defaults."""
    kept = {key: schema[key] for key in _KEPT if key in schema}
    if choices := _choices(kind):
        kept["enum"] = choices
        kept["type"] = "string"
    if "type" not in kept and any("$ref" in each for each in schema.get("anyOf", ())):
        kept["type"] = ["string", "object"]
    if "items" in kept:
        kept["items"] = {"type": kept["items"].get("type", "string")}
    for key in ("default", "minimum", "maximum"):
        if isinstance(kept.get(key), float) and kept[key].is_integer():
            kept[key] = int(kept[key])
    if kept.get("maximum", 0) > PLACE_MIN:
        del kept["maximum"]  # what the store can compare with, and no model ever types
    if "default" in kept and kept["default"] in ("", [], {}, False, None):
        del kept["default"]
    return kept


def _choices(kind: object) -> list[str]:
    """The values of a Literal in the order they were written; msgspec sorts them."""
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Literal:
            return list(get_args(part))
    return []


def field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The docstrings below the fields of `struct` and its parents, a line each; none without source."""
    found: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        if not _is_struct(owner) or owner is msgspec.Struct:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(owner))
        except (OSError, TypeError):
            continue
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def object_schema(items: list[Argument]) -> dict[str, Any]:
    """The `inputSchema` of a tool with these arguments."""
    schema: dict[str, Any] = {"type": "object", "properties": {item.name: item.schema for item in items}}
    if required := [item.name for item in items if item.required]:
        schema["required"] = required
    return schema | {"additionalProperties": False}


def result_schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """An `outputSchema` that names the fields of a result and their kinds, and promises no more."""
    shown = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
    return {"type": "object", "properties": {name: {"type": _kind(schema)} for name, schema in shown.items()}}


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        # Null is left out of answers, so a field that is there is of the other kind.
        return next(kind for kind in map(_kind, schema["anyOf"]) if kind != "null")
    if "enum" in schema:
        return "string"
    return "object" if "$ref" in schema else str(schema["type"])


def read(items: list[Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """The wire parameters for these arguments; null counts as not given.

    Raises InvalidParams naming everything that is wrong, what would be right, and the arguments there are.
    """
    given = {name: value for name, value in given.items() if value is not None}
    by_name = {item.name: item for item in items}
    wrong = [_unknown(name, by_name) for name in given if name not in by_name]
    missing = [item for item in items if item.required and item.name not in given]
    wrong += [f"{item.name} is missing: {describe(item)}" for item in missing]
    params: dict[str, Any] = {}
    for name, item in by_name.items():
        if name not in given:
            continue
        if complaint := _complaint(item, given[name]):
            wrong.append(complaint)
            continue
        inner = params
        for step in item.path[:-1]:
            inner = inner.setdefault(step, {})
        inner[item.path[-1]] = given[name]
    if wrong:
        names = ", ".join(item.name + (" (required)" if item.required else "") for item in items)
        raise errors.InvalidParams("; ".join(sorted(wrong)) + ".", hint=f"The arguments are: {names}.")
    return params


def _unknown(name: str, known: Mapping[str, Argument]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{_shown(name)} is not an argument" + (f"; did you mean {close[0]}?" if close else "")


def _complaint(item: Argument, value: object) -> str:
    """What is wrong with the value, or nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{item.name} must be {describe(item)}, not {value}"
    try:
        msgspec.convert(value, item.type)
        msgspec.json.encode(value)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        # msgspec ends its message with "- at `$[3]`" where the fault lies inside the value.
        _, _, place = str(error).partition(" - at `$")
        inside = f" (at {item.name}{place.rstrip('`')})" if place else ""
        return f"{item.name} must be {describe(item)}, not {_shown(value)}{inside}"
    return ""


def describe(item: Argument) -> str:
    """What the argument may be, in words: `an integer from 1 to 100`."""
    return explain.describe(msgspec.inspect.type_info(item.type))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}… ({type(value).__name__})"
