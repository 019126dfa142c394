"""The leash of a tool: one small process between dashd and a short-lived program of its own (git, a gate).

    dashd: tool.py ──requests──▶ keeper ──fork──▶ leash ──fork, exec──▶ the tool, in its jail
              └───────── one socket a tool ────────┘

The keeper is warm and forks; it is started by the first tool and ends with dashd. A leash holds one tool, and
ends it with all that it has started when the tool has ended or dashd lets go of the socket, by closing it or
by dying: whatever forks meanwhile is a child of the leash at last, because it is a subreaper. Should the
leash be killed, the kernel does the same to the jail (agent_exec.py, stage.py). Both are single threads, so
that PR_SET_PDEATHSIG, which follows the thread that forked, means them. Standard library only.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import struct
import time

from dashd.jail import agent_exec, processes
from dashd.jail.agent_start import AgentStart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

FDS = 5  # the request, stdin, stdout, stderr, and the leash's end of the tool's socket
KILL_S_MAX = 5.0  # then the leash says who is left (uninterruptible sleep) and goes
KILL_AGAIN_S = 0.005


class Leash:
    """One tool. Its last word on the socket is `{"status": wait status}` or `{"error": why}`."""

    def __init__(self, spec: dict[str, Any], stdio: tuple[int, int, int], link: int) -> None:
        """`spec` has `argv`, `env`, `cwd`, `jail` and `launch`, its mark; `link` is our end of the socket."""
        self.birth = AgentStart(spec)
        self.stdio, self.link = stdio, link
        self.status: int | None = None

    def run(self) -> None:
        """The whole life, in the forked child."""
        os.setsid()
        agent_exec.reap_orphans(b"dash-leash")
        wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        leash = os.getpid()
        tool = os.fork()
        if tool == 0:
            self.birth.become(leash, self.stdio)
        for fd in self.stdio:
            os.close(fd)
        self.birth.wait(-1, tool, self.link)
        if self.birth.error is None:
            self._until_it_ends(tool, wake)
        self._say(self._end(tool, wake))

    def _until_it_ends(self, tool: int, wake: int) -> None:
        """Returns when the tool has ended, or nobody waits for it any more."""
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            self._reap(tool)
            if self.status is not None or any(fd == self.link for fd, _ in poll.poll()):
                return
            _drain(wake)

    def _reap(self, tool: int) -> bool:
        """False when no child is left, so no descendant is: orphans are reparented to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == tool:
                self.status = status

    def _end(self, tool: int, wake: int) -> dict[str, Any]:
        """KILL to all that is left, until nothing is."""
        ended, give_up_at = self.status, time.monotonic() + KILL_S_MAX
        self.birth.kill()
        while self._reap(tool):
            left = processes.signal_tree(signal.SIGKILL)
            if time.monotonic() > give_up_at:
                return {"error": f"{left} processes survived SIGKILL"}
            _rest(wake)
        self.birth.leave()
        if self.birth.error is not None:
            return {"error": self.birth.error}
        return {"status": ended} if ended is not None else {"error": "it was ended"}

    def _say(self, word: dict[str, Any]) -> None:
        send(self.link, word)


def _rest(wake: int) -> None:
    """Until a child has ended, but not longer than KILL_AGAIN_S."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.poll(KILL_AGAIN_S * 1000)
    _drain(wake)


def _drain(wake: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(wake, 4096)


def send(link: int, word: dict[str, Any]) -> None:
    """Says the last word; whoever is gone needs none."""
    with contextlib.suppress(OSError), contextlib.closing(socket.socket(fileno=os.dup(link))) as sock:
        sock.send(json.dumps(word).encode())


def hold(spec: dict[str, Any], fds: list[int], foreign: list[int]) -> None:
    """Forks one leash; raises OSError where its jail cannot be made ready."""
    leash = Leash(spec, (fds[0], fds[1], fds[2]), fds[3])
    try:
        leash.birth.prepare()
        if os.fork() == 0:
            _become_leash(leash, foreign)
    except OSError:
        leash.birth.leave()
        raise
    finally:
        leash.birth.close()


def _become_leash(leash: Leash, foreign: list[int]) -> NoReturn:
    try:
        for fd in foreign:
            os.close(fd)
        leash.run()
    except BaseException:
        import traceback  # too large to be in every fork

        traceback.print_exc()
        raise
    finally:
        os._exit(0)


def serve(control: socket.socket) -> None:
    """Forks a leash for each request until dashd is gone. A packet brings the descriptors, the first of them
    the request as JSON; what is wrong with it is said on its own socket.
    """
    room = socket.CMSG_SPACE(FDS * struct.calcsize("i"))
    while True:
        data, ancillary, _, _ = control.recvmsg(16, room, socket.MSG_CMSG_CLOEXEC)
        fds = [fd for _, _, rights in ancillary for (fd,) in struct.iter_unpack("i", rights)]
        if not data:
            return
        try:
            with open(os.dup(fds[0]), encoding="utf-8") as file:
                hold(json.load(file), fds[1:], [control.fileno(), fds[0]])
        except (OSError, ValueError, IndexError) as error:
            if len(fds) == FDS:
                send(fds[-1], {"error": getattr(error, "strerror", None) or str(error)})
        finally:
            for fd in fds:
                os.close(fd)


def _on_signal(number: int, _frame: object) -> None:
    """In the keeper: reaps leashes. A leash inherits the handler, and sees to its children itself."""
    if number == signal.SIGCHLD and os.getpid() == _keeper:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


_keeper = 0


def main() -> None:
    """Serves fd 0. Run as `python -I -S -c "… leash.main()"`."""
    global _keeper
    _keeper = os.getpid()
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:  # a program would inherit it through exec
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, _on_signal)
    control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in a leash would copy every page it looks at
    with contextlib.suppress(ConnectionError):
        serve(control)
