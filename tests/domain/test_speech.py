"""Wire formats in words."""

import typing

import pytest

from dashd.domain import speech
from dashd.proxy import formats


@pytest.mark.parametrize(
    ("several", "said"),
    [
        (["anthropic"], "anthropic"),
        (["openai-chat", "anthropic"], "openai-chat or anthropic"),
        (["a", "b", "c"], "a, b or c"),
    ],
)
def test_formats_in_words(several: list[str], said: str) -> None:
    assert speech.named(several) == said


def test_all_of_them_are_kept() -> None:
    assert set(typing.get_args(speech.FormatName)) == set(formats.FORMATS)
    assert speech.USUAL in formats.FORMATS
