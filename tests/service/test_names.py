"""Which names are refused, and that the refusal says what is right."""

import pytest

from dashd.service import names
from dashd.wire import errors


@pytest.mark.parametrize("name", ["a", "Editor of Anna", "gpt-5-mini", "org/model:free", "日本語", "é"])
def test_names(name):
    names.check("name", name)
    names.check_model("model", name)


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "\0", "a\nb", "\x1b[31m", "\u202e", "\u200b"])
def test_what_is_no_name(name):
    for check in (names.check, names.check_model):
        with pytest.raises(errors.InvalidParams, match="is no name") as refused:
            check("here", name)
        assert (refused.value.path, bool(refused.value.hint)) == ("here", True)


@pytest.mark.parametrize("name", ["a -> b", "->", '{"prefer": "cost"}'])
def test_a_chain_is_not_one_model(name):
    names.check("name", name)
    with pytest.raises(errors.InvalidParams, match="a chain or a wish"):
        names.check_model("model", name)
