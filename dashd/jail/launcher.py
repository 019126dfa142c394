"""dashd's side of the fork server: starts it, asks it for holders, replaces it when it died.

A launch whose answer did not come (ForkServerGone, or a cancelled caller) is in doubt, not failed:
`launch_folder.examine` settles it. Holders never depend on the fork server once forked.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import trio

from dashd.jail import holder_link, processes

_SCRIPT = Path(__file__).with_name("__main__.py")
_PACKET_BYTES_MAX = 65536
"""The fork server's own; loading that module, and the holder with it, would stay in dashd's memory."""
_INLINE_BYTES_MAX = 32768  # a larger request goes in a memfd: a packet must fit the socket's send buffer
_END_S_MAX = 5.0
_ENVIRON = {"LD_BIND_NOW": "1"}
"""Symbols are looked up once, here, and not in every fork at a copied page each. No agent inherits it."""


class LaunchFailed(Exception):
    """The fork server refused: nothing was started for this launch id."""

    ends: Literal["failed", "never"] = "failed"
    """Whether that counts as a run of its task."""


class ForkServerGone(Exception):
    """The fork server ended before it answered; whether the launch started must be examined."""


class LaunchSpec(msgspec.Struct, frozen=True):
    """What to run. `env` is the whole environment of the agent but for DASH_LAUNCH, which is added.

    `lease_s` is how long the agent may live without a daemon (0: not at all), `grace_s` what it gets
    between TERM and KILL where no stop request says otherwise; `output_bytes_max` bounds the spool's
    payload. `jail` is `launch.plan`'s; None runs the program as it is. `session_lock` is a file that the
    holder locks for its life: one launch has it at a time. `crash_at` is for tests.
    """

    launch_id: str
    argv: tuple[str, ...] | list[str]
    env: dict[str, str]
    cwd: str
    lease_s: float = 120.0
    stdin: bool = False
    grace_s: float = 5.0
    output_bytes_max: int | None = None
    jail: dict[str, Any] | None = None
    session_lock: str | None = None
    crash_at: str | None = None

    def to_request(self, epoch: int | None) -> bytes:
        """The request as the fork server reads it; undecodable file names travel as lone surrogates."""
        request = {
            "launch": self.launch_id,
            "argv": list(self.argv),
            "env": self.env,
            "cwd": self.cwd,
            "lease_s": self.lease_s,
            "stdin": self.stdin,
            "grace_s": self.grace_s,
            "output_bytes_max": self.output_bytes_max,
            "jail": self.jail,
            "session_lock": self.session_lock,
            "crash_at": self.crash_at,
            "epoch": epoch,
        }
        return json.dumps(request).encode()


class _ForkServer:
    """One running fork server, its socket and the answers that callers wait for."""

    def __init__(self, process: subprocess.Popen[bytes], control: trio.socket.SocketType) -> None:
        self.process = process
        self.control = control
        self.ready = self.gone = False
        self.answers: dict[str, dict[str, Any] | None] = {}
        self.sending, self.receiving = trio.Lock(), trio.Lock()

    @property
    def serves(self) -> bool:
        """Whether it has its lock and lives, as far as the kernel knows."""
        return self.ready and not self.gone and self.process.poll() is None

    async def start(self) -> None:
        """Waits until it serves. Raises LaunchFailed if it cannot take its lock, and ForkServerGone."""
        try:
            answer = await self.receive()
            if answer["ready"] is None:
                raise LaunchFailed(answer["error"])
        except BaseException:
            self.gone = True
            raise
        self.ready = True

    async def send(self, request: bytes, fds: list[int]) -> None:
        """One request, whole; ForkServerGone if nobody is there."""
        body: int | None = None
        try:
            if len(request) > _INLINE_BYTES_MAX:
                body = _in_memory(request)
                request, fds = json.dumps({"body": len(request)}).encode(), [body, *fds]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
            async with self.sending:
                await self.control.sendmsg([request], rights)
        except (OSError, trio.ClosedResourceError) as error:
            self.gone = True
            raise ForkServerGone(f"the fork server is gone: {error}") from None
        finally:
            if body is not None:
                os.close(body)

    async def receive(self) -> dict[str, Any]:
        """The next answer; ForkServerGone at the end."""
        try:
            packet = await self.control.recv(_PACKET_BYTES_MAX)
        except (OSError, trio.ClosedResourceError):  # closed: another caller found it dead, or we are leaving
            packet = b""
        if not packet:
            self.gone = True
            raise ForkServerGone("the fork server ended before it answered")
        answer: dict[str, Any] = json.loads(packet)
        return answer

    async def answer(self, launch_id: str) -> dict[str, Any]:
        """Waits for one launch's answer. Callers take turns at reading, so no task of its own is needed."""
        while self.answers[launch_id] is None:
            async with self.receiving:
                if self.answers[launch_id] is not None:
                    break
                if self.gone:
                    raise ForkServerGone("the fork server ended before it answered")
                answer = await self.receive()
                if answer["launch"] in self.answers:  # not: its caller was cancelled
                    self.answers[answer["launch"]] = answer
        found = self.answers[launch_id]
        assert found is not None
        return found

    def end(self) -> None:
        """Closes its socket, which ends it, and makes sure. Blocks for its last instant only."""
        self.control.close()
        self.process.kill()
        self.process.wait()


