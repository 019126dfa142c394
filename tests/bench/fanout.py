"""Events to fifty subscribers: none lost, what a delivery costs, and whether one who stops slows the others.

The baseline sends the same number of events at the same instants as dashd committed them in the round before.
"""

import contextlib
import itertools
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import measure
from .bed import Bed, program
from .measure import Figure

SUBSCRIBERS = 50
SAMPLED = 5
"""Subscribers whose latency is looked at; looking costs."""
SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"event.subscribe","params":{}}\n'
EVENT, STAMP = b'{"seq":', b'"t":'
DRAIN_S = 60.0


def run(bed: Bed) -> Iterator[Figure]:
    """Both rates."""
    yield from _at(bed, 2_000)
    yield from _at(bed, 20_000)


def _at(bed: Bed, per_s: int) -> Iterator[Figure]:
    per_tick, ticks = per_s // 1_000, bed.effort.count(1_000, least=20)
    flushes = bed.place("flushes") / "flushes.json"
    deliveries = per_tick * ticks * SUBSCRIBERS
    lost: list[int] = []

    def dash(stopped: int) -> dict[str, float]:
        done = _round(
            bed,
            "-m",
            "tests.bench.fanout_server",
            args=(per_tick, ticks),
            want=per_tick * ticks,
            stopped=stopped,
        )
        flushes.write_text(json.dumps(done["flushes"]))
        lost.append(done["lost"])
        return done

    def bare() -> dict[str, float]:
        args = (SUBSCRIBERS, flushes)
        return _round(
            bed, "-m", "tests.bench.baselines.coalescing", args=args, want=per_tick * ticks, subscribe=False
        )

    dash(0)
    variants = {"dash": lambda: dash(0), "stopped": lambda: dash(1), "bare": bare}
    found = measure.interleave(min(bed.effort.rounds, 7), variants)
    name = f"fanout.{per_s}"
    yield measure.figure(f"{name}.lost", sum(lost), "events", goal="value == 0")
    for figure, key, goal in (("trio", "trio_s", "ratio <= 2.5"), ("with_store", "all_s", "")):
        pairs = [
            (each["dash"][key] / deliveries * 1e6, each["bare"]["all_s"] / deliveries * 1e6) for each in found
        ]
        yield measure.compared(f"{name}.cpu_per_delivery_{figure}", "us CPU", goal, pairs)
    pairs = [(each["stopped"]["late_us"], each["dash"]["late_us"]) for each in found]
    yield measure.compared(f"{name}.p50_beside_a_stopped_one", "us", "ratio <= 1.1", pairs)
    pairs = [(each["dash"]["late_us"], each["bare"]["late_us"]) for each in found]
    yield measure.compared(f"{name}.p50", "us", "", pairs)


def _round(
    bed: Bed, *argv: str, args: tuple[object, ...], want: int, subscribe: bool = True, stopped: int = 0
) -> dict[str, Any]:
    """One producer and its subscribers, `stopped` of whom read nothing: its CPU, what was lost, latency."""
    path = bed.place("fan") / "s"
    with contextlib.ExitStack() as stack:
        producer = stack.enter_context(program(*argv, str(path), *map(str, args)))
        assert producer.stdin is not None
        assert producer.stdout is not None
        peers = [stack.enter_context(_connect(path, subscribe)) for _ in range(SUBSCRIBERS + stopped)]
        producer.stdin.write("go\n")
        producer.stdin.flush()
        counts, late = _drain(peers[:SUBSCRIBERS], want)
        producer.stdin.write("done\n")
        producer.stdin.flush()
        said = json.loads(producer.stdout.readline())
    done = said if isinstance(said, dict) else {"all_s": said}
    return done | {
        "lost": sum(abs(want - count) for count in counts),
        "late_us": measure.percentile(late, 0.5),
    }


def _connect(path: Path, subscribe: bool) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(path))
    if subscribe:
        peer.sendall(SUBSCRIBE)
        peer.recv(4_096)
    return peer


def _drain(peers: list[socket.socket], want: int) -> tuple[list[int], list[float]]:
    """Reads until everybody has so many events: how many each has, and latencies in microseconds.

    One subscriber's stream is kept and parsed in the end, so that also order and gaps are seen.
    """
    counts, late = [0] * len(peers), []
    rests, kept = [b""] * len(peers), bytearray()
    number = {peer.fileno(): place for place, peer in enumerate(peers)}
    missing, give_up_at = len(peers), time.monotonic() + DRAIN_S
    with select.epoll() as poll:
        for peer in peers:
            poll.register(peer, select.EPOLLIN)
        while missing and time.monotonic() < give_up_at:
            for fd, _ in poll.poll(1.0):
                place = number[fd]
                data = peers[place].recv(1 << 20)
                if not data:
                    poll.unregister(fd)
                    missing -= 1
                    continue
                if place < SAMPLED and (at := data.rfind(STAMP)) >= 0 and data.endswith(b"\n"):
                    sent = int(data[at + len(STAMP) :].partition(b",")[0])
                    late.append((time.monotonic_ns() - sent) / 1e3)
                if place == 0:
                    kept += data
                before = counts[place]
                counts[place] += (rests[place] + data).count(EVENT)
                rests[place] = data[-len(EVENT) + 1 :]
                missing -= before < want <= counts[place]
    counts[0] -= _out_of_order(bytes(kept))
    return counts, late or [0.0]


def _out_of_order(stream: bytes) -> int:
    """How many events do not follow the one before them."""
    lines = [json.loads(line) for line in stream.splitlines()]
    seqs = [event["seq"] for line in lines for event in line["params"]["events"]]
    return sum(after != before + 1 for before, after in itertools.pairwise(seqs))
