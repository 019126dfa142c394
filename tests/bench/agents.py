"""Agents on their way: creating swarms, running trivial ones to their end, starting fifty that stay."""

import contextlib
from collections.abc import Callable, Iterator

from . import measure, peers
from .baselines import processes
from .baselines.commits import InlineCommits
from .bed import Bed, Swarms
from .measure import Figure
from .writers import empty_database

TRIVIAL, LASTING = "/bin/true", ("sleep", "1000")


def create(bed: Bed) -> Iterator[Figure]:
    """`swarm.create` of 20 agents until the answer, beside one FULL commit on the same disk."""
    count = bed.effort.count(20)
    with (
        contextlib.closing(empty_database(bed.place("create") / "inline.db")) as db,
        bed.dashd() as dashd,
        Swarms(dashd, "swarm.completed") as swarms,
    ):
        inline = InlineCommits(db)

        def once() -> float:
            times = []
            for _ in range(count):
                made: list[str] = []
                times.append(measure.seconds(lambda: made.append(swarms.create(20, TRIVIAL))))  # noqa: B023
                swarms.wait(made[0], "swarm.completed")
            return measure.percentile(times, 0.5) * 1e3

        variants = {"dash": once, "commit": lambda: measure.p50_us(inline.write, 200) / 1e3}
        found = measure.interleave(bed.effort.rounds, variants)
    yield measure.compared("create.20_agents_p50", "ms", "value < 20", measure.pairs(found, "dash", "commit"))


def trivial(bed: Bed) -> Iterator[Figure]:
    """100 agents that do nothing, from the call to the news that all are done, beside bare processes."""
    agents = bed.effort.count(100)
    with bed.dashd() as dashd, Swarms(dashd, "swarm.completed") as swarms:

        def once() -> float:
            return 1e3 * measure.seconds(
                lambda: swarms.wait(swarms.create(agents, TRIVIAL), "swarm.completed")
            )

        bare = _milliseconds(processes.run_all, [TRIVIAL], agents)
        found = measure.interleave(bed.effort.rounds, {"dash": once, "bare": bare})
    yield measure.compared("trivial.100_agents", "ms", "ratio <= 4", measure.pairs(found, "dash", "bare"))


def start(bed: Bed) -> Iterator[Figure]:
    """50 agents from the call until all run, durably, beside supervisord and beside posix_spawn."""
    agents = bed.effort.count(50)
    with bed.dashd() as dashd, Swarms(dashd, "agent.started", "swarm.destroyed") as swarms:

        def once() -> float:
            made: list[str] = []

            def all_run() -> None:
                made.append(swarms.create(agents, *LASTING))
                swarms.wait(made[0], "agent.started", agents)

            took = measure.seconds(all_run)
            swarms.destroy(made[0])
            return took * 1e3

        spawn = _milliseconds(processes.spawn_all, LASTING, agents)
        name, unit, goal = "start.50_beside_supervisord", "ms", "ratio <= 0.7"
        try:
            with peers.supervisord(bed, agents) as supervisord:

                def theirs() -> float:
                    took = measure.seconds(lambda: supervisord.call("supervisor.startProcessGroup", "agents"))
                    supervisord.call("supervisor.stopProcessGroup", "agents")
                    return took * 1e3

                variants = {"dash": once, "supervisord": theirs, "spawn": spawn}
                found = measure.interleave(bed.effort.rounds, variants)
                yield measure.compared(name, unit, goal, measure.pairs(found, "dash", "supervisord"))
        except peers.NoPeer as error:
            yield measure.missing(name, unit, goal, str(error))
            found = measure.interleave(bed.effort.rounds, {"dash": once, "spawn": spawn})
    yield measure.compared("start.50_beside_posix_spawn", unit, "", measure.pairs(found, "dash", "spawn"))


def _milliseconds(run: Callable[..., float], argv: object, count: int) -> Callable[[], float]:
    return lambda: run(argv, count) * 1e3
