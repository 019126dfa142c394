"""Whatever is changed in a chain is found, and the first such row named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import chain

LINE = st.text(st.characters(exclude_characters="\n"), max_size=8)


def made(rows):
    links, head = [], chain.Head()
    for at, (actor, action, subject) in enumerate(rows, 1):
        fields = (at, at * 10, actor, action, subject, "{}")
        sealed = chain.seal(head.hash, *fields)
        links.append(chain.Link(*fields, head.hash, sealed))
        head = chain.Head(at, sealed)
    return links, head


CHAINS = st.lists(st.tuples(LINE, LINE, LINE), min_size=1, max_size=6).map(made)


@given(CHAINS)
def test_a_whole_chain_holds_to_its_end(found):
    links, head = found
    assert chain.walk(links, chain.Head()) == (head, None)


@given(CHAINS, st.data())
def test_any_change_of_any_field_is_found_at_its_row(found, data):
    links, _ = found
    at = data.draw(st.integers(0, len(links) - 1))
    name = data.draw(st.sampled_from(chain.Link._fields))
    value = getattr(links[at], name)
    other = value + 1 if isinstance(value, int) else value + "x"
    links[at] = links[at]._replace(**{name: other})
    reached, fault = chain.walk(links, chain.Head())
    assert reached.seq == at
    assert fault.seq == at + 1


@given(CHAINS, st.data())
def test_a_row_taken_out_of_the_middle_is_missed(found, data):
    links, _ = found
    if len(links) > 1:
        at = data.draw(st.integers(0, len(links) - 2))
        del links[at]
        assert chain.walk(links, chain.Head())[1] == chain.Fault(
            at + 1, f"row {at + 1} is missing; the next one is {at + 2}"
        )


@given(CHAINS, st.data())
def test_a_row_sealed_anew_breaks_the_next_one(found, data):
    links, _ = found
    at = data.draw(st.integers(0, len(links) - 1))
    changed = links[at]._replace(subject=links[at].subject + "!")
    links[at] = changed._replace(hash=chain.seal(changed.prev, *changed[:6]))
    _, fault = chain.walk(links, chain.Head())
    assert (fault and fault.seq) == (at + 2 if at + 1 < len(links) else None)


@given(CHAINS)
def test_a_head_is_read_as_it_was_written(found):
    assert chain.read_head(f" {found[1]}\n") == found[1]


@pytest.mark.parametrize(
    "text", ["", "1", ":", "1:", "x:" + "0" * 64, "1:" + "g" * 64, "1:" + "0" * 63, "²:" + "0" * 64]
)
def test_what_is_no_head(text):
    assert chain.read_head(text) is None


def test_the_hash_can_be_made_anywhere():
    """What `sha256sum` says of the seven fields, joined by newlines."""
    sealed = chain.seal(chain.GENESIS, 1, 2, "operator:uid-0", "swarm.create", "abc", '{"a":1}')
    assert sealed == "3e49ae643e5e56b48ce3ea13d54e686eecb9c621f1a78ed2a92776259ae125c8"
