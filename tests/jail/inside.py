"""Programs run inside a planned jail, without a holder: the shortest way to see what a jail does."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest

from dashd.jail import launch, probe, view
from dashd.jail.agent_jail import AgentJail

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": view.HOME, "LANG": "C.UTF-8"}
LIMIT_S = 30
NOTHING = launch.Outside()


@cache
def walls() -> launch.Walls:
    return probe.probe(probe.find_bwrap())


def of_grade(grade: str) -> launch.Walls:
    """These walls, or a skipped test that says what is missing."""
    found = walls()
    if launch.WORSE_THAN[found.grade] > launch.WORSE_THAN[grade]:
        pytest.skip(f"grade {grade} cannot be built here: {found.why}; {found.fix}")
    return launch.Walls(grade, found.bwrap, found.landlock_abi, found.disable_userns, nesting=found.nesting)


@dataclass
class Ended:
    code: int
    output: str
    news: list[bytes]
    listeners: list[socket.socket] = field(default_factory=list)


def enter(
    grade: str,
    folder: Path,
    *argv: str,
    seen: view.View | None = None,
    outside: launch.Outside = NOTHING,
    without: Sequence[str] = (),
    environ: dict[str, str] = ENVIRON,
    inherited: Sequence[int] = (),
    scratch: str = "",
    port: int | None = None,
    listener: bool = False,
    nesting: launch.Nesting | None = None,
) -> Ended:
    """Runs argv (a `sh` script, if it is one word) with `folder` as its scope; waits for its end."""
    seen = seen or view.View(str(folder), (view.Folder(str(folder)),))
    walls = of_grade(grade)
    plan = launch.plan(
        walls if nesting is None else replace(walls, nesting=nesting),
        seen,
        python=view.python(),
        outside=outside,
        scratch=scratch,
        port=port,
        listener=listener,
        without=frozenset(without),
    )
    command = ["/bin/sh", "-c", argv[0]] if len(argv) == 1 else list(argv)
    jail = AgentJail(plan)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        try:
            jail.prepare(command, [command[0]], environ)
            process = subprocess.Popen(
                jail.command(theirs.fileno()),
                pass_fds=[*jail.fds, theirs.fileno(), *inherited],
                preexec_fn=jail.enter,
                env=environ if plan["inherit_env"] else {},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        finally:
            theirs.close()
            jail.close()
        ended = Ended(0, "", [])
        while message := _take(ours, ended):
            ended.news.append(message)
            if message == b"ready":
                with contextlib.suppress(OSError):
                    ours.send(b"go")
        try:
            ended.output = process.communicate(timeout=LIMIT_S)[0]
        finally:
            process.kill()
            ended.code = process.wait()
    return ended


def _take(ours: socket.socket, ended: Ended) -> bytes:
    message, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    ended.listeners += [socket.socket(fileno=fd) for fd in fds]
    return message


def python_inside(script: str) -> tuple[str, ...]:
    return view.python(), "-I", "-S", "-c", script


def outside_port() -> socket.socket:
    """A listener of this test's own, outside every jail; the caller closes it."""
    return socket.create_server(("127.0.0.1", 0))


PYTHON = sys.executable
GRADES = ("B", "C")
NOBODY_IS_ROOT = os.getuid() != 0
