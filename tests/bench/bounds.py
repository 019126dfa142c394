"""Agents with bounds: what watching a hundred idle ones costs, and what a bomb does to everybody else.

Bombs are those of tests/whole/test_bombs.py, each bounded by itself, beside ten honest agents.
"""

import statistics
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from dashd.client_blocking import Client
from dashd.jail import probe
from tests.whole.test_bombs import BOMBS, PYTHON

from . import measure
from .bed import Bed, Dashd, Swarms
from .measure import Figure

HONEST = 10
FLOOD = """
import os, time
until = time.monotonic() + 2
while time.monotonic() < until:
    os.write(1, b"y" * 65536)
"""
ENDS = ("completed", "failed")


def run(bed: Bed) -> Iterator[Figure]:
    """Needs walls of grade B."""
    walls = probe.probe(probe.find_bwrap())
    if walls.grade != "B":
        yield measure.missing("bounds.idle_cpu", "%", "value <= 3", f"no walls: {walls.why}; {walls.fix}")
        return
    folder = bed.place("work")
    dashd = Dashd(bed.place("bounds"), DASH_JAIL_REQUIRED="true")
    dashd.start()
    try:
        with Swarms(dashd, "agent.started", "swarm.destroyed") as swarms:
            yield _idle(bed, dashd, swarms, folder)
            honest = _lasting(swarms, folder, HONEST)
            with dashd.client() as client:
                yield from _bombs(bed, client, folder)
            swarms.destroy(honest)
    finally:
        dashd.end()


def _idle(bed: Bed, dashd: Dashd, swarms: Swarms, folder: Path) -> Figure:
    """CPU of dashd, as a share of one processor, while its agents do nothing."""
    swarm = _lasting(swarms, folder, bed.effort.count(100))
    time.sleep(min(5.0, bed.effort.still_s))
    before, begun = measure.cpu_us(dashd.pid), time.perf_counter()
    time.sleep(bed.effort.still_s)
    used = (measure.cpu_us(dashd.pid) - before) / (time.perf_counter() - begun) / 1e4
    swarms.destroy(swarm)
    return measure.figure("bounds.idle_cpu", used, "%", goal="value <= 3")


def _lasting(swarms: Swarms, folder: Path, agents: int) -> str:
    argv = ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & wait"]
    params = {"task": "bench", "agents": agents, "argv": argv, "cwd": str(folder)}
    params["items"] = [str(number) for number in range(agents)]
    swarm = str(swarms.client.call("swarm.create", params)["id"])
    swarms.wait(swarm, "agent.started", agents)
    return swarm


def _bombs(bed: Bed, client: Client, folder: Path) -> Iterator[Figure]:
    for name, (script, limits, _) in {**BOMBS, "flood": (FLOOD, {}, "")}.items():
        slug = name.replace(" ", "_")
        before = statistics.median(_calls(client, bed.effort.count(100, least=4)))
        swarm, beside = _explode(client, bed.place(slug), script, limits)
        if name != "flood":  # the holder cuts it; nobody ends it
            lived = _instant(client, swarm, "task.dead") - _instant(client, swarm, "agent.started")
            yield measure.figure(f"bounds.stopped.{slug}", lived, "s", goal="value < 2")
        yield measure.figure(
            f"bounds.rpc_p50_beside.{slug}", beside, "us", goal="ratio <= 2", baseline=before
        )


def _explode(client: Client, folder: Path, script: str, limits: dict[str, int]) -> tuple[str, float]:
    """The bomb's swarm, and the p50 of calls for as long as it lived."""
    params: dict[str, Any] = {"task": "bomb", "argv": [PYTHON, "-c", script], "cwd": str(folder)}
    swarm = str(client.call("swarm.create", {**params, "limits": {"timeout_s": 60, **limits}})["id"])
    times: list[float] = []
    while client.call("swarm.get", {"swarm": swarm})["state"] not in ENDS:
        times += _calls(client, 1)
    return swarm, statistics.median(times)


def _calls(client: Client, bursts: int) -> list[float]:
    """Microseconds of each call, in bursts as a console makes them, the same before a bomb and beside it."""
    times: list[float] = []
    for _ in range(bursts):
        times += [measure.seconds(lambda: client.call("daemon.ping", {})) * 1e6 for _ in range(5)]
        time.sleep(0.01)
        client.call("daemon.status")
    return times


def _instant(client: Client, swarm: str, kind: str) -> float:
    events = client.call("event.wait", {"swarm": swarm, "kinds": [kind], "since": 0, "timeout_s": 5})[
        "events"
    ]
    return datetime.fromisoformat(events[0]["at"]).timestamp()
