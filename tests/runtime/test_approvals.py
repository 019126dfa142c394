"""Deadlines and those who wait, on a clock that jumps."""

from types import SimpleNamespace

import pytest
import trio
import trio.testing

from dashd.domain.gates import Gate
from dashd.runtime import approvals
from dashd.store import approvals as rows
from dashd.store import decisions, gates

SOON = Gate("soon", "tool", "", 0, "ask", "operator", False, 60.0, "deny")
QUESTION = decisions.Question(kind="tool", what="run bash", asked_by="aaaaaa-001", ref="r1")


class Ticking:
    """The time of the rows, moved by trio's own."""

    def __init__(self, clock):
        self._clock = clock
        self._began = (trio.current_time(), clock.now_ms())

    def now_ms(self):
        at, ms = self._began
        self._clock.at_ms = ms + round((trio.current_time() - at) * 1_000)
        return self._clock.at_ms


@pytest.fixture
async def world(inline_store, clock):
    ticking = Ticking(clock)

    async def commit(operation):
        ticking.now_ms()
        return await inline_store.writer.apply(operation)

    inline_store.do(lambda tx: gates.put(tx, SOON))
    return SimpleNamespace(store=inline_store, clock=ticking, commit=commit)


async def test_who_asks_hears_the_decision(world, autojump_clock, nursery):
    found = []

    async def wait():
        found.append((await approvals.ask(world, QUESTION)).verdict)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    row = rows.get(world.store.db, "ap1")
    assert (row.state, found) == ("open", [])
    await world.commit(lambda tx: decisions.decide(tx, row, "allow", "me", ""))
    await trio.testing.wait_all_tasks_blocked()
    assert found == ["allow"]


async def test_without_a_gate_nobody_waits(world, autojump_clock):
    world.store.do(lambda tx: gates.remove(tx, "soon"))
    assert (await approvals.ask(world, QUESTION)).verdict == "allow"


async def test_a_deadline_decides_without_a_tick(world, autojump_clock, nursery):
    nursery.start_soon(approvals.run, world)
    began = trio.current_time()
    await trio.testing.wait_all_tasks_blocked()
    reads = world.store.own.reads
    asked = await approvals.ask(world, QUESTION)
    assert (asked.verdict, asked.approval.decided_by) == ("deny", "deadline")
    assert trio.current_time() - began == pytest.approx(60.0, abs=0.01)
    assert world.store.own.reads - reads < 12
    nursery.cancel_scope.cancel()


async def test_what_came_due_while_nobody_looked_is_decided_at_the_first_look(world, autojump_clock, nursery):
    await world.commit(lambda tx: decisions.ask(tx, QUESTION))
    await trio.sleep(1_000)
    nursery.start_soon(approvals.run, world)
    await trio.testing.wait_all_tasks_blocked()
    assert rows.get(world.store.db, "ap1").state == "denied"
    assert (await approvals.ask(world, QUESTION)).verdict == "deny", "asked again, it has its answer"
    nursery.cancel_scope.cancel()


async def test_a_waiter_that_was_cancelled_finds_its_request_again(world, autojump_clock):
    with trio.move_on_after(5):
        await approvals.ask(world, QUESTION)
    row = rows.get(world.store.db, "ap1")
    assert row.state == "open"
    await world.commit(lambda tx: decisions.decide(tx, row, "allow", "me", ""))
    assert (await approvals.ask(world, QUESTION)).verdict == "allow"


async def test_an_agent_that_has_ended_is_not_allowed_anything(world, autojump_clock, nursery):
    found = []

    async def wait():
        found.append((await approvals.ask(world, QUESTION)).verdict)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    row = rows.get(world.store.db, "ap1")
    await world.commit(lambda tx: rows.close(tx, row, "withdrawn", "dashd", "its attempt is over"))
    await trio.testing.wait_all_tasks_blocked()
    assert found == ["deny"]