def _in_memory(body: bytes) -> int:
    """A memfd with `body` in it, for what does not fit a packet; no disk is touched."""
    fd = os.memfd_create("launch")
    with open(fd, "wb", closefd=False) as file:
        file.write(body)
    return fd


class Launcher:
    """Starts holders. Concurrent callers are pipelined."""

    def __init__(self, launches: Path, python: str, crash_at: str | None) -> None:
        """Use `open_launcher`. Makes the folder if need be, once and before anything waits for us."""
        launches.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._launches, self._python, self._crash_at = launches.absolute(), python, crash_at
        self._server: _ForkServer | None = None
        self._starting = trio.Lock()

    @property
    def fork_server_pid(self) -> int | None:
        """The pid of the fork server last started, for tests and status."""
        return self._server.process.pid if self._server else None

    async def launch(self, spec: LaunchSpec, listener: socket.socket | None = None) -> int:
        """Starts one holder and returns its pid; the agent is starting then, or has already ended.

        The holder keeps a dup of `listener`; the caller's own stays the caller's. Raises LaunchFailed
        (nothing was started) and ForkServerGone (in doubt). Cancelled, the launch is in doubt too.
        """
        return await self._launch(spec, None, [listener.fileno()] if listener else [])

    async def launch_adopted(
        self, spec: LaunchSpec, epoch: int, listener: socket.socket | None = None
    ) -> holder_link.HolderLink:
        """Starts one holder that is this daemon's from birth, and returns once its agent has called exec.

        Saves the adoption's round trip, and no end can be missed, however short the life. Closing the link
        detaches as usual. Raises LaunchFailed and ForkServerGone like `launch`, and HolderGone (examine).
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise LaunchFailed(f"no way to its holder: {error.strerror}") from None
        try:
            with theirs:
                fds = [theirs.fileno(), *([listener.fileno()] if listener else [])]
                await self._launch(spec, epoch, fds)
        except BaseException:
            ours.close()
            raise
        return await holder_link.adopted_at_birth(ours)

    async def _launch(self, spec: LaunchSpec, epoch: int | None, fds: list[int]) -> int:
        server = await self._running()
        if spec.launch_id in server.answers:
            raise LaunchFailed(f"launch {spec.launch_id} is already being started")
        server.answers[spec.launch_id] = None
        try:
            await server.send(spec.to_request(epoch), fds)
            answer = await server.answer(spec.launch_id)
        finally:
            del server.answers[spec.launch_id]
        if "error" in answer:
            raise LaunchFailed(answer["error"])
        return int(answer["holder"])

    async def start(self) -> None:
        """Starts the fork server if none is running. Raises LaunchFailed if it cannot take its lock."""
        await self._running()

    async def _running(self) -> _ForkServer:
        if self._server is not None and self._server.serves:  # nearly always: no turn of the loop for a lock
            return self._server
        async with self._starting:
            server = self._server
            if server is None or not server.serves:
                self.close()
                server = self._server = self._spawn()  # before it serves, so that `close` ends it
                await server.start()
            return server  # somebody may have closed it just now: then nobody answers

    def _spawn(self) -> _ForkServer:
        """Popen inline: vfork holds the loop for 0.1 ms, while a preexec_fn would fork all of dashd."""
        argv = [self._python, "-I", "-S", str(_SCRIPT), str(self._launches), *filter(None, [self._crash_at])]
        with contextlib.ExitStack() as ends:
            try:
                ours, theirs = map(
                    ends.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                )
                process = subprocess.Popen(
                    argv,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=_ENVIRON,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:  # no descriptor or no process is left, or Python is gone
                raise LaunchFailed(f"the fork server cannot be started: {error.strerror}") from None
            ends.pop_all()
            theirs.close()
        ours.setblocking(False)
        return _ForkServer(process, trio.socket.from_stdlib_socket(ours))

    def close(self) -> None:
        """Ends the fork server; holders live on, callers still waiting get ForkServerGone."""
        if self._server is not None:
            self._server.gone = True
            self._server.end()
            self._server = None


@asynccontextmanager
async def open_launcher(
    launches: Path, *, python: str = sys.executable, crash_at: str | None = None
) -> AsyncIterator[Launcher]:
    """A launcher over the folder `launches` (made if need be); on leaving, its fork server is ended.

    Raises LaunchFailed if another fork server has the folder: `end_previous_fork_server` first.
    `crash_at` is a boot crash point of the fork server, for tests.
    """
    launcher = Launcher(launches, python, crash_at)
    try:
        await launcher.start()
        yield launcher
    finally:
        launcher.close()


def end_previous_fork_server(launches: Path) -> None:
    """Makes sure that no fork server of an earlier dashd is left: then nobody forks holders here but us.

    Blocking, at most some seconds. Raises TimeoutError if the lock's owner cannot be ended.
    """
    try:
        fd = os.open(launches / "forkserver.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    give_up_at = time.monotonic() + _END_S_MAX
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"{launches / 'forkserver.lock'} stays locked") from None
            # A note that is stale or not yet written names nobody who started then: look again.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                note = json.loads(os.pread(fd, 4096, 0))
                processes.send_signal(int(note["pid"]), int(note["start_time"]), signal.SIGKILL)
            time.sleep(0.005)
    finally:
        os.close(fd)
