"""Holders that a test steers: a real folder, lock, spool and socket in the test's own loop, and no process.

What dashd reads and says is therefore the real thing, byte for byte; only the agent is made up.
tests/runtime/test_holders.py holds them to what real ones do.
"""

import base64
import contextlib
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

import trio

from dashd.jail import spool

NOBODY = 4_194_305
"""One more than the largest pid, so that no signal can reach anybody."""

FOR_EVER_S = 1_000_000
"""Of virtual time: where nothing more can happen, a test fails at once instead of hanging."""


class FakeHolder:
    """The holder of one launch folder; made by FakeLauncher."""

    def __init__(self, folder: Path, nursery: trio.Nursery, *, lease_s: float = 120.0) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.lease_s = lease_s
        self.requests: list[dict[str, Any]] = []
        """What it was asked, `adopt` included."""
        self.epoch = 0
        self.state = "running"
        self.obeys = True
        """False: it hears `pause`, `resume` and `stop`, and nothing comes of them."""
        self.lingers = False
        """True: after the end it stays for whoever still wants to hear of it."""
        self.inputs: list[bytes] = []
        """What its agent was given, each number once; `b""` is the end of it."""
        self.deaf = False
        """True: it takes no input, for want of room."""
        self.lost = 0
        self.record: dict[str, Any] | None = None
        self._stirred = trio.Event()
        self._here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._begin = os.open(folder / "begin", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._begin, fcntl.LOCK_EX)
        os.write(self._begin, json.dumps({"agent": NOBODY, "start_time": 7, "boot_id": "other"}).encode())
        self._spool = spool.Writer(self._here, None)
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(f"/proc/self/fd/{self._here}/h.sock")
        self._door.listen(16)
        self._door.setblocking(False)
        self._link: socket.socket | None = None
        self._peers: set[socket.socket] = set()
        self._nursery = nursery
        self._life = trio.CancelScope()
        nursery.start_soon(self._accept)

    # --- what happens to it -------------------------------------------------------------------------------

    def prints(self, payload: bytes, stream: int = 1, *, quietly: bool = False) -> None:
        """The agent prints; `quietly`, the daemon has not been told yet."""
        self._spool.append(stream, payload)
        if not quietly:
            self._say("spool", self._spool.file_bytes)

    def loses(self, count: int, *, quietly: bool = False) -> None:
        """The agent prints, and the disk is full."""
        self.lost += count
        if not quietly:
            self._say("lost", self.lost)

    def exits(
        self, code: int | None = 0, *, sig: int | None = None, reason: str = "exit", **more: Any
    ) -> None:
        """The agent ends, and the holder after it has written the record and told the daemon."""
        self.record = {
            "code": code, "signal": sig, "reason": reason, "error": None,
            "spool_bytes": self._spool.file_bytes, "spool_dropped": 0, "wall_ms": 10, "cpu_ms": 5,
            "max_rss_kib": 2048, **more,
        }  # fmt: skip
        (self.folder / "exit").write_text(json.dumps(self.record))
        os.close(self._begin)
        self._say("exited", self.record)
        if not self.lingers:
            self._leave()

    def dies(self) -> None:
        """SIGKILL of the holder: no record, no word."""
        os.close(self._begin)
        self._leave()

    def drops(self) -> None:
        """Its connection breaks; it lives on."""
        if self._link is not None:
            self._hang_up(self._link)
            self._link = None

    def freezes(self) -> None:
        """It lives and answers nobody."""
        self._life.cancel(reason="frozen")

    def thaws(self) -> None:
        """It goes on, with whoever has knocked meanwhile."""
        self._life = trio.CancelScope()
        self._nursery.start_soon(self._accept)

    def pauses(self, *, paused: bool = True) -> None:
        """The tree is stopped, or goes on, and the daemon is told."""
        self.state = "paused" if paused else "running"
        self._say("paused", paused)

    async def asked(self, verb: str) -> dict[str, Any]:
        """Returns once `verb` was asked for: that request."""
        with trio.fail_after(FOR_EVER_S):
            while not (found := [request for request in self.requests if verb in request]):
                await self._stirred.wait()
        return found[-1]

    def verbs(self) -> list[str]:
        """What it was asked so far, in order."""
        return [next(iter(request)) for request in self.requests]

    # --- its own life -------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._link = None
        for peer in [*self._peers, self._door]:
            self._hang_up(peer)
        os.close(self._here)
        if self._spool.fd >= 0:
            os.close(self._spool.fd)
        self._life.cancel(reason="the holder is gone")

    def _hang_up(self, sock: socket.socket) -> None:
        self._peers.discard(sock)
        with contextlib.suppress(RuntimeError):  # after the end of the loop nobody waits any more
            trio.lowlevel.notify_closing(sock)
        sock.close()

    def _say(self, kind: str, body: object) -> None:
        if self._link is not None:
            try:
                self._link.send(json.dumps({kind: body}).encode() + b"\n")
            except BrokenPipeError:  # whoever knocked has gone again
                self.drops()

    async def _accept(self) -> None:
        with self._life, contextlib.suppress(trio.ClosedResourceError):
            while self._door.fileno() >= 0:
                await trio.lowlevel.wait_readable(self._door)
                peer, _ = self._door.accept()
                self._peers.add(peer)
                self._nursery.start_soon(self._serve, peer)

    async def _serve(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        with contextlib.suppress(trio.ClosedResourceError):
            rest = b""
            while peer.fileno() >= 0:
                await trio.lowlevel.wait_readable(peer)
                data = peer.recv(65536) if peer.fileno() >= 0 else b""
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._obey(peer, json.loads(line))
        if peer.fileno() >= 0:
            self._hang_up(peer)

    def _obey(self, peer: socket.socket, request: dict[str, Any]) -> None:
        self.requests.append(request)
        self._stirred.set()
        self._stirred = trio.Event()
        match request:
            case {"adopt": int(epoch)} if epoch < self.epoch:
                peer.send(json.dumps({"refused": {"epoch": self.epoch}}).encode() + b"\n")
                self._hang_up(peer)
            case {"adopt": int(epoch)}:
                self.drops()
                self.epoch, self._link = epoch, peer
                adopted = {
                    "state": "exited" if self.record else self.state,
                    "spool_bytes": self._spool.file_bytes, "lost": self.lost, "input": len(self.inputs),
                    "pid": NOBODY, "start_time": 7, "boot_id": "other", "exit": self.record,
                }  # fmt: skip
                self._say("adopted", adopted)
            case {"pause": _} if self.obeys:
                self.pauses()
            case {"resume": _} if self.obeys:
                self.pauses(paused=False)
            case {"input": int(number), "data": str(data), "eof": bool(eof)}:
                self._take(number, base64.b64decode(data), eof=eof)
            case {"stop": _} if self.obeys:
                self.exits(None, sig=15, reason="stop")

    def hears_again(self) -> None:
        """It has room for input."""
        self.deaf = False
        self._say("input", {"last": len(self.inputs), "full": False, "closed": False})

    async def given(self, count: int) -> list[bytes]:
        """Returns once its agent has had that many inputs: all of them."""
        with trio.fail_after(FOR_EVER_S):
            while len(self.inputs) < count:
                await self._stirred.wait()
        return self.inputs

    def _take(self, number: int, data: bytes, *, eof: bool) -> None:
        if not self.deaf and number > len(self.inputs):
            assert number == len(self.inputs) + 1, f"input {number} after {len(self.inputs)}"
            self.inputs.append(data)
            self._stirred.set()
            self._stirred = trio.Event()
        self._say("input", {"last": len(self.inputs), "full": self.deaf, "closed": eof})

    def close(self) -> None:
        """For the end of a test: whatever is still open."""
        if self.record is not None:
            if self._door.fileno() >= 0:
                self._leave()
        elif self._door.fileno() >= 0:
            self.dies()
        for peer in list(self._peers):
            self._hang_up(peer)
