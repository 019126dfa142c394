"""The real store, feed and door with a producer in front: what the fan-out bench measures.

`fanout_server.py SOCKET EVENTS_PER_TICK TICKS`. From the first line on stdin on it produces, one tick a
millisecond, and commits what is due in one operation; at the second line it prints one JSON object: CPU
seconds of the trio thread and of all threads, and the flush points as [seconds, events].
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import trio

from dashd import service, store
from dashd.clock import Clock
from dashd.rpc import dispatch, listener
from dashd.service import feed
from dashd.store import tail
from dashd.store.opening import Store
from dashd.store.transaction import Tx

PAD = "x" * 100
TICK_S = 0.001


async def main(path: Path, per_tick: int, ticks: int) -> None:
    async with store.open_store(path.parent / "dash.db", Clock()) as opened:
        with feed.open_feed(opened.tail, opened.reader) as events, listener.open_listener(path) as sock:
            daemon = SimpleNamespace(version="0", pid=os.getpid())
            core = SimpleNamespace(daemon=daemon, store=opened)
            table = dispatch.Dispatch(service.HANDLERS, core, feed=events)
            async with trio.open_nursery() as connections, trio.open_nursery() as accept:
                await accept.start(partial(listener.serve, sock, table, connections=connections))
                print("ready", flush=True)
                await trio.to_thread.run_sync(sys.stdin.readline)
                print(json.dumps(await _measured(opened, per_tick, ticks)), flush=True)


async def _measured(opened: Store, per_tick: int, ticks: int) -> dict[str, object]:
    flushes: list[tuple[float, int]] = []
    all_cpu, trio_cpu, begun = time.process_time(), time.thread_time(), time.monotonic()

    def note(batch: tail.Batch) -> None:
        flushes.append((time.monotonic() - begun, len(batch.events)))

    opened.tail.follow(note)
    produced = 0
    while produced < ticks:
        await trio.sleep(max(0.0, begun + (produced + 1) * TICK_S - time.monotonic()))
        due = min(ticks, int((time.monotonic() - begun) / TICK_S)) - produced
        if due > 0:
            await opened.writer.apply(lambda tx: _emit(tx, due * per_tick))  # noqa: B023
            produced += due
    await trio.to_thread.run_sync(sys.stdin.readline)
    return {
        "trio_s": time.thread_time() - trio_cpu,
        "all_s": time.process_time() - all_cpu,
        "flushes": flushes,
    }


def _emit(tx: Tx, count: int) -> None:
    now = time.monotonic_ns()
    for _ in range(count):
        tx.emit("agent.progress", swarm="bench", data={"t": now, "note": PAD})


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
