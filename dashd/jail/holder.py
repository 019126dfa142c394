"""The holder: one small process between dashd and one agent process (design.md section 3).

It owns the agent's life, output spool, stdin, exit record and lease; it is a single thread with one wait and
one deadline. The fork server loads this file once, prepares each holder and runs it in a forked child.
Standard library only. Crash points, in order: holder.born, holder.before_begin, holder.after_begin,
holder.after_fork, holder.after_exec, holder.after_adopt, holder.before_exit, holder.exit_tmp,
holder.after_exit, holder.before_kill (of a lease, whose record comes first), holder.before_notify.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import functools
import os
import select
import signal
import time

from dashd.jail import agent_exec, agent_out, agent_start, agent_stdin, daemon_link, holder_folder, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STRANGERS_MAX = 8  # connections that have not said `adopt`; the oldest is dropped for a newer one
BIRTH_LEASE_S_MIN = 10.0  # a lease of 0 still leaves the daemon time for its first adopt
LEFTOVER_GRACE_S_MAX = 1.0  # what an agent left behind gets this long between TERM and KILL
GRACE_S_MAX, BREACH_CHARS_MAX = 1e6, 1000
KILL_S_MAX = 5.0  # then the holder reports the survivors (uninterruptible sleep) and goes
KILL_AGAIN_S = 0.02
PAUSE_S_MAX = 0.1  # an uninterruptible sleep may last, but no instruction of the agent runs after it
NOTIFY_S_MAX = 5.0  # for a daemon that does not read; the exit file is the truth
DRAIN_READS_MAX = 64
WAIT_MS_MAX = 2_000_000_000  # what poll(2) can say


def crash(point: str, crash_at: str | None) -> None:
    """Kills this process if a test asked for it at `point`."""
    if crash_at == point:
        os.kill(os.getpid(), signal.SIGKILL)


class Holder:
    """Phases: running -> ending (TERM sent, grace) -> killing (until no child is left) -> leaving -> done."""

    def __init__(
        self, spec: dict[str, Any], folder: int, door: socket.socket, link: int | None, listener: int | None
    ) -> None:
        """`folder` is a directory fd, `door` listens.

        `link` is connected to the daemon that launches with an epoch, `listener` is the dup of the agent's.
        """
        self.spec, self.folder, self.door = spec, folder, door
        self.link_at_birth, self.listener = link, listener
        self.birth = agent_start.AgentStart(spec)
        self.phase, self.paused, self.reason = "running", False, "exit"
        self.epoch = -1
        self.link: daemon_link.DaemonLink | None = None
        self.strangers: list[daemon_link.DaemonLink] = []
        self.deadline: float | None = None
        self.kill_until = 0.0
        self.agent, self.agent_start, self.begun_at, self.wall_ms = 0, 0, 0.0, 0
        self.status: int | None = None
        self.breach: str | None = None
        self.error: str | None = None
        self.record: dict[str, Any] | None = None
        self.poll = select.poll()
        self.actions: dict[int, Callable[[], object]] = {}
        self.fds: list[int] = []

    # -- birth ---------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Opens all that the life will need, in the fork server, which refuses where the world does.

        Raises OSError; `close` afterwards, in either case.
        """
        self.wake, self.wake_write = self.own(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        self.birth.prepare()
        self.null = self.own(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))[0]
        self.stdin = agent_stdin.AgentStdin(self.spec["stdin"])
        self.own(*self.stdin.fds())
        pipes = [self.own(*os.pipe()), self.own(*os.pipe())]
        self.session = self.own(*holder_folder.lock_session(self.spec["session_lock"]))
        self.stdio = (self.null if self.stdin.closed else self.stdin.read_end, pipes[0][1], pipes[1][1])
        self.output = agent_out.AgentOut(self.folder, self.spec["output_bytes_max"], pipes[0][0], pipes[1][0])
        self.spool = self.output.spool
        (self.exit_fd,) = self.own(holder_folder.reserve_exit(self.folder))
        self.begin = holder_folder.Begin(self.folder, self.spec["boot_id"])
        self.own(self.begin.fd)
        self.watch(self.wake, self.on_signal)
        self.watch(self.door.fileno(), self.on_knock)
        for fd in self.output.open:
            self.watch(fd, functools.partial(self.on_output, fd))

    def own(self, *fds: int) -> tuple[int, ...]:
        """Remembers what the fork server has to close."""
        self.fds += fds
        return fds

    def close(self) -> None:
        """In the fork server, after the fork: closes what `prepare` opened."""
        for fd in self.fds:
            os.close(fd)
        self.birth.close()

    def crash(self, point: str) -> None:
        """See the module's docstring."""
        crash(point, self.spec["crash_at"])

    def watch(self, fd: int, action: Callable[[], object], events: int = select.POLLIN) -> None:
        """Calls `action` whenever `fd` is ready."""
        self.actions[fd] = action
        self.poll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forgets `fd`, watched or not."""
        if self.actions.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def run(self) -> None:
        """The holder's whole life, in the forked child; its signal handlers are inherited and do nothing."""
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        agent_exec.reap_orphans(b"dash-holder")
        if not self.begin.take(self.crash):
            return
        self.begun_at = time.monotonic()
        self.deadline = self.begun_at + max(self.spec["lease_s"], BIRTH_LEASE_S_MIN)
        failed = self.start()
        self.adopt_at_birth()
        if failed:
            self.finish()
        while self.phase != "done":
            self.step()

    def start(self) -> bool:
        """Forks the agent and waits until its program has begun or says why not; True if no process came."""
        holder = os.getpid()
        try:
            self.agent = os.fork()
        except OSError as error:
            self.reason, self.error = "start", agent_exec.failure_text(error, "fork", "")
            return True
        if self.agent == 0:
            self.birth.become(holder, self.stdio)
        self.crash("holder.after_fork")
        for fd in (self.null, *self.stdio[1:]):
            os.close(fd)
        self.agent_start = processes.start_time(self.agent) or 0
        self.begin.note(self.agent, self.agent_start)
        # Not for the news alone: from its exec on, our pages are ours again and cost no copying.
        self.birth.wait(self.output.stderr, self.agent)
        if self.birth.error is not None:
            self.reason, self.error = "start", self.birth.error
            processes.signal_tree(signal.SIGKILL)
        self.listener = self.birth.listener if self.listener is None else self.listener
        self.crash("holder.after_exec")
        return False

    def adopt_at_birth(self) -> None:
        """A daemon that gave us its link has us from the start; of listeners it lacks only the jail's."""
        if self.link_at_birth is not None:
            link = daemon_link.DaemonLink(socket.socket(fileno=self.link_at_birth))
            self.watch(self.link_at_birth, functools.partial(self.on_request, link))
            try:
                self.adopt(link, self.spec["epoch"], self.birth.listener)
            except OSError:
                self.drop(link)

    def step(self) -> None:
        """Waits for one thing or the one deadline, and reacts."""
        wait_ms = None
        if self.deadline is not None:
            wait_ms = max(0, min(WAIT_MS_MAX, (self.deadline - time.monotonic()) * 1000))  # poll rounds up
        for fd, _ in sorted(self.poll.poll(wait_ms), key=lambda each: each[0] == self.wake):  # ends are last
            if fd in self.actions:  # an earlier action of this round may have closed it
                self.actions[fd]()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.deadline = None
            self.on_deadline()
        self.flush()

    def on_deadline(self) -> None:
        """The lease, the grace, the next kill or the patience with a slow reader has run out."""
        if self.phase == "running":
            self.reason = "lease"
            for sock in (self.door, *(link.sock for link in self.strangers)):
                self.unwatch(sock.fileno())  # who comes now waits for the end, then reads the record
            self.write_exit()
            self.crash("holder.before_kill")
            self.kill()
        elif self.phase in ("ending", "killing"):
            self.kill()
        elif self.phase == "leaving":
            self.phase = "done"

    # -- the agent and its tree ----------------------------------------------------------------------------

    def on_signal(self) -> None:
        """SIGCHLD: reaps, also what was reparented to us. SIGTERM (a machine going down): stops the agent."""
        if signal.SIGTERM in os.read(self.wake, 4096):
            self.stop(self.spec["grace_s"])
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                if self.status is not None and self.phase == "running":
                    self.end(min(self.spec["grace_s"], LEFTOVER_GRACE_S_MAX))
                return
            if pid == self.agent:
                self.status, self.wall_ms = status, round((time.monotonic() - self.begun_at) * 1000)
        if self.phase in ("running", "ending", "killing"):
            self.finish()  # no child is left, so no descendant is: orphans are reparented to us

    def stop(self, grace_s: float) -> None:
        """Ends the agent on request; asked again, the earlier end of the grace holds."""
        if self.phase == "running" and self.reason == "exit":
            self.reason = "stop"
            self.end(grace_s)
        elif self.phase == "ending" and self.deadline is not None:
            self.deadline = min(self.deadline, time.monotonic() + grace_s)

    def end(self, grace_s: float) -> None:
        """TERM to the whole tree (CONT, for what is paused), KILL after the grace."""
        self.phase, self.deadline, self.paused = "ending", time.monotonic() + grace_s, False
        # Not to bubblewrap itself: with it the jail would end at once, and nobody inside would hear of it.
        spared = (self.agent,) if self.birth.jail else ()
        processes.signal_tree(signal.SIGTERM, signal.SIGCONT, spared=spared)

    def kill(self) -> None:
        """KILL to the whole tree, again and again until no child is left or KILL_S_MAX is over."""
        now = time.monotonic()
        if self.phase != "killing":
            self.phase, self.kill_until = "killing", now + KILL_S_MAX
        self.birth.kill()
        alive = processes.signal_tree(signal.SIGKILL)
        if now >= self.kill_until:
            self.error = f"{alive} processes survived SIGKILL"
            self.finish()
        else:
            self.deadline = now + KILL_AGAIN_S

    def pause(self, on: bool) -> None:
        """Stops or continues the whole tree."""
        if self.phase == "running":
            processes.signal_tree(signal.SIGSTOP if on else signal.SIGCONT)
            give_up_at = time.monotonic() + PAUSE_S_MAX
            while on and not processes.is_tree_stopped() and time.monotonic() < give_up_at:
                time.sleep(0.001)  # the signal is on its way to another processor
            self.paused = on
        self.say("paused", self.paused)

    # -- output, input -------------------------------------------------------------------------------------

    def on_output(self, fd: int) -> bool:
        """Moves one read of a pipe into the spool; False if there was nothing."""
        before, lost = self.spool.file_bytes, self.spool.lost_bytes
        moved = self.output.move(fd, keep=self.record is None)  # after the lease's record the spool is closed
        if self.spool.file_bytes != before:  # past its bound a flood is no news
            self.say("spool", self.spool.file_bytes)
        if self.spool.lost_bytes != lost:
            self.say("lost", self.spool.lost_bytes)
        while self.output.ended:
            ended = self.output.ended.pop()
            self.unwatch(ended)
            os.close(ended)
        return moved

    def take_input(self, number: int, data: bytes, eof: bool) -> None:
        """Hands input to the agent's stdin and answers which number was taken last."""
        self.stdin.take(number, data, eof)
        if self.stdin.pending and self.stdin.write_end not in self.actions:
            self.watch(self.stdin.write_end, self.on_stdin_room, select.POLLOUT)
        self.say("input", self.stdin.report())

    def on_stdin_room(self) -> None:
        """Goes on writing; an input that was refused for want of room is asked for again."""
        write_end = self.stdin.write_end
        if self.stdin.write():
            self.unwatch(write_end)
            if self.stdin.refused_full:
                self.stdin.refused_full = False
                self.say("input", self.stdin.report())

    # -- the daemon ----------------------------------------------------------------------------------------

    def say(self, kind: str, body: object) -> None:
        """Tells the daemon, if one is connected; `step` sends."""
        if self.link:
            self.link.say(kind, body)

    def flush(self) -> None:
        """Sends what is queued; waits for room only in `step`."""
        if self.link is None:
            return
        try:
            sent = self.link.flush()
        except OSError:
            self.drop(self.link)
            return
        self.poll.modify(self.link.sock.fileno(), select.POLLIN if sent else select.POLLIN | select.POLLOUT)
        if sent and self.phase == "leaving":
            self.phase = "done"

    def on_knock(self) -> None:
        """Accepts a connection of this uid: a stranger, for whom the lease runs on, until it says `adopt`."""
        if (link := daemon_link.accept(self.door)) is not None:
            self.strangers.append(link)
            self.watch(link.sock.fileno(), functools.partial(self.on_request, link))
            if len(self.strangers) > STRANGERS_MAX:
                self.drop(self.strangers[0])

    def on_request(self, link: daemon_link.DaemonLink) -> None:
        """Obeys what has arrived; EOF, and anything that is not a request, ends the connection."""
        try:
            for request in link.lines():
                self.obey(link, request)
        except (OSError, ValueError, TypeError, RecursionError):
            self.drop(link)

    def drop(self, link: daemon_link.DaemonLink) -> None:
        """Closes a connection, once; the adopter's going starts the lease."""
        if link.sock.fileno() < 0:
            return
        self.unwatch(link.sock.fileno())
        link.sock.close()
        if link in self.strangers:
            self.strangers.remove(link)
        if link is self.link:
            self.link = None
            if self.phase == "running":
                self.deadline = time.monotonic() + self.spec["lease_s"]
            elif self.phase == "leaving":
                self.phase = "done"

    def obey(self, link: daemon_link.DaemonLink, request: dict[str, Any]) -> None:
        """One request; ValueError for one that is malformed or comes before `adopt`."""
        match request:
            case {"adopt": int(epoch)}:
                self.adopt(link, epoch, self.listener)
            case {"dial": int(port)} if self.phase == "running":
                self.birth.dial(self.agent, port, link.sock)
                self.drop(link)  # the answer comes from the child, which has its own
            case _ if link is not self.link:
                raise ValueError("adopt first")
            case {"input": int(number), "data": str(data)}:
                import binascii  # maps two libraries into every fork, and few agents are given input

                self.take_input(number, binascii.a2b_base64(data), bool(request.get("eof")))
            case {"pause": _}:
                self.pause(True)
            case {"resume": _}:
                self.pause(False)
            case {"breach": str(text)}:
                # The watchdog's: for the record, should dashd not live to write its own.
                self.breach = text[:BREACH_CHARS_MAX]
                self.kill()
            case {"stop": int() | float() as grace_s} if 0 <= grace_s <= GRACE_S_MAX:
                self.stop(grace_s)
            case _:  # a newer daemon may ask what this holder cannot
                self.say("unknown", sorted(request))

    def adopt(self, link: daemon_link.DaemonLink, epoch: int, listener: int | None) -> None:
        """Makes `link` the daemon's, cancels the lease in the same step and hands out the listener.

        OSError if the peer is gone already.
        """
        if epoch < self.epoch:
            self.refuse(link)
            return
        self.epoch, older, self.link = epoch, self.link, link
        if link in self.strangers:
            self.strangers.remove(link)
        if older is not None and older is not link:
            self.refuse(older)
        if self.phase == "running":
            self.deadline = None
        adopted = {
            "state": "exited" if self.record else "paused" if self.paused else "running",
            "spool_bytes": self.spool.file_bytes,
            "lost": self.spool.lost_bytes,
            "input": self.stdin.last,
            "pid": self.agent,
            "start_time": self.agent_start,
            "boot_id": self.spec["boot_id"],
            "exit": self.record,
        }
        link.answer({"adopted": adopted}, listener)
        self.crash("holder.after_adopt")
        if self.record:
            self.say("exited", self.record)

    def refuse(self, link: daemon_link.DaemonLink) -> None:
        """Tells a daemon of an earlier epoch, or an earlier connection, that it was displaced."""
        link.pending = {"refused": {"epoch": self.epoch}}
        with contextlib.suppress(OSError):
            link.flush()
        self.drop(link)

    # -- the end -------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The tree is gone: drains the pipes, writes the record, tells whoever is connected."""
        self.deadline = None
        for fd in list(self.output.open):
            for _ in range(DRAIN_READS_MAX):  # an fd passed out of the tree may still be written to
                if not self.on_output(fd):
                    break
        if self.record is None:
            self.write_exit()
        for fd in (*self.session, self.begin.fd):  # no longer alive: whoever hears of the end can read the
            os.close(fd)  # record, and start another in its session
        self.crash("holder.before_notify")
        self.say("exited", self.record)
        self.phase = "leaving" if self.link else "done"
        self.deadline = time.monotonic() + NOTIFY_S_MAX

    def write_exit(self) -> None:
        """Makes the exit record true on disk; nothing is spooled after it."""
        self.spool.finish()
        code = None
        if self.status is not None and self.reason != "start":
            code = agent_exec.exit_code(self.status, jailed=self.birth.jail is not None)
        self.record = {
            "code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "reason": self.reason,
            "error": self.error,
            "spool_bytes": self.spool.file_bytes,
            "spool_dropped": self.spool.dropped_bytes,
            "wall_ms": self.wall_ms or round((time.monotonic() - self.begun_at) * 1000),
            "breach": self.breach or self.birth.over(),
            **agent_exec.usage(),
        }
        self.crash("holder.before_exit")
        with contextlib.suppress(OSError):  # a full disk: the record says how much was not kept
            self.spool.sync()
        try:
            holder_folder.write_exit(self.folder, self.exit_fd, self.record, self.crash)
        except OSError as error:  # a full disk: who is connected still hears it, otherwise the launch is lost
            self.record["error"] = f"exit record not written: {error.strerror}"
        self.crash("holder.after_exit")
