"""What Dash costs while nothing happens: an idle daemon, a hundred live agents, and a restart over them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from tests.tidy import TOP

from . import measure
from .bed import Bed, Dashd, Swarms, program
from .measure import Figure

LASTING = ("sleep", "1000")
THIRD_PARTIES = {"trio", "msgspec", "apsw", "pydantic"}
LOADED = (
    "import sys, dashd.__main__, dashd.app, dashd.config;"
    "print(*{name.partition('.')[0] for name in sys.modules if 'site-packages' in"
    " (getattr(sys.modules[name], '__file__', None) or '')})"
)
BROUGHT_ALONG = {
    # by trio, and by pydantic
    "attr", "attrs", "idna", "outcome", "sniffio", "sortedcontainers",
    "annotated_types", "pydantic_core", "typing_extensions", "typing_inspection",
}  # fmt: skip
SETTLE_S = 12.0
"""Until the worker threads of trio have ended, which they do after 10 s without work."""


def idle(bed: Bed) -> Iterator[Figure]:
    """Memory and wake-ups of a dashd that nobody uses, beside a process with the same libraries."""
    with bed.dashd() as dashd, program("-m", "tests.bench.baselines.idle") as bare:
        time.sleep(min(SETTLE_S, bed.effort.still_s))
        yield measure.figure(
            "idle.rss",
            measure.rss_kib(dashd.pid),
            "KiB",
            goal="ratio <= 1.4",
            baseline=measure.rss_kib(bare.pid),
        )
        ours, theirs = _wakeups_per_s([[dashd.pid], [bare.pid]], bed.effort.still_s)
        yield measure.figure("idle.wakeups", ours, "1/s", goal="value == 0", baseline=theirs)
    strangers = _third_parties() - THIRD_PARTIES - BROUGHT_ALONG
    yield measure.figure(
        f"idle.unexpected_imports{''.join('.' + name for name in sorted(strangers))}",
        len(strangers),
        "packages",
        goal="value == 0",
    )


def live(bed: Bed) -> Iterator[Figure]:
    """What each of 100 live agents adds to dashd's memory, and how often holders wake."""
    agents = bed.effort.count(100)
    with bed.dashd() as dashd, Swarms(dashd, "agent.started", "swarm.destroyed") as swarms:
        before = measure.rss_kib(dashd.pid)
        swarm = _lasting(swarms, agents)
        time.sleep(min(SETTLE_S, bed.effort.still_s))
        grown = max(0, measure.rss_kib(dashd.pid) - before)
        yield measure.figure(
            "live.rss_per_agent", grown / agents, "KiB", goal="value <= 100", baseline=before / agents
        )
        holders = _holders(dashd)
        assert len(holders) >= agents
        of_holders, of_dashd = _wakeups_per_s([holders, [dashd.pid]], bed.effort.still_s)
        yield measure.figure("live.wakeups_of_holders", of_holders, "1/s", goal="value == 0")
        yield measure.figure("live.wakeups_of_dashd", of_dashd, "1/s", goal="value == 0")
        private = sum(measure.private_kib(pid) for pid in holders) / len(holders)
        yield measure.figure("live.private_per_holder", private, "KiB", goal="")
        swarms.destroy(swarm)


def restart(bed: Bed) -> Iterator[Figure]:
    """kill -9 under 100 live agents, then a start until READY with all adopted; beside an empty start."""
    agents = bed.effort.count(100)
    with bed.dashd() as dashd:
        empty = Dashd(bed.place("empty"))
        with Swarms(dashd, "agent.started") as swarms:
            swarm = _lasting(swarms, agents)

        def with_agents() -> float:
            dashd.kill()
            took = dashd.start()
            with dashd.client() as client:
                assert client.call("daemon.status")["adopted"] == agents
            return took

        def without() -> float:
            took = empty.start()
            empty.end()
            return took

        rounds = min(bed.effort.rounds, 7)
        found = measure.interleave(rounds, {"agents": with_agents, "empty": without})
        with Swarms(dashd, "swarm.destroyed") as swarms:
            swarms.destroy(swarm)
    yield measure.compared("restart.100_agents", "s", "value < 1", measure.pairs(found, "agents", "empty"))


def _lasting(swarms: Swarms, agents: int) -> str:
    """A swarm whose agents all run."""
    swarm = swarms.create(agents, *LASTING)
    swarms.wait(swarm, "agent.started", agents)
    return swarm


def _wakeups_per_s(groups: Sequence[Sequence[int]], still_s: float) -> list[float]:
    """How often the processes of each group woke up, all watched at the same time."""
    before = {pid: measure.wakeups(pid) for group in groups for pid in group}
    time.sleep(still_s)
    woken = {pid: measure.woken(then, measure.wakeups(pid)) for pid, then in before.items()}
    return [sum(woken[pid] for pid in group) / still_s for group in groups]


def _holders(dashd: Dashd) -> list[int]:
    """The pids of this daemon's holders, by their own word; those of ended launches have gone."""
    launches = dashd.folder / "launches"
    ended = {path.parent for path in launches.glob("*/exit")}
    begun = [path for path in launches.glob("*/begin") if path.parent not in ended]
    return [int(json.loads(path.read_text())["holder"]) for path in begun]


def _third_parties() -> set[str]:
    """Every package of others that a serving dashd has loaded."""
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=TOP, capture_output=True, check=True, text=True)
    return {name for name in done.stdout.split() if not name.startswith(("_", "dashd"))}
