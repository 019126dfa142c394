"""dashd's end of a holder's socket: adopts the holder, hears what happens, asks it to do things.

One connection is one adoption. Losing it harms nothing: the holder keeps the agent for its lease, and what it
would have said is in the launch folder. The holder's end is daemon_link.py.
"""

import base64
import json
import os
import socket
from array import array
from pathlib import Path
from typing import Any, Literal

import msgspec
import trio

from dashd.jail import launch_folder

INPUT_BYTES_MAX = 4 << 20
_LINE_BYTES_MAX = 1 << 20
_READ_BYTES = 65536
_BUSY_S = 0.02


class HolderGone(Exception):
    """Nobody is there, or no longer: `launch_folder.examine` says what became of the launch."""


class EpochRefused(Exception):
    """A daemon with this epoch has the holder; `epoch` is the highest it has seen."""

    def __init__(self, epoch: int) -> None:
        """`epoch` as the holder said it."""
        super().__init__(f"the holder belongs to epoch {epoch}")
        self.epoch = epoch


class Adopted(msgspec.Struct, frozen=True):
    """The holder's answer to `adopt`; `pid`, `start_time` (ticks) and `boot_id` identify the agent.

    `lost` counts as OutputLost does; holders of earlier versions do not say it.
    """

    state: Literal["running", "paused", "exited"]
    spool_bytes: int
    input: int
    pid: int
    start_time: int
    boot_id: str
    exit: launch_folder.ExitRecord | None
    lost: int = 0


class SpoolGrew(msgspec.Struct, frozen=True):
    """The spool file has this many bytes now; earlier totals may have been skipped."""

    spool_bytes: int


class OutputLost(msgspec.Struct, frozen=True):
    """This many bytes of output could not be written, at a time when they would have been kept."""

    lost_bytes: int


class Paused(msgspec.Struct, frozen=True):
    """Whether the tree is now stopped; the answer to `pause` and `resume`."""

    paused: bool


class InputTaken(msgspec.Struct, frozen=True):
    """The last input number the holder has; higher ones it has not.

    `full`: it had no room; another InputTaken says when it has. `closed`: it takes no more (no stdin, or
    EOF).
    """

    last: int
    full: bool
    closed: bool


class Exited(msgspec.Struct, frozen=True):
    """The launch is over, its tree ended and the record on disk."""

    record: launch_folder.ExitRecord


Message = SpoolGrew | OutputLost | Paused | InputTaken | Exited


