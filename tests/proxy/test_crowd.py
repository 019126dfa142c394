"""Who gets a place at a listener that several agents share."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.proxy.caller import Refused
from dashd.proxy.crowd import AGAIN_S, CONNECTIONS_MAX, SHARED_MAX, Crowd
from dashd.proxy.ledger import Payer
from dashd.proxy.room import CALLS_MAX

AGENTS = [Payer(f"b{n}", "swarm1", f"a{n}") for n in range(3)]


def test_one_agent_has_as_many_calls_as_its_own_listener_would_have() -> None:
    crowd = Crowd()
    crowd.seat(len(AGENTS))
    with ExitStack() as under_way:
        for _ in range(CONNECTIONS_MAX):
            under_way.enter_context(crowd.one(AGENTS[0]))
        with (
            pytest.raises(Refused, match="64 calls of this agent are under way") as refused,
            crowd.one(AGENTS[0]),
        ):
            raise AssertionError("it was let in")
        assert (refused.value.status, refused.value.headers) == (503, {"retry-after": str(AGAIN_S)})
        for other in AGENTS[1:]:  # and each other one has what it is sure of
            for _ in range(CALLS_MAX):
                under_way.enter_context(crowd.one(other))
    with crowd.one(AGENTS[0]):
        pass


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=400))
def test_an_agent_with_few_calls_is_let_in_whatever_the_others_do(steps: list[tuple[int, bool]]) -> None:
    crowd = Crowd()
    crowd.seat(len(AGENTS))
    open_: list[list[ExitStack]] = [[] for _ in AGENTS]
    for number, begins in steps:
        if not begins:
            if open_[number]:
                open_[number].pop().close()
            continue
        call = ExitStack()
        try:
            call.enter_context(crowd.one(AGENTS[number]))
        except Refused:
            shared = sum(max(0, len(each) - CALLS_MAX) for each in open_)
            assert len(open_[number]) >= CALLS_MAX
            assert shared == SHARED_MAX
            continue
        open_[number].append(call)
    assert sum(map(len, open_)) < crowd.connections.total_tokens


def test_held_calls_of_all_agents_leave_places_for_all_that_share_them() -> None:
    crowd = Crowd()
    assert crowd.connections.total_tokens == CONNECTIONS_MAX
    for agents in (1, 100, 1_000, 2):
        crowd.seat(agents)
        assert crowd.connections.total_tokens - agents * CALLS_MAX == CONNECTIONS_MAX + SHARED_MAX


def test_programs_outside_are_told_apart_by_their_budgets() -> None:
    crowd = Crowd()
    outside = [Payer("key-a", None, None), Payer("key-b", None, None)]
    with ExitStack() as under_way:
        for _ in range(CONNECTIONS_MAX):
            under_way.enter_context(crowd.one(outside[0]))
        with crowd.one(outside[1]):
            pass
