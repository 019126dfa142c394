"""Jails on their way: one beside the same stage started by hand, and fifty agents in theirs."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

from dashd.jail import launch, probe, view
from dashd.jail.agent_jail import AgentJail

from . import measure
from .agents import LASTING, TRIVIAL
from .bed import Bed, Dashd, Swarms
from .measure import Figure


def start(bed: Bed) -> Iterator[Figure]:
    """A trivial agent through dashd, walls on and off in turn, beside the stage started by hand in bwrap."""
    walls = probe.probe(probe.find_bwrap())
    name, unit = "jail.start_p50", "ms"
    if walls.grade not in ("A", "B"):
        yield measure.missing(name, unit, "ratio <= 1.3", f"grade {walls.grade}: {walls.why}")
        return
    count = bed.effort.count(20)
    dashd, folder = Dashd(bed.place("jails"), DASH_JAIL_REQUIRED="true"), str(bed.place("work"))
    dashd.start()
    with contextlib.ExitStack() as ended:
        ended.callback(dashd.end)
        with Swarms(dashd, "swarm.completed", "agent.started", "swarm.destroyed") as swarms:

            def agents(*, jailed: bool) -> float:
                def once() -> None:
                    swarms.wait(
                        swarms.create(1, TRIVIAL, cwd=folder, unsafe_no_jail=not jailed), "swarm.completed"
                    )

                return measure.percentile([measure.seconds(once) for _ in range(count)], 0.5) * 1e3

            def by_hand() -> float:
                times = [measure.seconds(lambda: enter(walls, folder)) for _ in range(count)]
                return measure.percentile(times, 0.5) * 1e3

            def added() -> float:
                return agents(jailed=True) - agents(jailed=False)

            found = measure.interleave(bed.effort.rounds, {"dash": added, "hand": by_hand})
            yield measure.compared(name, unit, "ratio <= 1.3", measure.pairs(found, "dash", "hand"))
            many = bed.effort.count(50)

            def all_run() -> float:
                made: list[str] = []

                def once() -> None:
                    made.append(swarms.create(many, *LASTING, cwd=folder))
                    swarms.wait(made[0], "agent.started", many)

                took = measure.seconds(once)
                swarms.destroy(made[0])
                return took

            times = [each["up"] for each in measure.interleave(bed.effort.rounds, {"up": all_run})]
    yield measure.figure("jail.50_agents_up", measure.percentile(times, 0.5), "s", goal="value < 4")


def enter(walls: launch.Walls, folder: str) -> None:
    """The same jail with /bin/true in it, started by hand, until its end."""
    seen = view.View(folder, (view.Folder(folder),))
    outside = launch.Outside((f"{folder}-none",))
    jail = AgentJail(launch.plan(walls, seen, python=view.python(), outside=outside, listener=False))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(b"go")  # which is read after `ready` was said
        jail.prepare([TRIVIAL], [TRIVIAL], {"PATH": os.defpath})
        subprocess.run(
            jail.command(theirs.fileno()), pass_fds=[*jail.fds, theirs.fileno()], env={}, check=True
        )
        jail.close()
