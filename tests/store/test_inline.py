"""The store without threads does what the real one does, as far as other tests rest on it."""

import dataclasses
from pathlib import Path
from typing import get_args

import pytest
import trio

from dashd.store import Store, Tx, open_store, transaction
from dashd.wire import errors
from tests.fakes.clock import FixedClock
from tests.fakes.inline import InlineStore


@pytest.fixture(params=["inline", "real"])
async def any_store(request: pytest.FixtureRequest, database_path: Path, clock: FixedClock):
    with trio.fail_after(20):
        if request.param == "inline":
            inline = InlineStore(database_path, clock)
            yield inline
            inline.close()
        else:
            async with open_store(database_path, clock) as real:
                yield real


def _raise_epoch(tx: Tx) -> int:
    tx.execute("UPDATE daemon SET epoch = epoch + 1")
    tx.ring("queue")
    return tx.emit("system.alert", data={"at": tx.now_ms})


def _epoch(db) -> int:
    return int(db.execute("SELECT epoch FROM daemon").get)


async def test_an_operation_is_answered_after_bells_and_tail(any_store: Store, clock: FixedClock) -> None:
    events, queue, agents = (
        any_store.bells.events.ticket(),
        any_store.bells.queue.ticket(),
        any_store.bells.agents.ticket(),
    )
    assert await any_store.writer.apply(_raise_epoch) == 1
    assert any_store.tail.last_seq == 1
    await events.wait()
    await queue.wait()
    assert not agents.is_set()
    assert await any_store.reader.read(_epoch) == 1


async def test_an_operation_that_raises_leaves_nothing(any_store: Store) -> None:
    def refused(tx: Tx) -> None:
        _raise_epoch(tx)
        raise errors.Conflict("no")

    ticket = any_store.bells.queue.ticket()
    with pytest.raises(errors.Conflict, match="no"):
        await any_store.writer.apply(refused)
    assert not ticket.is_set()
    assert any_store.tail.last_seq == 0
    assert await any_store.reader.read(_epoch) == 0


async def test_a_query_that_raises_leaves_the_reader_working(any_store: Store) -> None:
    def refused(db) -> None:
        raise errors.NotFound("no")

    with pytest.raises(errors.NotFound):
        await any_store.reader.read(refused)
    assert await any_store.reader.read(_epoch) == 0


async def test_a_cancelled_caller_has_changed_nothing_before_it_was_queued(any_store: Store) -> None:
    with trio.CancelScope() as scope:
        scope.cancel(reason="the test says so")
        await any_store.writer.apply(_raise_epoch)
    assert scope.cancelled_caught
    assert await any_store.reader.read(_epoch) == 0


@pytest.mark.parametrize("name", get_args(transaction.BellName))
async def test_every_bell_that_an_operation_can_ring_is_rung(any_store: Store, name: str) -> None:
    bells = any_store.bells
    tickets = {each.name: getattr(bells, each.name).ticket() for each in dataclasses.fields(bells)}
    await any_store.writer.apply(lambda tx: tx.ring(name))
    assert {each for each, ticket in tickets.items() if ticket.is_set()} == {name}
