"""Short-lived tools of our own (git, gates) in a jail: started, fed, read, and ended within a deadline.

The walls are an agent's: the same plan, the same stage inside, whatever grade this machine can build. A tool
sees the system read-only, its own empty HOME and `/tmp`, no network, and exactly the paths it was given, at
their own names. In grade C, without namespaces, its HOME and TMPDIR are a folder that goes with it. Its
bounds are wider than an agent's, for the packs of a large repository, and there is no watchdog; in grade A a
cgroup of its own holds it to them.

A leash (leash.py) holds each, so that when `run` returns or raises, and when dashd is killed, no process of
the tool is left. The leashes' keeper is started by the first tool of a process and ends with it. Cost: the
stage is a Python that is started for each tool, some 30 ms.
"""

import atexit
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from dashd import threads

from . import cgroup_tree, launch, probe, processes, view
from .launch import Outside, Walls
from .view import GIB, MIB, Bounds, Folder, View

HOME = view.HOME
"""Where there are mounts."""
READ_BYTES_MAX = 1 << 16
KILL_S_MAX = 10.0  # a jail's processes are gone within milliseconds, unless the kernel is stuck with one
WORD_BYTES_MAX = 8192
MARK = "tool-{pid}-{number}"
"""In DASH_LAUNCH of everything that a tool starts."""
BOUNDS = Bounds(
    memory_bytes=8 * GIB, processes=512, open_files=4_096, file_bytes=64 * GIB, tmp_bytes=256 * MIB
)
_KEEPER = f"import sys; sys.path.append({str(Path(__file__).resolve().parents[2])!r}); "
_KEEPER += "from dashd.jail import leash; leash.main()"


class ToolFailed(Exception):
    """The tool could not be started in a jail."""


class ToolTimeout(Exception):
    """The tool did not end within its deadline, and was killed."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One program to run; `env` is its whole environment, `deadline_s` covers start to end of output.

    `output_bytes_max` bounds standard output and standard error, each; what comes after is read and dropped.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    read: tuple[Path, ...]
    write: tuple[Path, ...]
    stdin: bytes = b""
    deadline_s: float
    output_bytes_max: int


class Finished(msgspec.Struct, frozen=True):
    """How the tool ended: exit code (128 + number for a signal), output, and whether output was `cut`."""

    code: int
    stdout: bytes
    stderr: bytes
    cut: bool


async def run(tool: Tool) -> Finished:
    """Runs the tool to its end; cancelling kills it. Raises ToolFailed and ToolTimeout."""
    try:
        return await _run(tool)
    except OSError as error:  # no descriptor or process is left, or what it began survives SIGKILL
        raise ToolFailed(f"{tool.argv[0]} cannot be run in a jail: {error.strerror or error}") from None


async def _run(tool: Tool) -> Finished:
    walls = await _machine.ask()
    with contextlib.ExitStack() as owned:
        jail = await _start(tool, walls, owned)
        try:
            with trio.fail_after(tool.deadline_s):
                finished = await _attend(tool, jail)
        except trio.TooSlowError:
            raise ToolTimeout(f"{tool.argv[0]} did not end within {tool.deadline_s:g} s") from None
        except ToolFailed:
            _machine.doubt()
            raise
        finally:
            with trio.CancelScope(deadline=trio.current_time() + KILL_S_MAX, shield=True):
                await _let_go(jail)
    return finished


def keep_out(outside: Outside) -> None:
    """What every tool's self-test must not reach, from now on."""
    _machine.outside = outside


class _Machine:
    """What this machine can build, asked once, and again where it was not enough or did not stand."""

    def __init__(self) -> None:
        self.outside = Outside()
        self._walls: Walls | None = None

    async def ask(self) -> Walls:
        if self._walls is None:
            found = await threads.run(lambda: probe.probe(probe.find_bwrap()))
            if found.grade in ("M", "0"):
                raise ToolFailed(f"no program can be jailed here: {found.why}; {found.fix}")
            self._walls = found
        return self._walls

    def doubt(self) -> None:
        self._walls = None


_machine = _Machine()