class HolderLink:
    """One adoption. One task receives; any task may send."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        """Use `adopt`."""
        self.adopted: Adopted
        self.listener: socket.socket | None = None
        self._sock = sock
        self._buffer = bytearray()
        self._sending = trio.Lock()
        self._half_sent = False

    async def receive(self) -> Message:
        """The next message; cancelling loses nothing. HolderGone at the end, EpochRefused when displaced."""
        while True:
            message = _decode(await self._line())
            if message is not None:
                return message

    async def send_input(self, number: int, data: bytes, *, eof: bool = False) -> None:
        """Gives the agent input `number`; a number the holder has already is dropped, so repeating is safe.

        Answered by InputTaken. With `eof` stdin is closed after it. At most INPUT_BYTES_MAX (ValueError).
        """
        if len(data) > INPUT_BYTES_MAX:
            raise ValueError(f"an input of {len(data)} bytes; at most {INPUT_BYTES_MAX}")
        await self._send({"input": number, "data": base64.b64encode(data).decode(), "eof": eof})

    async def pause(self) -> None:
        """Stops the whole tree (SIGSTOP); answered by Paused."""
        await self._send({"pause": 1})

    async def resume(self) -> None:
        """Lets the tree go on; answered by Paused."""
        await self._send({"resume": 1})

    async def stop(self, grace_s: float) -> None:
        """TERM to the tree, KILL after `grace_s`; ends in Exited. A second may only shorten the grace."""
        await self._send({"stop": grace_s})

    async def breach(self, text: str) -> None:
        """Ends the agent at once, for a bound that it went over; its record says which. Ends in Exited."""
        await self._send({"breach": text})

    async def aclose(self) -> None:
        """Lets go: the agent lives on and its lease starts. A listener stays the caller's."""
        self._sock.close()
        await trio.lowlevel.checkpoint()

    async def _send(self, request: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(request).encode() + b"\n")
        async with self._sending:
            if self._half_sent:
                raise HolderGone("an earlier request was cut by a cancellation")
            try:
                while rest:
                    self._half_sent = True
                    rest = rest[await self._sock.send(rest) :]
                self._half_sent = False
            except OSError as error:
                raise HolderGone(str(error)) from None

    async def _line(self) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LINE_BYTES_MAX:
                raise HolderGone("the holder sent a line that is too long")
            try:
                data = await self._sock.recv(_READ_BYTES)
            except OSError as error:
                raise HolderGone(str(error)) from None
            if not data:
                raise HolderGone("the holder closed the connection")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message: dict[str, Any] = json.loads(line)
        if "refused" in message:
            raise EpochRefused(message["refused"]["epoch"])
        return message

    async def _take_answer(self) -> None:
        """Takes the answer to `adopt` and the listener, which come in one packet."""
        answer, self.listener = await self._receive_with_fd()
        body = answer["adopted"]
        record = body["exit"] and launch_folder.ExitRecord.from_json(body["exit"])
        said = {name: body[name] for name in Adopted.__struct_fields__ if name != "lost"}
        self.adopted = Adopted(**{**said, "exit": record, "lost": body.get("lost", 0)})

    async def _receive_with_fd(self) -> tuple[dict[str, Any], socket.socket | None]:
        """The first line of a connection, and the socket beside it, if there is one."""
        fds = array("i")
        try:
            data, ancillary, _, _ = await self._sock.recvmsg(
                _READ_BYTES, socket.CMSG_SPACE(fds.itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise HolderGone(str(error)) from None
        for level, kind, rights in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
        found = socket.socket(fileno=fds[0]) if fds else None
        try:
            if not data:
                raise HolderGone("the holder closed the connection")
            self._buffer += data
            return await self._line(), found
        except BaseException:
            if found is not None:
                found.close()
            raise


def _decode(message: dict[str, Any]) -> Message | None:
    """None for a notification that this daemon does not know: holders outlive upgrades."""
    match message:
        case {"spool": int(spool_bytes)}:
            return SpoolGrew(spool_bytes)
        case {"lost": int(lost_bytes)}:
            return OutputLost(lost_bytes)
        case {"paused": bool(paused)}:
            return Paused(paused)
        case {"input": dict(body)}:
            return InputTaken(body["last"], body["full"], body["closed"])
        case {"exited": dict(record)}:
            return Exited(launch_folder.ExitRecord.from_json(record))
    return None


async def adopt(folder: Path, epoch: int) -> HolderLink:
    """Connects to the holder of a launch folder and takes it over, which cancels its lease.

    A daemon of an earlier epoch, and an earlier connection of this one, is displaced. The caller closes the
    link and `listener`. Waits while the holder is busy (the caller has the deadline). Raises HolderGone and
    EpochRefused.
    """
    return await _adopted(await _connect(folder), {"adopt": epoch})


async def dial(folder: Path, port: int) -> socket.socket:
    """A connection to `port` of the loopback address inside the jail of a launch; the holder makes it.

    Adoption is not touched. The caller has the deadline. Raises HolderGone, and OSError where nobody listens.
    """
    sock = await _connect(folder)
    link = HolderLink(trio.socket.from_stdlib_socket(sock))
    try:
        await link._send({"dial": port})
        said, dialled = await link._receive_with_fd()
    finally:
        await link.aclose()
    if dialled is None:
        raise OSError(f"dialling {port} in the jail of {folder.name}: {said.get('failed', 'refused')}")
    return dialled


async def adopted_at_birth(sock: socket.socket) -> HolderLink:
    """The link over a socket whose other end went along with a launch; otherwise as `adopt`."""
    return await _adopted(sock, None)


async def _adopted(sock: socket.socket, request: dict[str, Any] | None) -> HolderLink:
    sock.setblocking(False)
    link = HolderLink(trio.socket.from_stdlib_socket(sock))
    try:
        if request:
            await link._send(request)
        await link._take_answer()
    except BaseException:
        link._sock.close()
        if link.listener is not None:
            link.listener.close()
        raise
    return link


async def _connect(folder: Path) -> socket.socket:
    """Connects through the folder's fd, because its path may be longer than a socket's."""
    try:
        here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HolderGone(f"no launch folder {folder}: {error.strerror}") from None
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        os.close(here)
        raise HolderGone(f"no way to the holder in {folder}: {error.strerror}") from None
    sock.setblocking(False)
    try:
        while True:
            try:
                sock.connect(f"/proc/self/fd/{here}/h.sock")
                return sock
            except BlockingIOError:  # its backlog is full
                await trio.sleep(_BUSY_S)
    except OSError as error:
        sock.close()
        raise HolderGone(f"nobody listens in {folder}: {error.strerror}") from None
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(here)
