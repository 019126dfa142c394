"""Starting dashd in the background, and knowing when it serves and when it has ended, without polling.

`dashd run --ready-fd N` writes one line into that pipe, `READY <socket>` or `FAILED <message>`, and an end
without a line is a crash. The end of a dashd is seen through a pidfd. Nothing here speaks to the socket.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import dashd
from dashctl.calling import EXIT_FAILED, EXIT_TIMEOUT, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

LOG_NAME = "dashd.log"
LOG_LINES = 10
LAST_WORDS_S = 5.0
"""How long a dashd that failed may take to end, so that its log is whole."""
_LINE_BYTES_MAX = 4_096
_LOG_TAIL_BYTES = 8_192


class StartFailed(Failure):
    """dashd did not come up; `log_lines` are the last it wrote."""

    def __init__(
        self, message: str, log_path: str, log_lines: Sequence[str], *, exit_code: int = EXIT_FAILED
    ) -> None:
        """`message` is dashd's own where it gave one."""
        hint = "dashctl doctor checks this machine"
        self.log_lines = []
        for line in log_lines:
            # dashd ends with the same two lines on stderr; they are said once, and as ours.
            if line.startswith("hint: "):
                hint = line.removeprefix("hint: ")
            elif line != f"error: {message}":
                self.log_lines.append(line)
        super().__init__(
            message, hint=f"{hint} (its log: {log_path})", exit_code=exit_code, kind="StartFailed"
        )


def argv_of(*arguments: str) -> list[str]:
    """The command that runs this very dashd. `-P`: the current folder is not searched for modules."""
    return [sys.executable, "-P", "-m", "dashd", *arguments]


def environ_of(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with absolute Dash folders, and with this checkout's modules where nothing is installed."""
    found = dict(environ)
    for name in ("DASH_STATE_DIR", "DASH_SOCKET"):
        if found.get(name):
            found[name] = os.path.abspath(os.path.expanduser(found[name]))
    home = os.path.dirname(os.path.dirname(os.path.abspath(dashd.__file__)))
    if os.path.basename(home) not in ("site-packages", "dist-packages"):
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (home, found.get("PYTHONPATH"))))
    return found


def start(environ: Mapping[str, str], *, wait_s: float) -> str:
    """Starts dashd in a session of its own and gives the socket it serves. Raises StartFailed."""
    from dashd.wire import paths

    state = paths.state_dir(environ)
    log_path = os.path.join(state, LOG_NAME)
    try:
        os.makedirs(state, mode=0o700, exist_ok=True)
        log = os.open(log_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as problem:
        raise Failure(
            f"opening {log_path}: {problem.strerror}",
            hint="name a folder that you may write, with --state-dir",
        ) from None
    with os.fdopen(log, "rb") as log_file:
        began_at = os.path.getsize(log_path)
        reader, writer = os.pipe()
        try:
            process = _spawn(environ, log_file.fileno(), writer)
        finally:
            os.close(writer)
        try:
            line = _read_line(reader, time.monotonic() + wait_s)
            word, _, rest = line.partition(" ")
            if word == "READY":
                return rest or paths.socket_path(environ)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LAST_WORDS_S)
        finally:
            os.close(reader)
            # dashd outlives us on purpose; subprocess would warn about that.
            process.returncode = 0
        log_file.seek(max(began_at, os.path.getsize(log_path) - _LOG_TAIL_BYTES))
        tail = log_file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    raise StartFailed(rest or "dashd ended before it was ready", log_path, tail)


class Watched:
    """A process whose end can be waited for. Taken while it lives, so the pid cannot be another's."""

    def __init__(self, pid: int) -> None:
        """Where the system has no pidfd (Linux has), waiting returns at once."""
        self._pid = pid
        self._descriptor = -1
        with contextlib.suppress(AttributeError, OSError):
            self._descriptor = os.pidfd_open(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def detach(self) -> None:
        """Asks it to end and to leave its agents to their leases, as `daemon.stop` does. Raises OSError."""
        if self._descriptor >= 0:
            signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
        else:
            os.kill(self._pid, signal.SIGTERM)

    def wait_end(self, deadline: float) -> None:
        """Returns when it has ended, and so has let go of its lock. Raises Failure."""
        if self._descriptor >= 0 and not _readable(self._descriptor, deadline):
            raise Failure(
                f"dashd (pid {self._pid}) has not ended in time",
                hint="dashctl status; its log says what it waits for",
                exit_code=EXIT_TIMEOUT,
            )


def end_unheard(pid: int | None, state_dir: str, *, wait_s: float) -> None:
    """Ends the dashd that works in this folder and cannot be asked to; its agents live on. Raises Failure."""
    from dashd.wire import tenant

    lock = tenant.lock_path(state_dir)
    if pid is None:
        raise Failure(f"which dashd works in {state_dir} is not known", hint=f"fuser {lock} names it")
    with Watched(pid) as process:
        # The pidfd is held already: what is looked at here is what gets the signal, whatever the note says.
        if not _has_locked(pid, lock):
            if tenant.find(state_dir) is None:
                return
            raise Failure(
                f"{lock} is held, but not by process {pid}", hint=f"fuser {lock} names its holder; end that"
            )
        try:
            process.detach()
        except OSError as problem:
            raise Failure(
                f"ending dashd (pid {pid}): {problem.strerror}", hint="run this as the user who started it"
            ) from None
        process.wait_end(time.monotonic() + wait_s)


def _has_locked(pid: int, path: str) -> bool:
    """Whether the process holds the file's lock; believed where the system has no /proc.

    By the kernel's list of locks, because a dashd's open files are hidden even from its own user.
    """
    try:
        with open("/proc/locks", encoding="ascii") as file:
            locks = [line.split() for line in file]
    except OSError:
        return True
    inode = str(os.stat(path).st_ino)
    return any("FLOCK" in lock and str(pid) in lock and lock[-3].endswith(f":{inode}") for lock in locks)


def _spawn(environ: Mapping[str, str], log: int, writer: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv_of("run", "--ready-fd", str(writer)),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=(writer,),
        env=environ_of(environ),
    )


def _read_line(reader: int, deadline: float) -> str:
    line = b""
    while b"\n" not in line and len(line) < _LINE_BYTES_MAX:
        if not _readable(reader, deadline):
            raise Failure(
                "dashd is not ready yet; it goes on starting", hint="dashctl status", exit_code=EXIT_TIMEOUT
            )
        piece = os.read(reader, _LINE_BYTES_MAX)
        if not piece:
            break
        line += piece
    return line.partition(b"\n")[0].decode(errors="replace")


def _readable(descriptor: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1_000))
