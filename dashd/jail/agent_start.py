"""How a holder learns that its agent runs: one socket, from the fork until the agent's own program has begun.

An exec closes the other end. Before it there may come why nothing was started, and from a jail's stage the
agent's listener and `ready`: without that word, whatever ended inside was the jail and not the agent. The
stage then waits for `go`, which is said only while bubblewrap lives. By then every process of the jail ends
with its parent (stage.py), so none can be left whenever we are killed. Standard library only.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import os
import select
import struct
import time

from dashd.jail import agent_exec, dial
from dashd.jail.agent_jail import AgentJail
from dashd.jail.cgroup import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

START_S_MAX = 15.0
"""For a jail to be built and to test itself; a mount that hangs must not keep the holder from its daemon."""
_NEWS_BYTES_MAX = 4096
_LAST_WORDS_BYTES_MAX = 2048


class AgentStart:
    """One start, prepared in the fork server, carried out in the holder."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Raises OSError, with what was opened in `fds`."""
        self.spec = spec
        self.fds: list[int] = []
        self.error: str | None = None
        self.listener: int | None = None
        self._ready = False
        self.jail = AgentJail(spec["jail"]) if spec.get("jail") else None
        place = spec["jail"].get("cgroup") if spec.get("jail") else None
        self.cgroup = Cgroup(place["path"], place["limits"]) if place else None

    def prepare(self) -> None:
        """Opens all that the start will need. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours, self._theirs = ours.detach(), theirs.detach()
        self.fds += [self._ours, self._theirs]
        self._env = {**self.spec["env"], "DASH_LAUNCH": self.spec["launch"]}
        self._files = agent_exec.programs(self.spec["argv"][0], self.spec["env"])
        if self.jail:
            self.jail.prepare(self.spec["argv"], self._files, self._env)
        if self.cgroup:
            self.cgroup.make()

    def close(self) -> None:
        """In the fork server, after the fork."""
        for fd in self.fds:
            os.close(fd)
        if self.jail:
            self.jail.close()

    def become(self, holder: int, stdio: tuple[int, int, int]) -> NoReturn:
        """In the forked child: becomes the agent, or the jail that it is started in."""
        agent_exec.be_ended_first()
        if self.cgroup:
            self._enter(self.cgroup)
        argv, files, env, cwd = self.spec["argv"], self._files, self._env, self.spec["cwd"]
        if self.jail:
            for fd in (*self.jail.fds, self._theirs):
                os.set_inheritable(fd, True)
            argv = self.jail.command(self._theirs)
            files, cwd = argv[:1], "/"
            env = {"DASH_LAUNCH": env["DASH_LAUNCH"], **(env if self.spec["jail"]["inherit_env"] else {})}
            try:
                self.jail.enter()
            except OSError as error:
                os.write(self._theirs, str(error.strerror).encode("utf-8", "replace"))
                os._exit(127)
        agent_exec.become_agent(argv, files, env, cwd, holder, stdio, self._theirs)

    def _enter(self, cgroup: Cgroup) -> None:
        """In the forked child: nothing of the agent's is anywhere else."""
        try:
            cgroup.enter()
        except OSError as error:
            os.write(self._theirs, agent_exec.failure_text(error, "enter", cgroup.path).encode())
            os._exit(127)

    def kill(self) -> None:
        """In the holder: what the kernel can end at once, if there is a cgroup."""
        if self.cgroup:
            self.cgroup.kill()

    def over(self) -> str | None:
        """In the holder, when the agent has ended: the bound for which the kernel did that, in words."""
        return self.cgroup.over() if self.cgroup else None

    def dial(self, pid: int, port: int, asker: socket.socket) -> None:
        """In the holder: has `asker` given a connection to a port where the agent, `pid`, lives."""
        dial.dial(pid, port, asker)

    def leave(self) -> None:
        """In the holder, last of all."""
        if self.cgroup:
            self.cgroup.remove()

    def wait(self, stderr: int, pid: int, leash: int | None = None) -> None:
        """In the holder: returns once the agent's program has begun, or `error` says why it did not.

        `stderr` is read where a jail ended without a word of its own: bubblewrap explains itself there. `pid`
        is the forked child. Should `leash` become readable, nothing more is started.
        """
        os.close(self._theirs)
        self.fds.remove(self._theirs)
        if self.jail:
            self.jail.close()
        news = socket.socket(fileno=os.dup(self._ours))
        give_up_at = time.monotonic() + START_S_MAX
        while True:
            left_ms = max(0.0, give_up_at - time.monotonic()) * 1000 if self.jail else None
            poll = select.poll()
            poll.register(self._ours, select.POLLIN)
            if leash is not None:
                poll.register(leash, select.POLLIN)
            ready = poll.poll(left_ms)
            if any(fd == leash for fd, _ in ready):
                self.error = "nobody waits for it any more"
                break
            if not ready:
                self.error = f"its jail was not ready after {START_S_MAX:g} s"
                break
            if not self._take(news, pid):
                break
        news.close()
        if self.jail and not self._ready and self.error is None:
            self.error = f"its jail ended before it began: {_last_words(stderr)}"

    def _take(self, news: socket.socket, pid: int) -> bool:
        """One message; False at the end."""
        try:
            message, ancillary, _, _ = news.recvmsg(
                _NEWS_BYTES_MAX, socket.CMSG_SPACE(struct.calcsize("i")), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return False
        rights = [fd for _, _, data in ancillary for (fd,) in struct.iter_unpack("i", data)]
        if message == b"listener" and rights and self.listener is None:
            self.listener = rights.pop()
        elif message == b"ready":
            self._ready = True
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                with contextlib.suppress(OSError):  # it ended this instant, and the end is what is read next
                    news.send(b"go")
        elif message:
            self.error = message.decode("utf-8", "replace")
        for fd in rights:
            os.close(fd)
        return bool(message)


def _last_words(fd: int) -> str:
    try:
        said = os.read(fd, _LAST_WORDS_BYTES_MAX)
    except OSError:
        said = b""
    return said.decode("utf-8", "replace").strip() or "it said nothing"
