"""In which format a chain is called by whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.prices import Price
from dashd.proxy import ways
from dashd.proxy.registry import Candidate, Provider

PRICE = Price(1, 4, 1, 1, 0, "today", "config")
CHAT, RESPONSES, CLAUDE = "openai-chat", "openai-responses", "anthropic"
BOTH = (CHAT, CLAUDE)
PROVIDERS = {
    each.name: each
    for each in (
        Provider("chat", CHAT),
        Provider("claude", CLAUDE),
        Provider("responses", RESPONSES),
        Provider("offline", "offline"),
    )
}


def chain(*names: str) -> list[Candidate]:
    """Each `provider/model`."""
    found = [name.split("/") for name in names]
    return [Candidate(PROVIDERS[provider], model, PRICE, 100) for provider, model in found]


@pytest.mark.parametrize(
    ("names", "speaks", "form", "left_out"),
    [
        (["chat/a"], BOTH, CHAT, []),
        (["claude/a"], BOTH, CLAUDE, []),
        (["claude/a"], (CLAUDE, CHAT), CLAUDE, []),
        (["offline/a"], BOTH, CHAT, []),  # the stand-in speaks all
        (["offline/a", "claude/b"], BOTH, CLAUDE, []),  # all of it rather than what is preferred
        (["claude/a", "chat/a", "chat/b"], BOTH, CHAT, ["claude/a"]),  # every model, if not every provider
        (["claude/a", "chat/b"], BOTH, CLAUDE, ["chat/b"]),  # who is to be asked first
        (["chat/a", "claude/b"], BOTH, CHAT, ["claude/b"]),
        (["claude/a", "chat/b"], (CHAT,), CHAT, ["claude/a"]),
        (["responses/a", "claude/b"], BOTH, CLAUDE, ["responses/a"]),
        (["responses/a", "claude/b"], (), CHAT, []),  # nobody knows what they speak
    ],
)
def test_a_way(names: list[str], speaks: tuple, form: str, left_out: list[str]) -> None:
    found = ways.find(chain(*names), speaks)
    assert found is not None
    assert (found.format, [each.name for each in found.left_out]) == (form, left_out)
    assert [each.name for each in found.called] == [name for name in names if name not in left_out]


def test_there_may_be_none() -> None:
    assert ways.find(chain("claude/a", "responses/b"), (CHAT,)) is None


@given(
    st.lists(st.tuples(st.sampled_from(sorted(PROVIDERS)), st.sampled_from("ab")), min_size=1, unique=True),
    st.lists(st.sampled_from([CHAT, RESPONSES, CLAUDE]), min_size=1, unique=True),
)
def test_who_is_called_is_served_in_it_and_nobody_else_is(names, speaks) -> None:
    given_chain = chain(*("/".join(each) for each in names))
    found = ways.find(given_chain, speaks)
    if found is None:
        assert not any(each.serves(form) for each in given_chain for form in speaks)
        return
    assert found.format in speaks
    assert found.called
    assert list(found.called) == [each for each in given_chain if each.serves(found.format)]
    assert list(found.left_out) == [each for each in given_chain if not each.serves(found.format)]
