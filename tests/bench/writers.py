"""Fifty tasks that each wait for a durable write, against one FULL commit after another; loop stall."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import apsw
import trio

from dashd import store
from dashd.clock import Clock
from dashd.store import database
from dashd.store.opening import Store
from dashd.store.transaction import Tx

from . import measure
from .baselines.commits import UPDATE, InlineCommits
from .bed import Bed
from .measure import Figure

WRITERS = 50
TICK_S = 0.001


def run(bed: Bed) -> Iterator[Figure]:
    """Writes a second, and the lateness of a 1 ms tick beside them."""
    rates: list[tuple[float, float]] = []
    stalls: list[tuple[float, float]] = []
    folder = bed.place("writers")
    with contextlib.closing(empty_database(folder / "inline.db")) as db:
        trio.run(_measure, bed, folder / "dash.db", InlineCommits(db), rates, stalls)
    yield measure.compared("writers.50_full", "writes/s", "ratio >= 10", rates)
    yield measure.compared("writers.loop_stall_p99", "us late", "ratio <= 2", stalls)


def empty_database(path: Path) -> apsw.Connection:
    """A new migrated database, opened as the writer opens its own."""

    async def make() -> None:
        async with store.open_store(path, Clock()):
            pass

    trio.run(make)
    return database.connect(path)


async def _measure(
    bed: Bed,
    path: Path,
    inline: InlineCommits,
    rates: list[tuple[float, float]],
    stalls: list[tuple[float, float]],
) -> None:
    each, count = bed.effort.count(200), bed.effort.count(500)
    async with store.open_store(path, Clock()) as opened:
        await _fifty(opened, each)
        for _ in range(bed.effort.rounds):
            took_s, late_us = await _beside_a_tick(partial(_fifty, opened, each))
            _, idle_us = await _beside_a_tick(partial(trio.sleep, max(took_s, 20 * TICK_S)))
            inline_s = measure.seconds(partial(_repeat, inline.write, count))
            rates.append((WRITERS * each / took_s, count / inline_s))
            stalls.append((late_us, idle_us))


def _repeat(call: Callable[[], None], count: int) -> None:
    for _ in range(count):
        call()


async def _fifty(opened: Store, each: int) -> None:
    async def one() -> None:
        for _ in range(each):
            await opened.writer.apply(_write)

    async with trio.open_nursery() as nursery:
        for _ in range(WRITERS):
            nursery.start_soon(one)


def _write(tx: Tx) -> None:
    tx.execute(UPDATE, (1,))
    tx.emit("agent.status", swarm="a", data={"state": "idle"})


async def _beside_a_tick(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """(seconds the work took, p99 of the tick's lateness in microseconds)."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            late.append((trio.current_time() - due) * 1e6)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        begun = time.perf_counter()
        await work()
        took_s = time.perf_counter() - begun
        nursery.cancel_scope.cancel(reason="measured")
    return took_s, measure.percentile(late or [TICK_S * 1e6], 0.99)
