"""Ids are short, speakable and say what they belong to."""

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import ids


@given(st.integers(min_value=0, max_value=2**ids.SWARM_ID_BITS - 1))
def test_a_swarm_id_has_six_letters_that_nobody_mishears(bits: int) -> None:
    made = ids.swarm_id(bits)
    assert len(made) == ids.SWARM_ID_LENGTH
    assert set(made) <= set(ids.ALPHABET)


def test_the_alphabet_leaves_out_what_is_taken_for_another() -> None:
    assert len(set(ids.ALPHABET)) == len(ids.ALPHABET) == 30
    assert not set("01iloIu") & set(ids.ALPHABET)
    assert len(ids.ALPHABET) ** ids.SWARM_ID_LENGTH <= 2**ids.SWARM_ID_BITS


def test_neighbouring_bits_give_different_ids() -> None:
    assert ids.swarm_id(0) == "222222"
    assert len({ids.swarm_id(bits) for bits in range(1000)}) == 1000


def test_what_belongs_to_a_swarm_begins_with_it() -> None:
    assert ids.agent_id("7k2m9q", 3) == "7k2m9q-003"
    assert ids.agent_id("7k2m9q", 1000) == "7k2m9q-1000"
    assert ids.task_id("7k2m9q", 12) == "7k2m9q-t12"
    assert ids.attempt_id("7k2m9q-t12", 2) == "7k2m9q-t12.2"
    assert ids.child_id("7k2m9q-003", 1) == "7k2m9q-003.1"
    assert ids.gateway_id("7k2m9q", 2) == "7k2m9q-g2"
    assert [ids.level(each) for each in ("7k2m9q-003", "7k2m9q-003.1", "7k2m9q-003.1.12")] == [0, 1, 2]


def test_a_checkpoint_is_told_from_all_others_by_how_it_begins() -> None:
    assert ids.checkpoint_id(0) == "c-222222"


def test_ids_are_known_by_their_shape() -> None:
    agents = [ids.agent_id("7k2m9q", number) for number in (1, 999, 1000)]
    assert all(ids.AGENT.fullmatch(each) for each in [*agents, "7k2m9q-003.1", "7k2m9q-003.1.12"])
    assert ids.GATEWAY.fullmatch(ids.gateway_id("7k2m9q", 12))
    for other in ("7k2m9q", "7k2m9q-3", "7k2m9q-003.", "7k2m9q-t12", "7k2m9q-g", "7k2m9-g1", "desk", ""):
        assert not ids.AGENT.fullmatch(other)
        assert not ids.GATEWAY.fullmatch(other)
