"""What a model sees of a struct, and arguments that are read against it."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from dashd.wire import errors
from mcp_server import schemas


class Inner(msgspec.Struct):
    """Nested."""

    depth: Annotated[float, Meta(ge=1, le=20)] = 2.0
    """How
    deep."""


class Outer(msgspec.Struct):
    """What a tool takes."""

    name: Annotated[str, Meta(min_length=1, max_length=5)]
    level: Literal["zeta", "alpha"] = "zeta"
    inner: Inner | msgspec.UnsetType = msgspec.UNSET
    words: list[Annotated[str, Meta(max_length=3)]] = []
    """Short ones."""
    secret: bool = False


class Derived(Outer):
    """Fields of the parent keep their docstrings."""

    more: Annotated[int, Meta(ge=0, description="from Meta")] = 0


ITEMS = schemas.arguments(Derived, {"name": {"description": "patched"}}, frozenset({"secret"}))


def test_the_schema_is_flat_slim_and_described():
    assert schemas.object_schema(ITEMS) == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "patched"},
            "level": {"type": "string", "enum": ["zeta", "alpha"], "default": "zeta"},
            "depth": {
                "type": "number",
                "minimum": 1,
                "maximum": 20,
                "default": 2,
                "description": "How deep.",
            },
            "words": {"type": "array", "items": {"type": "string"}, "description": "Short ones."},
            "more": {"type": "integer", "minimum": 0, "description": "from Meta"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }


def test_arguments_go_where_the_struct_wants_them_and_null_is_not_given():
    given = {"name": "n", "depth": 3, "words": None, "level": "alpha"}
    params = schemas.read(ITEMS, given)
    assert params == {"name": "n", "level": "alpha", "inner": {"depth": 3}}
    assert msgspec.convert(params, Outer).inner == Inner(depth=3)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "name is missing: a string of 1 to 5 characters"),
        ({"name": "n", "nam": 1}, "'nam' is not an argument; did you mean name?"),
        ({"name": "n", "qqq": 1}, "'qqq' is not an argument."),
        ({"name": "n", "inner": {}}, "'inner' is not an argument"),
        ({"name": "toolong"}, "name must be a string of 1 to 5 characters, not 'toolong'"),
        ({"name": "\ud800"}, "name must be a string"),
        ({"name": "n", "level": "beta"}, "not 'beta'"),
        ({"name": "n", "depth": float("nan")}, "depth must be a number from 1"),
        ({"name": "n", "depth": float("inf")}, "not inf"),
        ({"name": "n", "depth": True}, "not True"),
        ({"name": "n", "more": 1.5}, "more must be an integer of at least 0, not 1.5"),
        ({"name": "n", "words": ["ok", "tooo"]}, "(at words[1])"),
        ({"name": "n", "words": "one"}, "words must be a list"),
        ({"name": "n", "more": "9" * 500}, "… (str)"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(given, complaint):
    with pytest.raises(errors.InvalidParams) as caught:
        schemas.read(ITEMS, given)
    assert complaint in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint == "The arguments are: name (required), level, depth, words, more."


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(errors.InvalidParams) as caught:
        schemas.read(ITEMS, {"depth": 0, "more": -1})
    assert caught.value.message.count(";") == 2


def test_an_output_schema_names_kinds_and_promises_nothing():
    class Answer(msgspec.Struct):
        state: Literal["a", "b"]
        count: int | None
        inner: Inner

    assert schemas.result_schema(Answer) == {
        "type": "object",
        "properties": {
            "state": {"type": "string"},
            "count": {"type": "integer"},
            "inner": {"type": "object"},
        },
    }


def test_without_source_there_are_no_descriptions():
    made = msgspec.defstruct("Made", [("field", int)])
    assert schemas.field_docs(made) == {}


def test_a_struct_that_may_also_be_a_word_is_one_argument():
    class Holder(msgspec.Struct):
        either: str | Inner | msgspec.UnsetType = msgspec.UNSET

    (found,) = schemas.arguments(Holder, {}, frozenset())
    assert (found.name, found.schema["type"]) == ("either", ["string", "object"])
    assert schemas.read([found], {"either": "a"}) == {"either": "a"}
    with pytest.raises(errors.InvalidParams, match="either must be"):
        schemas.read([found], {"either": 5})
