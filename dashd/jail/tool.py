"""Short-lived tools of our own (git, gates) in a jail: started, fed, read, and ended within a deadline.

A tool sees the system read-only, its own empty `/tmp`, HOME, `/proc` and `/dev`, no network, and exactly the
paths it was given, at their own names. It is spawned by the thread that runs the loop: `--die-with-parent`
follows the thread that forked, and trio's worker threads end after ten idle seconds (prctl(2),
PR_SET_PDEATHSIG). When `run` returns or raises, no process of the tool is left.

Not yet through `launch.plan` and AgentJail, so without Landlock, seccomp and the self-test, and not where
bubblewrap is missing: the stage is a Python that every one of some dozen gits of a merge would start first,
and its bounds (rlimits on file size and data) are an agent's, not those of a pack of a large repository.
Git and gates therefore need a machine on which agents get grade B.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

HOME = "/home"
TMPFS_BYTES_MAX = 256 << 20
READ_BYTES_MAX = 1 << 16
KILL_S_MAX = 10.0  # a jail's processes are gone within milliseconds, unless the kernel is stuck with one
INFO_BYTES_MAX = 4096

SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
SYSTEM_ETC = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
)


class ToolFailed(Exception):
    """The tool could not be started in a jail."""


class ToolTimeout(Exception):
    """The tool did not end within its deadline, and was killed."""


@dataclass(frozen=True, kw_only=True)
class Tool:
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


@dataclass(frozen=True)
class Finished:
    """How the tool ended: exit code (128 + number for a signal), output, and whether output was `cut`."""

    code: int
    stdout: bytes
    stderr: bytes
    cut: bool


async def run(tool: Tool) -> Finished:
    """Runs the tool to its end; cancelling kills it. Raises ToolFailed and ToolTimeout."""
    with contextlib.ExitStack() as owned:
        jail = _start(tool, owned)
        try:
            with trio.fail_after(tool.deadline_s):
                finished = await _attend(tool, jail, owned)
        except trio.TooSlowError:
            raise ToolTimeout(f"{tool.argv[0]} did not end within {tool.deadline_s:g} s") from None
        finally:
            with trio.CancelScope(deadline=trio.current_time() + KILL_S_MAX, shield=True):
                await _end(jail, owned)
            jail.process.kill()
    if finished.code == 1 and finished.stderr.startswith(b"bwrap: "):
        reason = finished.stderr.decode(errors="replace").strip()
        raise ToolFailed(f"{tool.argv[0]} did not start in a jail: {reason}")
    return finished


@dataclass
class _Jail:
    """A started bwrap; `first` is a pidfd of the first process in its pid namespace, once that is known."""

    process: subprocess.Popen[bytes]
    pidfd: int
    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    info: trio.lowlevel.FdStream
    told: bytearray = field(default_factory=bytearray)
    first: int | None = None


def _start(tool: Tool, owned: contextlib.ExitStack) -> _Jail:
    """Spawns bwrap from this very thread; `owned` closes what the jail holds."""
    bwrap = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if bwrap is None:
        raise ToolFailed("bubblewrap (bwrap) is not installed; apt-get install bubblewrap")
    with contextlib.ExitStack() as theirs:
        their_stdin, stdin = _pipe(theirs, owned, ours="w")
        their_stdout, stdout = _pipe(theirs, owned, ours="r")
        their_stderr, stderr = _pipe(theirs, owned, ours="r")
        info, ours = _pipe(theirs, owned, ours="r")
        options = _memory(theirs, b"".join(os.fsencode(word) + b"\0" for word in _options(tool, info)))
        try:
            process = subprocess.Popen(
                [bwrap, "--args", str(options), "--", *tool.argv],
                stdin=their_stdin,
                stdout=their_stdout,
                stderr=their_stderr,
                env={},
                pass_fds=(options, info),
            )
        except (OSError, ValueError) as error:
            raise ToolFailed(f"{tool.argv[0]} did not start in a jail: {error}") from error
    owned.callback(process.wait)
    pidfd = os.pidfd_open(process.pid)
    owned.callback(os.close, pidfd)
    return _Jail(process, pidfd, stdin, stdout, stderr, info=ours)


def _pipe(
    theirs: contextlib.ExitStack, owned: contextlib.ExitStack, *, ours: str
) -> tuple[int, trio.lowlevel.FdStream]:
    """A pipe as (the jail's end, our end)."""
    read, write = os.pipe2(os.O_CLOEXEC)
    kept, given = (read, write) if ours == "r" else (write, read)
    theirs.callback(os.close, given)
    stream = trio.lowlevel.FdStream(kept)
    owned.callback(stream.close)
    return given, stream


def _memory(theirs: contextlib.ExitStack, content: bytes) -> int:
    """A descriptor to read `content` from, of any size; options are invisible to `ps` this way."""
    fd = os.memfd_create("dash-args", os.MFD_CLOEXEC)
    theirs.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _options(tool: Tool, info: int) -> Iterator[str]:
    """The jail, as options of bwrap; later mounts cover earlier ones, so the given paths come last."""
    yield from ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "dash")
    yield from ("--info-fd", str(info), "--clearenv")
    for name, value in tool.env.items():
        yield from ("--setenv", name, value)
    yield from ("--ro-bind", "/usr", "/usr")
    for folder in SYSTEM:
        if os.path.islink(folder):
            yield from ("--symlink", os.readlink(folder), folder)
        elif os.path.isdir(folder):
            yield from ("--ro-bind", folder, folder)
    for path in SYSTEM_ETC:
        yield from ("--ro-bind-try", path, path)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for folder in ("/tmp", HOME):
        yield from ("--size", str(TMPFS_BYTES_MAX), "--tmpfs", folder)
    for path, option in _binds(tool):
        yield from (option, path, path)
    yield from ("--remount-ro", "/", "--chdir", str(tool.cwd))


