"""What an agent of a gateway says and which tools it calls, kept where the output of other programs is.

Nothing prints there: it is made of the gateway's events, which are hints, so it may have gaps; what a turn
came to is in it in any case. What is said goes to stdout, tools and faults to stderr. It is written once a
second at most, so much at a time and no more; what is left out is counted and said. It is the agent's word,
never ours: nothing is decided by it.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from dashd import threads
from dashd.drivers import openclaw_protocol as protocol
from dashd.jail import spool
from dashd.jail.spool import STDERR, STDOUT
from dashd.wire import safe

from .world import World

log = logging.getLogger(__name__)

PERIOD_S = 1.0
PIECE_BYTES_MAX = spool.PAYLOAD_BYTES_MAX
"""Of one period, and of what one turn came to."""
BYTES_MAX = 8 << 20
"""Of one attempt; what turns came to goes on for as much again."""
LINE_CHARACTERS_MAX = 400
KNOWN_BYTES, KNOWN_CHARACTERS = 1 << 18, 200
"""What a turn came to is known where its end stands among the last that was kept."""
FULL = b"\n[no more of what it says is kept]\n"

Heard = tuple[list[tuple[int, bytes]], list[bytes]]
"""(what was said, by stream; what turns came to)."""


class GatewayLog:
    """Of one attempt. `hear` and `settle` never wait; `keep` writes."""

    def __init__(self, world: World, launch_id: str) -> None:
        """`launch_id` is the attempt's, in whose folder it is kept."""
        self._world = world
        self._launch_id = launch_id
        self._heard: Heard = [], []
        self._bytes = self._left_out = 0
        self._length = 0
        """Characters of the message that grows."""
        self._in_line = self._spoke = self._missed = self._full = False
        self._fresh = trio.Event()
        self._writer: spool.Writer | None = None

    def hear(self, event: protocol.RunEvent) -> None:
        """Takes in what an event of the run under way says."""
        if event.stream == "assistant":
            self._grow(event.data)
        elif event.stream == "tool" and event.data.get("phase") == "start":
            self._end_message()
            self._add(STDERR, f"[{_tool(event.data)}]\n")

    def settle(self, text: str, fault: str) -> None:
        """A turn is over, with what it came to, which is kept where nobody heard it being said."""
        self._end_message()
        if text and (self._missed or not self._spoke):
            self._heard[1].append(text.encode("utf-8", "replace")[-PIECE_BYTES_MAX:])
            self._fresh.set()
        if fault:
            self._add(STDERR, f"[{_line(fault)}]\n")
        self._spoke = self._missed = False

    async def keep(self) -> None:
        """Writes down what was heard, until cancelled, and then the rest of it. Without a thread for it, it
        waits for the next period; then the rest is lost.
        """
        try:
            while True:
                await self._fresh.wait()
                await self._write()
                await trio.sleep(PERIOD_S)
        finally:
            with trio.CancelScope(shield=True):  # bounded: there is no more than one piece
                await self._write()
                if self._fresh.is_set():
                    self._say_lost()
                await threads.or_here(self._close)

    def _grow(self, data: Mapping[str, Any]) -> None:
        """`text` is all of the message so far, `delta` what has come to it; either may be missing."""
        text, delta = data.get("text"), data.get("delta")
        if isinstance(text, str):
            if len(text) < self._length:  # another one
                self._end_message()
            delta, self._length = text[self._length :], len(text)
        if isinstance(delta, str) and delta:
            self._spoke = self._in_line = True
            self._add(STDOUT, delta)

    def _end_message(self) -> None:
        if self._in_line:
            self._add(STDOUT, "\n")
        self._in_line, self._length = False, 0

    def _add(self, stream: int, text: str) -> None:
        data = text.encode("utf-8", "replace")
        if self._full or self._bytes + len(data) > PIECE_BYTES_MAX:
            self._missed = True
            self._left_out += 0 if self._full else len(data)
            return
        self._bytes += len(data)
        self._heard[0].append((stream, data))
        self._fresh.set()

    # -- the file ------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        if not self._fresh.is_set():
            return
        heard, size, left_out = self._heard, self._bytes, self._left_out
        self._heard, self._bytes, self._left_out = ([], []), 0, 0
        self._fresh = trio.Event()
        try:
            await threads.at_once(self._append, heard, left_out)
        except threads.NoThread:
            self._heard = heard[0] + self._heard[0], heard[1] + self._heard[1]
            self._bytes, self._left_out = self._bytes + size, self._left_out + left_out
            self._fresh.set()
            return
        except (OSError, spool.SpoolCorrupt):
            self._say_lost()
        self._world.growth.ring(self._launch_id)

    def _say_lost(self) -> None:
        log.warning("what it says could not be kept", extra={"launch": self._launch_id})

    def _append(self, heard: Heard, left_out: int) -> None:
        writer = self._writer = self._writer or _open(self._world.folder(self._launch_id))
        if left_out:
            heard[0].append((STDERR, f"\n[{left_out:,} bytes left out]\n".encode()))
        for stream, data in _joined(heard[0]):
            if writer.file_bytes < BYTES_MAX:
                writer.append(stream, data)
                self._full = writer.file_bytes >= BYTES_MAX
                if self._full:
                    writer.append(STDERR, FULL)
        for result in heard[1]:
            if writer.file_bytes < 2 * BYTES_MAX and not self._is_known(result):
                writer.append(STDOUT, result)
                writer.append(STDOUT, b"\n")

    def _is_known(self, result: bytes) -> bool:
        """An earlier dashd may have heard it."""
        last, _ = spool.tail(self._world.folder(self._launch_id), KNOWN_BYTES, STDOUT)
        return result[-KNOWN_CHARACTERS:] in last

    def _close(self) -> None:
        if self._writer is not None:
            for fd in (self._writer.fd, self._writer.folder):
                with contextlib.suppress(OSError):
                    os.close(fd)
            self._writer = None


def _open(folder: Path) -> spool.Writer:
    """Goes on behind what an earlier dashd has written whole."""
    folder.mkdir(mode=0o700, exist_ok=True)
    whole = 0
    while (after := spool.read(folder, whole, BYTES_MAX)[1]) != whole:
        whole = after
    if whole or (folder / "spool").exists():
        os.truncate(folder / "spool", whole)
    writer = spool.Writer(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), None)
    writer.file_bytes = whole
    return writer


def _joined(pieces: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Neighbours of one stream as one."""
    found: list[tuple[int, bytes]] = []
    for stream, data in pieces:
        if found and found[-1][0] == stream:
            found[-1] = stream, found[-1][1] + data
        else:
            found.append((stream, data))
    return found


def _tool(data: Mapping[str, Any]) -> str:
    args = data.get("args")
    command = args.get("command") if isinstance(args, dict) else None
    told = command if isinstance(command, str) else json.dumps(args, default=str) if args else ""
    return _line(f"{data.get('name') or 'a tool'} {told}".rstrip())


def _line(text: str) -> str:
    """One line of it, without anything that a terminal would take for more than text."""
    return safe.line(text[:LINE_CHARACTERS_MAX]) + ("…" if len(text) > LINE_CHARACTERS_MAX else "")
