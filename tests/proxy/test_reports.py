"""Events are capped, and counts are carried."""

import itertools
from typing import Any

import pytest
import trio
import trio.testing

from dashd.domain.budget import NUSD
from dashd.proxy.ledger import Payer
from dashd.proxy.prices import OFFLINE_PRICE
from dashd.proxy.registry import Candidate, Provider
from dashd.proxy.reports import EVERY_S, SUBJECTS_MAX, Reports
from dashd.store.holds import Settlement
from dashd.store.transaction import Operation

ONE, TWO = (Candidate(Provider(name, "openai-chat"), "m", OFFLINE_PRICE, 100) for name in ("one", "two"))
SETTLED = Settlement(NUSD // 2, 10, "usage")


def test_one_call_a_second_and_agent_with_the_counts_of_the_others():
    reports = Reports()
    mine, other = Payer("b", "s", "a-1"), Payer("b", "s", "a-2")
    (first,) = reports.call(0.0, mine, ONE, SETTLED, 0.25)
    assert first.kind == "model.call"
    assert (first.data["calls"], first.data["cost"], first.data["took_ms"]) == (1, 0.5, 250)
    assert reports.call(0.5, mine, ONE, SETTLED, 0.25) == []
    assert len(reports.call(0.5, other, ONE, SETTLED, 0.25)) == 1
    (second,) = reports.call(1.0, mine, ONE, SETTLED, 0.25)
    assert (second.data["calls"], second.data["tokens"], second.data["cost"]) == (2, 20, 1.0)


def test_failovers_are_capped_by_their_two_ends_and_their_swarm():
    reports, mine, theirs = Reports(), Payer("b", "s", "a-1"), Payer("c", "other", "o-1")
    assert len(reports.failover(0.0, mine, ONE, TWO, "down")) == 1
    assert reports.failover(0.1, mine, ONE, TWO, "down") == []
    assert len(reports.failover(0.1, mine, TWO, ONE, "down")) == 1
    assert len(reports.failover(0.1, theirs, ONE, TWO, "down")) == 1
    (told,) = reports.failover(2.0, mine, ONE, TWO, "w" * 999)
    assert told.data["calls"] == 2
    assert len(told.data["why"]) == 200


async def test_the_last_failovers_of_an_outage_are_said_when_it_is_over(autojump_clock: object):
    reports, told, mine = Reports(), Told("model.failover"), Payer("b", "s", "a-1", "t-1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.run, told.write)
        await trio.testing.wait_all_tasks_blocked()
        for why in ("down", "down", "still down"):
            reports.failover(trio.current_time(), mine, ONE, TWO, why)
        await trio.sleep(1_000)
        ((_, whose, data),) = told.events
        assert whose == {"swarm": "s", "agent": "a-1", "task": "t-1"}
        assert data == {"from": ONE.name, "to": TWO.name, "why": "still down", "calls": 2}
        assert len(reports._failovers) <= 1
        nursery.cancel_scope.cancel()


def test_the_counts_are_bounded():
    reports = Reports()
    for number in range(SUBJECTS_MAX + 10):
        reports.call(0.0, Payer(f"b{number}"), ONE, SETTLED, 0.0)
    assert len(reports._calls) == SUBJECTS_MAX


class Told:
    """What was written besides settlements, as (when, whose, data)."""

    def __init__(self, kind: str = "model.call") -> None:
        self.kind = kind
        self.events: list[tuple[float, dict[str, Any], dict[str, Any]]] = []
        self.writes = 0

    async def write(self, operation: Operation[None]) -> None:
        await trio.lowlevel.checkpoint()
        self.writes += 1
        operation(self)  # type: ignore[arg-type]  # all it does is to emit

    def emit(self, kind: str, *, data: dict[str, Any], **whose: Any) -> None:
        assert kind == self.kind
        self.events.append((trio.current_time(), whose, data))


def test_each_model_of_a_payer_has_an_entry_of_its_own():
    reports, mine = Reports(), Payer("b", "s", "a-1")
    for candidate in (ONE, TWO, ONE, TWO, TWO):
        reports.call(0.0, mine, candidate, SETTLED, 0.0)
    told = [reports.call(1.0, mine, candidate, SETTLED, 0.0)[0].data for candidate in (ONE, TWO)]
    assert [(each["provider"], each["calls"], each["cost"]) for each in told] == [
        ("one", 2, 1.0),
        ("two", 3, 1.5),
    ]


def test_a_program_outside_is_named_by_its_key_and_its_budget():
    outside = Payer("key-1", key_id="key-1", key_name="editor")
    (told,) = Reports().call(0.0, outside, ONE, SETTLED, 0.0)
    assert (told.data["budget"], told.data["key"], told.data["key_name"]) == ("key-1", "key-1", "editor")
    (agents,) = Reports().call(0.0, Payer("b", "s", "a-1"), ONE, SETTLED, 0.0)
    assert agents.data["budget"] == "b"
    assert "key" not in agents.data


@pytest.mark.parametrize("calls", [2, 5])
async def test_the_last_second_of_a_burst_is_said_when_it_is_over(autojump_clock: object, calls: int):
    reports, told, mine = Reports(), Told(), Payer("b", "s", "a-1", "t-1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.run, told.write)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        for _ in range(calls):
            reports.call(trio.current_time(), mine, ONE, SETTLED, 0.0)
        reports.call(trio.current_time(), Payer("b", "s", "a-2"), TWO, SETTLED, 0.0)
        await trio.sleep(1_000)
        ((at, whose, data),) = told.events
        assert EVERY_S <= at - began <= 2 * EVERY_S
        assert whose == {"swarm": "s", "agent": "a-1", "task": "t-1"}
        assert (data["calls"], data["cost"]) == (calls - 1, (calls - 1) / 2)
        assert told.writes == 1
        assert reports._calls.keys() <= {(mine, ONE.name)}
        nursery.cancel_scope.cancel()


async def test_nothing_is_said_twice_and_nothing_more_than_once_a_second(autojump_clock: object):
    reports, told, mine, at = Reports(), Told(), Payer("b"), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.run, told.write)
        calls = 0
        for _ in range(100):
            for each in reports.call(trio.current_time(), mine, ONE, SETTLED, 0.0):
                at.append(trio.current_time())
                calls += each.data["calls"]
            await trio.sleep(0.07)
        await reports.flush(told.write)
        nursery.cancel_scope.cancel()
    assert calls + sum(data["calls"] for _, _, data in told.events) == 100
    times = sorted(at + [when for when, _, _ in told.events])
    assert all(later - earlier >= EVERY_S for earlier, later in itertools.pairwise(times[:-1]))


async def test_a_stop_says_the_rest_at_once():
    reports, told = Reports(), Told()
    for _ in range(3):
        reports.call(trio.current_time(), Payer("b"), ONE, SETTLED, 0.0)
    await reports.flush(told.write)
    assert [data["calls"] for _, _, data in told.events] == [2]
    await reports.flush(told.write)
    assert told.writes == 1
