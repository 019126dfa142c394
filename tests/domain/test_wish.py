"""A model by what it must be: as a value and as text, there and back, and what is no wish."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import wish
from dashd.domain.wish import Wish
from dashd.wire import errors
from dashd.wire.methods.table import ModelWish


@given(
    st.builds(
        Wish,
        st.lists(st.text(min_size=1, max_size=20), max_size=5).map(tuple),
        st.sampled_from(["cost", "latency", "quality"]),
        st.none() | st.floats(0, 10_000),
        st.booleans(),
    )
)
def test_there_and_back(wished):
    text = wish.text(wished)
    assert wish.is_wish(text)
    assert wish.parse(text) == wished


def test_the_most_that_a_token_may_cost():
    assert Wish(cost_limit=0.6).cost_limit_nusd == 600
    assert Wish().cost_limit_nusd is None


@pytest.mark.parametrize(
    "text", ["{", "{}x", '{"prefer": "luck"}', '{"cost_limit": -1}', '{"m": 1}', "{" * 9_999]
)
def test_what_is_none_is_refused_with_what_would_be_one(text):
    with pytest.raises(errors.InvalidParams) as refused:
        wish.parse(text)
    assert "cost|latency|quality" in refused.value.hint
    assert refused.value.path == "model"


@pytest.mark.parametrize("name", ["offline", "a -> b", "", "[1]"])
def test_names_are_no_wishes(name):
    assert not wish.is_wish(name)


def test_the_wire_says_the_same():
    assert set(ModelWish.__struct_fields__) == set(Wish.__struct_fields__)
    for name in Wish.__struct_fields__:
        told = msgspec.to_builtins(getattr(ModelWish(), name))
        assert (told or None) == (msgspec.to_builtins(getattr(Wish(), name)) or None)
