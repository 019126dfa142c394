"""A dashd as people run it: a child process with a state folder, settings and socket of its own."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dashctl import daemon_process
from dashctl.demo import leftovers
from dashd import client_blocking

START_S_MAX = 60.0
STOP_S_MAX = 60.0
LOG_SHOWN = 8_000
WITHOUT_WALLS = {"DASH_JAIL_REQUIRED": "false"}
"""What is not about walls goes without: an agent's start then takes a tenth of the time."""


class DaemonProcess:
    """Started by `start`; whoever made it calls `end`, which leaves no process of it behind."""

    def __init__(self, folder: Path, program: tuple[str, ...] = ("-m", "dashd"), **environ: str) -> None:
        """`program` is what Python runs as the daemon; `environ` is put on top of the test's own, from which
        everything of Dash's is taken out.
        """
        self.folder = folder
        self.program = program
        self.state = folder / "state"
        self.socket = str(self.state / "run" / "dashd.sock")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DASH_")}
        kept |= {"XDG_CONFIG_HOME": str(folder), "DASH_STATE_DIR": str(self.state)}
        kept |= WITHOUT_WALLS
        self.environ = daemon_process.environ_of(kept | environ)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *arguments: str) -> None:
        """Returns when it serves; `arguments` are put after those of `dashd run`."""
        reader, writer = os.pipe()
        with (self.folder / "dashd.log").open("ab") as log:
            self.process = subprocess.Popen(
                # Named on the command line too, by which `leftovers` finds it.
                [sys.executable, "-P", *self.program, "run"]  # noqa: RUF005  # it reads worse
                + ["--ready-fd", str(writer), "--state-dir", str(self.state), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ,
                cwd=self.folder,
                pass_fds=(writer,),
            )
        os.close(writer)
        with os.fdopen(reader, "rb") as ready:
            assert select.select([ready], [], [], START_S_MAX)[0], "dashd did not get ready in time"
            line = ready.readline()
        assert line.startswith(b"READY"), (line, self.log())

    def log(self) -> str:
        """What it wrote so far, from all its starts; empty before the first."""
        try:
            return (self.folder / "dashd.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One call on a connection of its own, from a test that is no coroutine."""
        with client_blocking.Client(self.socket) as dash:
            return dash.call(method, params, deadline_s=30)

    def stop(self, agents: str = "detach") -> int:
        """Asks it to stop; returns its exit code."""
        assert self.process is not None
        self.call("daemon.stop", agents=agents)
        return self.process.wait(STOP_S_MAX)

    def kill(self) -> None:
        """SIGKILL, without a last word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ends it and everything that it started, whatever state that is in; a failed test shows its log."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop("stop")
            except (client_blocking.CallFailed, subprocess.TimeoutExpired):
                self.kill()
        leftovers.end(self.folder, wait_s=0 if self.process is None else 2)
        code = None if self.process is None else self.process.returncode
        sys.stderr.write(f"dashd ended with {code}; the last of its log:\n{self.log()[-LOG_SHOWN:]}\n")

    def processes(self, within_s: float = 10.0) -> list[int]:
        """What still runs of a stopped daemon; what is just ending gets a moment."""
        deadline = time.monotonic() + within_s
        while (found := leftovers.find(self.folder)) and time.monotonic() < deadline:
            select.select([], [], [], 0.01)
        return found
