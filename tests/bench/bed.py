"""Where a bench stands: a private folder, and in it a private dashd with its clients.

Everything started here is ended here, by its pid. The folder should be on a disk that keeps what is synced;
`--folder` names another one where the temporary folder is memory.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dashd.client_blocking import Client
from tests.tidy import TOP

from .measure import Effort

READY_S = 30.0
END_S = 60.0


class Dashd:
    """A dashd of our own; `start` again after `kill` goes on with the same state."""

    def __init__(self, folder: Path, program: tuple[str, ...] = ("-m", "dashd"), **environ: str) -> None:
        """`program` is what Python runs as the daemon; `environ` goes on top of the usual."""
        self._environ = environ
        self.folder = folder
        self._program = program
        self.socket = str(folder / "run" / "d.sock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def environ(self) -> dict[str, str]:
        """What a client of this daemon needs."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DASH_STATE_DIR": str(self.folder),
            "DASH_SOCKET": self.socket,
            "DASH_LOG_LEVEL": "warning",
            "DASH_JAIL_REQUIRED": "false",
            **self._environ,
        }

    def start(self) -> float:
        """Starts it; the seconds it took to be ready."""
        read, write = os.pipe()
        begun = time.perf_counter()
        argv = [sys.executable, *self._program, "run", "--ready-fd", str(write)]
        self._process = subprocess.Popen(argv, cwd=TOP, env=self.environ, pass_fds=[write])
        os.close(write)
        with open(read, "rb") as ready:
            said = ready.readline()
        assert said.startswith(b"READY"), said
        return time.perf_counter() - begun

    def kill(self) -> None:
        """kill -9; agents keep their leases."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ends it with its agents."""
        assert self._process is not None
        if self._process.poll() is None:
            with contextlib.suppress(OSError), self.client() as client:
                client.call("daemon.stop", {"agents": "stop"}, deadline_s=END_S)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def client(self) -> Client:
        """A new connection; the caller closes it."""
        return Client(self.socket)


class Swarms:
    """Swarms of one dashd, seen through one connection that is told of every event of the given kinds."""

    def __init__(self, dashd: Dashd, *kinds: str) -> None:
        self.client = dashd.client()
        self.client.call("event.subscribe", {"kinds": list(kinds)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def create(self, agents: int, *argv: str, cwd: str = "/", **others: Any) -> str:
        """Creates a swarm of agents that run `argv`; its id."""
        params = {"task": "bench", "agents": agents, "argv": list(argv), "cwd": cwd, **others}
        return str(self.client.call("swarm.create", params)["id"])

    def wait(self, swarm: str, kind: str, count: int = 1) -> None:
        """Returns once `count` events of this kind have come for the swarm."""
        while count:
            for event in self.client.notification(deadline_s=END_S)["params"]["events"]:
                count -= event["kind"] == kind and event.get("swarm") == swarm

    def destroy(self, swarm: str) -> None:
        """Ends it, and returns when its last process has gone. `swarm.destroyed` must be among the kinds."""
        self.client.call("swarm.destroy", {"swarm": swarm})
        self.wait(swarm, "swarm.destroyed")


@dataclass
class Bed:
    """What a subject is given."""

    folder: Path
    effort: Effort
    one_dashd: bool = False
    """One daemon for all subjects: fast, and only good for seeing that they run."""
    _shared: Dashd | None = None
    _names: set[str] = field(default_factory=set)

    def place(self, name: str) -> Path:
        """A new folder."""
        path = self.folder / f"{name}{len(self._names)}"
        self._names.add(path.name)
        path.mkdir(mode=0o700)
        return path

    @contextlib.contextmanager
    def dashd(self) -> Iterator[Dashd]:
        """A running dashd."""
        if self.one_dashd:
            if self._shared is None:
                self._shared = Dashd(self.place("dash"))
                self._shared.start()
            yield self._shared
            return
        dashd = Dashd(self.place("dash"))
        dashd.start()
        try:
            yield dashd
        finally:
            dashd.end()

    def close(self) -> None:
        """Ends the shared daemon."""
        if self._shared is not None:
            self._shared.end()


@contextlib.contextmanager
def program(*argv: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A child program with pipes, which prints one line when it is ready and is ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, *argv], cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.send_signal(signal.SIGKILL)
        process.wait()
