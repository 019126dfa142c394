"""What Dash's proxy adds to a model call, and what it does under fifty streams, an outage and a tight budget.

The provider is a process on loopback; the same client calls it directly and through the proxy, in turns.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashd.client_blocking import Client
from tests.fakes import dashd_of_callers, door_keeper

from . import measure
from .baselines.commits import InlineCommits
from .bed import Bed, Dashd, Swarms, program
from .measure import Figure
from .model_calls import Door, call, stream_one, streams
from .writers import empty_database

STREAMS = 50
PACE_MS = 20.0
"""Of each stream: fifty chunks a second is a fast model."""
NOWHERE = "http://127.0.0.1:9/v1"
MODELS = ["m-1", "gpt-4o-mini"]
"""The second one has no price of ours, so the price list is read, as it is with most real providers."""
AGENTS = 20
ROOM = 1.3
TASK = "`echo a > {item}`, then " + ", ".join(["`cat {item}`"] * 5)


@dataclass(frozen=True)
class Place:
    """A dashd with agents that keep their doors open for us, and a provider."""

    dashd: Dashd
    client: Client
    doors: list[Door]
    direct: Door


def added(bed: Bed) -> Iterator[Figure]:
    """Per call (reserve and settle, each a FULL commit) and per streamed chunk, beside the provider."""
    count, chunks = bed.effort.count(200, least=5), bed.effort.count(200, least=5)
    with _place(bed, 1) as place:
        ways = {"proxy": place.doors[0], "direct": place.direct}
        calls = {name: lambda door=door: _calls_p50_ms(door, count) for name, door in ways.items()}
        with contextlib.closing(empty_database(bed.place("commits") / "inline.db")) as db:
            inline = InlineCommits(db)
            calls["commit"] = lambda: measure.p50_us(inline.write, count) / 1e3
            found = measure.interleave(bed.effort.rounds, calls)
        yield _added("added.per_call_p50", "value < 3", found)
        # What the disk makes of it: a call is two commits, one after the other.
        beside = [(each["proxy"] - each["direct"], 2 * each["commit"]) for each in found]
        yield measure.compared("added.per_call_beside_two_commits", "ms", "", beside)
        pieces = {name: lambda door=door: _chunks_p50_ms(door, chunks) for name, door in ways.items()}
        found = measure.interleave(bed.effort.rounds, pieces)
        yield _added("added.per_chunk_p50", "value < 0.3", found)


def many_streams(bed: Bed) -> Iterator[Figure]:
    """Fifty streams at once, one agent each: lost ones, CPU, and the memory of a dashd with a swarm."""
    count, chunks = bed.effort.count(STREAMS, least=2), bed.effort.count(250, least=5)
    with _place(bed, count) as place, program("-m", "tests.bench.baselines.idle") as bare:
        streams(place.doors, 5, PACE_MS)
        cpu, began = measure.cpu_us(place.dashd.pid), time.monotonic()
        found = streams(place.doors, chunks, PACE_MS)
        took_s = time.monotonic() - began
        cores = (measure.cpu_us(place.dashd.pid) - cpu) / 1e6 / took_s
        whole = sum(each.whole and len(each.delays_s) == chunks for each in found)
        yield measure.figure(
            "streams.lost_of_50", count - whole, "streams", goal="value == 0", baseline=count
        )
        yield measure.figure("streams.cpu_of_50", cores, "cores", goal="value < 1", baseline=1.0)
        delays = [delay * 1e3 for each in found for delay in each.delays_s]
        yield measure.figure(
            "streams.chunk_p99",
            measure.percentile(delays, 0.99),
            "ms",
            goal="",
            baseline=statistics.median(delays),
        )
        yield measure.figure(
            "streams.rss",
            measure.rss_kib(place.dashd.pid),
            "KiB",
            goal="ratio <= 1.7",
            baseline=measure.rss_kib(bare.pid),
        )


def failover(bed: Bed) -> Iterator[Figure]:
    """A provider that is down: the first call, which opens its circuit, and those after it."""
    count = bed.effort.count(200, least=5)
    with _place(bed, 1, down_first=True) as place:
        with place.doors[0].connection() as connection:
            first = measure.seconds(lambda: _answered(connection, place.doors[0]))
        direct = _calls_p50_ms(place.direct, count)
        found = _calls_ms(place.doors[0], count)
        yield measure.figure("failover.first_call", first, "s", goal="")
        yield measure.figure(
            "failover.while_open_worst", max(found) / 1e3, "s", goal="value < 1", baseline=direct / 1e3
        )


def starvation(bed: Bed) -> Iterator[Figure]:
    """Agents of our own on a budget that covers 1.3 times what they cost: how many finish."""
    agents = bed.effort.count(AGENTS, least=10)  # fewer: the last call alone needs more room
    dashd = Dashd(bed.place("starve"))
    dashd.start()
    try:
        with Swarms(dashd, "swarm.completed") as swarms:
            one_usd = _finished(swarms, bed.place("one"), 1, 1.0)[1]
            budget_usd = ROOM * one_usd * agents
            done, spent_usd = _finished(swarms, bed.place("all"), agents, budget_usd)
        yield measure.figure("starvation.agents_done", done, "agents", goal="ratio >= 1", baseline=agents)
        yield measure.figure("starvation.spent", spent_usd, "USD", goal="ratio <= 1", baseline=budget_usd)
    finally:
        dashd.end()


@contextlib.contextmanager
def _place(bed: Bed, agents: int, *, down_first: bool = False) -> Iterator[Place]:
    folder = bed.place("proxy")
    port_file = folder / "port"
    keepers = dashd_of_callers.argv(Path(door_keeper.__file__), hasty=False)
    with program("-m", "tests.bench.baselines.provider", str(port_file)):
        direct = Door(int(port_file.read_text()))
        dashd = Dashd(folder / "state", keepers)
        dashd.folder.mkdir(mode=0o700)
        dashd.start()
        try:
            with Swarms(dashd, "agent.progress") as swarms:
                urls = [NOWHERE] * down_first + [f"http://127.0.0.1:{direct.port}/v1"]
                for number, url in enumerate(urls):
                    given = {"name": f"p{number}", "format": "openai-chat", "url": url, "models": MODELS}
                    swarms.client.call("provider.add", given)
                price = {"model": "m-1", "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
                swarms.client.call("model.set", price)
                yield Place(dashd, swarms.client, _doors(swarms, folder, agents), direct)
        finally:
            dashd.end()


def _doors(swarms: Swarms, folder: Path, agents: int) -> list[Door]:
    files = [folder / f"door{number}" for number in range(agents)]
    made = swarms.client.call(
        "swarm.create",
        {
            "task": "keep the door",
            "agents": agents,
            "items": [str(file) for file in files],
            "driver": "embedded",
            "model": "m-1",
            "cwd": str(folder),
        },
    )
    swarms.wait(made["id"], "agent.progress", agents)
    told = [json.loads(file.read_text()) for file in files]
    return [Door(int(each["model_url"].split(":")[2].split("/")[0]), each["model_key"]) for each in told]


def _answered(connection: object, door: Door) -> None:
    status = call(connection, door.request("answer"))  # type: ignore[arg-type]
    assert status == 200, status


def _calls_ms(door: Door, count: int) -> list[float]:
    with door.connection() as connection:
        return [1e3 * measure.seconds(lambda: _answered(connection, door)) for _ in range(count)]


def _calls_p50_ms(door: Door, count: int) -> float:
    return statistics.median(_calls_ms(door, count))


def _chunks_p50_ms(door: Door, chunks: int) -> float:
    return 1e3 * statistics.median(stream_one(door, chunks, 2.0))


def _added(name: str, goal: str, found: list[dict[str, float]]) -> Figure:
    """What the proxy adds, the median over the rounds; the baseline is the same without it."""
    return measure.figure(
        name,
        statistics.median(each["proxy"] - each["direct"] for each in found),
        "ms",
        goal=goal,
        baseline=statistics.median(each["direct"] for each in found),
    )


def _finished(swarms: Swarms, folder: Path, agents: int, budget_usd: float) -> tuple[int, float]:
    """(agents that completed their task, what all cost) on the offline model."""
    made = swarms.client.call(
        "swarm.create",
        {
            "task": TASK,
            "agents": agents,
            "items": [f"f{number:02}" for number in range(agents)],
            "driver": "embedded",
            "model": "offline",
            "cwd": str(folder),
            "budget": budget_usd,
            "limits": {"retries": 0},
        },
    )
    swarms.wait(made["id"], "swarm.completed")
    report = swarms.client.call("swarm.report", {"swarm": made["id"]})
    spent = swarms.client.call("budget.status", {"budget": made["id"]})["budget"]["spent_usd"]
    return report["tasks"].get("completed", 0), spent
