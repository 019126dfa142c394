"""A private state folder, the daemon that works in it, and the processes that belong to it.

It starts `python -m dashd run`, waits for READY by its pipe, kills by pid, and finds by /proc what is left.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.client import Client
from tests.whole.daemons import WITHOUT_WALLS

TOP = Path(__file__).parents[2]
READY_S_MAX = 30.0
END_S_MAX = 30.0


@dataclass
class Home:
    """One state folder. At most one daemon of it is ours at a time; `rival` starts another beside it."""

    path: Path
    daemon: subprocess.Popen[bytes] | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    serving: threading.Event = field(default_factory=threading.Event)
    """Set while a daemon of ours answers."""
    clients: list[Client] = field(default_factory=list)
    program: tuple[str, ...] = ("-m", "dashd")
    """What Python runs as the daemon."""
    environ: dict[str, str] = field(default_factory=dict)
    """Put on top of what every daemon here gets."""

    @property
    def socket(self) -> Path:
        """Where the daemon listens."""
        return self.path / "s"

    @property
    def database(self) -> Path:
        """The rows."""
        return self.path / "dash.db"

    @property
    def journal(self) -> Path:
        """Where agents write down what they did."""
        return self.path / "journal"

    def start(self, crash_at: str | None = None) -> str:
        """Starts the daemon; its first line: `READY …`, `FAILED …`, or empty where it died before."""
        self.journal.mkdir(exist_ok=True)
        self.daemon, line = self.rival(*(["--crash-at", crash_at] if crash_at else []))
        if line.startswith("READY"):
            self.serving.set()
        return line

    def rival(self, *flags: str) -> tuple[subprocess.Popen[bytes], str]:
        """Starts a daemon without taking it for ours; gives it and its first line."""
        process, read_end = self.spawn(*flags)
        try:
            return process, _first_line(read_end)
        finally:
            os.close(read_end)

    def spawn(self, *flags: str) -> tuple[subprocess.Popen[bytes], int]:
        """Starts a daemon and waits for nothing; gives it and the descriptor on which it will say READY."""
        read_end, write_end = os.pipe()
        argv = [sys.executable, *self.program, "run", "--ready-fd", str(write_end), *flags]
        here = ["--state-dir", str(self.path), "--socket", str(self.socket)]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.path), "PYTHONPATH": str(TOP)}
        environ |= WITHOUT_WALLS | self.environ
        with open(self.path / f"log.{len(self.started)}", "wb") as log:
            process = subprocess.Popen(
                argv + here, pass_fds=[write_end], cwd=self.path, env=environ, stdout=log, stderr=log
            )
        self.started.append(process)
        os.close(write_end)
        return process, read_end

    def client(self) -> Client:
        """A new connection, closed by `clean_up` at the latest; raises Gone."""
        made = Client(self.socket)
        self.clients.append(made)
        return made

    def kill(self) -> None:
        """SIGKILL to the daemon, and its end."""
        assert self.daemon is not None
        self.serving.clear()
        self.daemon.kill()
        self.ended()

    def ended(self) -> int:
        """Waits for the daemon's end; its exit code."""
        assert self.daemon is not None
        code = self.daemon.wait(END_S_MAX)
        self.serving.clear()
        return code

    def log(self) -> str:
        """What the daemons said on stderr, the last one's last."""
        return "\n".join(
            (self.path / f"log.{number}").read_text(errors="replace") for number in range(len(self.started))
        )

    def stop(self) -> None:
        """SIGTERM, and a clean end."""
        assert self.daemon is not None
        self.daemon.terminate()
        code = self.ended()
        assert code == 0, f"dashd ended with {code}\n{self.log()}"

    def holder(self, launch: str) -> int | None:
        """The pid of a launch's holder, if it has begun."""
        try:
            note = json.loads((self.path / "launches" / launch / "begin").read_bytes())
        except (OSError, ValueError):
            return None
        return int(note["holder"])

    def holders(self) -> list[int]:
        """The pids of the holders that live now."""
        begun = (self.holder(folder.name) for folder in (self.path / "launches").iterdir() if folder.is_dir())
        return sorted({pid for pid in begun if pid} & set(self.processes()))

    def fork_server(self) -> int | None:
        """The pid of the last fork server."""
        try:
            return int(json.loads((self.path / "launches" / "forkserver.lock").read_bytes())["pid"])
        except (OSError, ValueError):
            return None

    def processes(self) -> dict[int, str]:
        """Every process of this folder, by pid: agents by their mark, others by what they have open."""
        launches = {entry.name for entry in (self.path / "launches").glob("*")}
        found = {}
        for entry in os.listdir("/proc"):
            pid = int(entry) if entry.isdigit() else 0
            if pid and pid != os.getpid() and (why := _belongs(pid, str(self.path), launches)):
                found[pid] = why
        return found

    def wait_empty(self, within_s: float = 10.0) -> None:
        """Returns when no process of this folder is left; fails, naming them, where some stay."""
        give_up_at = time.monotonic() + within_s
        while left := self.processes():
            pid, what = next(iter(left.items()))
            assert wait_gone(pid, give_up_at), f"left behind: {left}; the first is {what}"

    def clean_up(self) -> None:
        """Ends whatever is left, by pid."""
        for client in self.clients:
            client.close()
        for process in self.started:
            process.kill()
            process.wait()
        give_up_at = time.monotonic() + 10.0
        while (left := self.processes()) and time.monotonic() < give_up_at:
            for pid in left:
                send(pid, signal.SIGKILL, signal.SIGCONT)
                wait_gone(pid, time.monotonic() + 1.0)


def send(pid: int, *numbers: int) -> bool:
    """Signals a process; False where it is gone."""
    try:
        for number in numbers:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(pid: int, give_up_at: float) -> bool:
    """Whether the process ends before `give_up_at` (monotonic)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], max(0.0, give_up_at - time.monotonic()))[0])
    finally:
        os.close(fd)


def _first_line(fd: int) -> str:
    give_up_at, line = time.monotonic() + READY_S_MAX, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], max(0.0, give_up_at - time.monotonic()))
        assert ready, f"dashd said nothing within {READY_S_MAX} s"
        data = os.read(fd, 4096)
        if not data:
            break
        line += data
    return line.decode().strip()


def _belongs(pid: int, folder: str, launches: Collection[str]) -> str:
    """Why a process belongs to the state folder; empty where it does not, or is dead."""
    here = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        if (here / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
            return ""
        for part in (here / "environ").read_bytes().split(b"\0"):
            if part.startswith(b"DASH_LAUNCH=") and part[12:].decode() in launches:
                return f"an agent's process of {part[12:].decode()}"
        for fd in os.listdir(here / "fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(here / "fd" / fd)
                if target.startswith(folder + "/"):
                    return f"it has {target} open"
    return ""
