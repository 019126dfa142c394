"""Text that attacks a terminal, answers of dashd full of it, and what may be shown of it: nothing."""

import re
import unicodedata
from typing import Any

import msgspec
from hypothesis import strategies as st

from dashd.wire import errors

ATTACKS = (
    *(chr(code) for code in range(0x20) if chr(code) not in "\n\t\r"),
    *(chr(code) for code in range(0x7F, 0xA0)),
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x1b\\",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x1b_apc\x1b\\",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x9d52;c;x\x9c",
    "\u202e\u2066\u200e\u200f\u061c",
    "\u200b\u200d\u2060\ufeff\u00ad",
    "\u2028\u2029",
    "\U000e0041\U000e0001",
    "\ud800\udfff",
)
HOSTILE = st.lists(st.one_of(st.sampled_from(ATTACKS), st.text(max_size=5)), max_size=12).map("".join)
# What Dash itself puts there: colours by number, and the erasing of a passing line.
OURS = re.compile(r"\x1b\[(?:0|1|2|3[1-6])m|\r\x1b\[K")
EVERYTHING = "".join(ATTACKS)
"""Ends with two halves of a surrogate pair, which JSON cannot carry in UTF-8."""


def offending(shown: str) -> set[str]:
    """Characters that a terminal, or a reader, could be fooled by."""
    return {
        character
        for character in OURS.sub("", shown)
        if character not in "\n\t"
        and (
            not character.isprintable()
            or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        )
    }


def poisoned(answer: Any) -> Any:
    """The same answer, with an attack at the end of each text that may hold one."""
    if isinstance(answer, errors.DashError):
        return type(answer)(answer.message + EVERYTHING[:-2], hint=answer.hint + EVERYTHING[:-2])
    kind = type(answer)
    plain = msgspec.to_builtins(answer)

    def texts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if isinstance(value, str):
            return [path]
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        return [found for name, each in inner for found in texts(each, (*path, name))]

    for path in texts(plain):
        if path[-1] == "next_cursor":
            continue  # goes back to dashd, and to no terminal
        holder = plain
        for step in path[:-1]:
            holder = holder[step]
        before = holder[path[-1]]
        holder[path[-1]] = before + EVERYTHING[:-2]
        try:
            msgspec.convert(plain, kind)
        except msgspec.ValidationError:
            holder[path[-1]] = before  # a word of a fixed set: dashd itself could not send another
    return msgspec.convert(plain, kind)


def made(kind: Any) -> Any:
    """The least value of a wire type, with one entry in each list and a text in each text."""
    return msgspec.convert(least(msgspec.inspect.type_info(kind)), kind)


def least(kind: Any) -> Any:
    if isinstance(kind, msgspec.inspect.StructType):
        return {field.encode_name: least(field.type) for field in kind.fields}
    if isinstance(kind, msgspec.inspect.UnionType):
        return least(next(each for each in kind.types if not isinstance(each, msgspec.inspect.NoneType)))
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return [least(kind.item_type)]
    if isinstance(kind, msgspec.inspect.DictType):
        return {}
    if isinstance(kind, msgspec.inspect.LiteralType):
        return kind.values[0]
    if isinstance(kind, msgspec.inspect.StrType):
        return "x"
    if isinstance(kind, msgspec.inspect.BoolType):
        return False
    return 1