def _binds(tool: Tool) -> list[tuple[str, str]]:
    """Each given path with its option, parents before what lies in them."""
    wanted = {str(path): "--ro-bind" for path in tool.read} | {str(path): "--bind" for path in tool.write}
    for path in wanted:
        if os.path.realpath(path) != path:
            raise ToolFailed(f"{path!r} cannot be given to a jail: it is reached through a symbolic link")
    return sorted(wanted.items())


async def _attend(tool: Tool, jail: _Jail, owned: contextlib.ExitStack) -> Finished:
    """Feeds the tool and reads it until it has ended and nobody can write to its output any more."""
    out, err = _Kept(tool.output_bytes_max), _Kept(tool.output_bytes_max)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_feed, jail.stdin, tool.stdin)
        nursery.start_soon(_drain, jail.stdout, out)
        nursery.start_soon(_drain, jail.stderr, err)
        jail.first = await _first(jail, owned)
        await trio.lowlevel.wait_readable(jail.pidfd)
    code = jail.process.wait()
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


async def _first(jail: _Jail, owned: contextlib.ExitStack) -> int | None:
    """A pidfd of the jail's first process; None if bwrap ended before there was one."""
    while len(jail.told) < INFO_BYTES_MAX and (data := await jail.info.receive_some(INFO_BYTES_MAX)):
        jail.told += data
    if not jail.told:
        return None
    pid = int(json.loads(jail.told)["child-pid"])
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    owned.callback(os.close, pidfd)
    # If it has ended, its number may be somebody else's by now.
    return pidfd if _parent(pid) == jail.process.pid else None


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


async def _end(jail: _Jail, owned: contextlib.ExitStack) -> None:
    """Returns when no process of the tool is left, killing what still runs.

    The kernel reports the end of a pid namespace's first process only after that of all the others.
    """
    if (
        jail.first is None
    ):  # cancelled that early; killing bwrap now could leave behind what it has just forked
        jail.first = await _first(jail, owned)
    if jail.first is None:
        jail.process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(jail.first, signal.SIGKILL)
        await trio.lowlevel.wait_readable(jail.first)
    await trio.lowlevel.wait_readable(jail.pidfd)