class _Keeper:
    """This process's keeper of leashes. Its socket belongs to no run of the event loop."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def send(self, fds: list[int]) -> None:
        """Hands a request over; starts the keeper, or another one, where there is none."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))]
        for _ in range(2):
            control = self._running()
            try:
                while True:
                    try:
                        control.sendmsg([b"tool"], rights)
                        return
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(control)
            except ConnectionError:
                self.close()
        raise ToolFailed("the keeper of tools ended as soon as it was started")

    def _running(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control.setblocking(False)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _KEEPER],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={"DASH_TOOLS_OF": str(os.getpid())},
                    cwd="/",
                    start_new_session=True,
                )
        return self._control

    def close(self) -> None:
        """Leashes end by their own sockets, each with its tool."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


_keeper = _Keeper()
atexit.register(_keeper.close)
_numbers = itertools.count(1)


@dataclass
class _Jail:
    """A tool that was handed to a leash."""

    mark: str
    link: trio.socket.SocketType
    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    scratch: str
    over: bool = False
    """The leash has said its last word and is gone."""


async def _start(tool: Tool, walls: Walls, owned: contextlib.ExitStack) -> _Jail:
    """Hands the tool to a leash; `owned` closes what we hold of it, and removes its scratch folder."""
    mark = MARK.format(pid=os.getpid(), number=next(_numbers))
    scratch = ""
    if walls.grade == "C":
        scratch = tempfile.mkdtemp(prefix="dash-tool-")
        owned.callback(shutil.rmtree, scratch, ignore_errors=True)
    with contextlib.ExitStack() as theirs:
        their_stdin, stdin = _pipe(theirs, owned, ours="w")
        their_stdout, stdout = _pipe(theirs, owned, ours="r")
        their_stderr, stderr = _pipe(theirs, owned, ours="r")
        ours, their_link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.callback(their_link.close)
        ours.setblocking(False)
        link = trio.socket.from_stdlib_socket(ours)
        owned.callback(link.close)
        request = _memory(theirs, json.dumps(_spec(tool, walls, mark, scratch)).encode())
        await _keeper.send([request, their_stdin, their_stdout, their_stderr, their_link.fileno()])
    return _Jail(mark, link, stdin, stdout, stderr, scratch)


def _spec(tool: Tool, walls: Walls, mark: str, scratch: str) -> dict[str, Any]:
    """What a leash reads: a launch without a holder."""
    own = walls.grade != "C"
    seen = View(
        str(tool.cwd),
        tuple(Folder(str(path)) for path in tool.write),
        tuple(Folder(str(path)) for path in tool.read),
        BOUNDS,
        unix_sockets=own,  # a gate may test a server; without a mount namespace others' would be in reach
    )
    plan = launch.plan(
        walls, seen, python=view.python(), outside=_machine.outside, listener=False, scratch=scratch
    )
    if walls.grade == "A":
        plan["cgroup"] = cgroup_tree.of_tool(walls.cgroups, mark, BOUNDS)
    places = {"HOME": HOME} if own else {"HOME": scratch, "TMPDIR": scratch}
    env = {**tool.env, **places}
    return {"argv": list(tool.argv), "env": env, "cwd": "/", "jail": plan, "launch": mark}


def _pipe(
    theirs: contextlib.ExitStack, owned: contextlib.ExitStack, *, ours: str
) -> tuple[int, trio.lowlevel.FdStream]:
    """A pipe as (the tool's end, our end)."""
    read, write = os.pipe2(os.O_CLOEXEC)
    kept, given = (read, write) if ours == "r" else (write, read)
    theirs.callback(os.close, given)
    stream = trio.lowlevel.FdStream(kept)
    owned.callback(stream.close)
    return given, stream


def _memory(theirs: contextlib.ExitStack, content: bytes) -> int:
    """A descriptor to read `content` from, of any size."""
    fd = os.memfd_create("dash-tool", os.MFD_CLOEXEC)
    theirs.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def _attend(tool: Tool, jail: _Jail) -> Finished:
    """Feeds the tool and reads it until it has ended and nobody can write to its output any more."""
    out, err = _Kept(tool.output_bytes_max), _Kept(tool.output_bytes_max)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_feed, jail.stdin, tool.stdin)
        nursery.start_soon(_drain, jail.stdout, out)
        nursery.start_soon(_drain, jail.stderr, err)
        word = await _last_word(jail)
        if not jail.over:  # what it could not end may hold the pipes open
            nursery.cancel_scope.cancel(reason="the leash was killed")
    if "error" in word:
        said = err.content.decode(errors="replace").strip()
        reason = f"{word['error']}; {said}" if said else word["error"]
        raise ToolFailed(f"{tool.argv[0]} did not start in a jail: {reason}")
    code = os.waitstatus_to_exitcode(word["status"])
    code = 128 - code if code < 0 else code
    return Finished(code, bytes(out.content), bytes(err.content), out.cut or err.cut)


class _Kept:
    """The first `bytes_max` bytes of a stream."""

    def __init__(self, bytes_max: int) -> None:
        self.content = bytearray()
        self.cut = False
        self._bytes_max = bytes_max

    def add(self, data: bytes) -> None:
        room = self._bytes_max - len(self.content)
        self.content += data[:room]
        self.cut = self.cut or len(data) > room


async def _feed(stream: trio.lowlevel.FdStream, data: bytes) -> None:
    """Writes all of `data`, then the end; a tool that does not read it is no error."""
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)


async def _drain(stream: trio.lowlevel.FdStream, kept: _Kept) -> None:
    while data := await stream.receive_some(READ_BYTES_MAX):
        kept.add(data)


async def _last_word(jail: _Jail) -> dict[str, Any]:
    """What the leash says of the end, when nothing is left of the tool."""
    word = b""
    with contextlib.suppress(ConnectionError):  # its leash was killed
        while data := await jail.link.recv(WORD_BYTES_MAX):
            word = data
    jail.over = bool(word)
    found: dict[str, Any] = json.loads(word) if word else {"error": "its leash was killed"}
    return found


async def _let_go(jail: _Jail) -> None:
    """Returns when no process of the tool is left, killing what still runs."""
    if not jail.over:
        with contextlib.suppress(OSError):
            jail.link.shutdown(socket.SHUT_WR)
        await _last_word(jail)
    if not jail.over:  # the kernel has ended what was running; this is what had not begun
        await threads.run(processes.end_marked, jail.mark)
    if jail.scratch:
        await threads.run(partial(shutil.rmtree, jail.scratch, ignore_errors=True))
