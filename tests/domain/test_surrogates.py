"""Half a character costs that character, and not the text that it stands in."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import surrogates

TEXTS = st.lists(
    st.sampled_from(
        ["\\", "u", "ud83d", "\\ud83d", "\ud83d", "\ude00", "😀", "\udbff", "\udc00", "x", '"', "\xff"]
    ),
    max_size=12,
).map("".join)


class Said(msgspec.Struct):
    """Something with a text in it, and something that is not looked at."""

    text: str
    more: msgspec.Raw = msgspec.Raw(b"null")


@given(TEXTS)
def test_it_reads_as_an_unknown_character(text: str) -> None:
    whole = json.loads(json.dumps(text))  # halves that stand side by side are one by now
    known = "".join("\ufffd" if 0xD800 <= ord(each) <= 0xDFFF else each for each in whole)
    data = json.dumps({"text": text, "more": {"text": text}})
    for each in (data, data.encode()):
        read = surrogates.decode(each, Said)
        assert read.text == known
        assert msgspec.json.decode(read.more) == {"text": known}


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"text": 1}', b'"\\ud83d', b'{"text": "\xff"}', b'"\\ud83d \xff\xff"',
     b'{"text": "\\ud83"}', b'"\\ud83d' + b" " * surrogates.BYTES_MAX + b'"'],
)  # fmt: skip
def test_anything_else_is_refused_as_before(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whichever msgspec raises
        surrogates.decode(data, Said)


@pytest.mark.parametrize(
    "kind", [b"\\", b"\\ud83d", b"\\ude00", b"\\\\ud83d", b'"\\ud83d', b"\\ud83d\\ude00"]
)
def test_it_takes_no_longer_than_its_length(kind: bytes) -> None:
    def took_s(count: int) -> float:
        data, took = b'{"a":"\\ud83d' + kind * (count // len(kind)), []
        for _ in range(3):
            begun = time.process_time()
            with pytest.raises(msgspec.DecodeError):
                surrogates.decode(data)
            took.append(time.process_time() - begun)
        return min(took)

    small = max(took_s(64_000), 1e-4)
    assert took_s(1_024_000) < 64 * small  # sixteen times the length


@pytest.mark.parametrize("data", [b"{no", b"[1]", b"[" * 5_000, b'{"a": "\xff"}'])
def test_whatever_cannot_be_read_is_one_thing_to_catch(data: bytes) -> None:
    with pytest.raises(surrogates.UNREADABLE):
        surrogates.decode(data, dict[str, str])
