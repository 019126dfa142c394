"""Which walls this machine can build, found out by building them: a jail is entered, and tests itself.

Nothing is inferred from versions or settings, because distributions switch parts off in ways that only an
attempt shows. Blocking, some tens of milliseconds; the caller runs it in a thread and keeps the answer.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from . import cgroup_tree, landlock, launch, nesting, seatbelt, syscalls, view
from .agent_jail import AgentJail
from .cgroup_tree import NoCgroups
from .launch import Nesting, Outside, Walls

TRY_S_MAX = 10.0
INSTALL = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"
ALLOW = (
    "let bubblewrap make user namespaces: an AppArmor profile for bwrap with `userns`, or, in a container, "
    "the rights to unshare"
)
LINUX = "run dashd on Linux, in a virtual machine for instance"
ENABLE = "boot a kernel of 5.13 or newer with landlock in its `lsm=` list"


@dataclass(frozen=True, slots=True)
class Tried:
    """How an attempt went; `why` is empty where the jail stood."""

    why: str


def find_bwrap() -> str | None:
    """Where the system has bubblewrap; one on a user's own PATH would be the user's own wall."""
    return shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin")


def probe(bwrap: str | None) -> Walls:
    """The best walls that stood up with that bubblewrap, and what is missing for better ones."""
    if sys.platform == "darwin":
        return _on_a_mac()
    abi = landlock.abi()
    why, fix = "", ""
    if syscalls.here() is None:
        return Walls(
            "0", why=f"no system call filter for {os.uname().machine} yet", fix="use x86_64 or aarch64"
        )
    if bwrap is None:
        why, fix = "bubblewrap is not installed", INSTALL
    else:
        for disable_userns in (True, False):
            walls = Walls("B", bwrap, abi, disable_userns)
            if abi and not (why := attempt(replace(walls, nesting="")).why):
                return _with_cgroups(_with_nesting(walls))
        why, fix = _refusal(why, abi)
    if not abi:
        return Walls("0", bwrap or "", why=f"the kernel has no Landlock; {why}".rstrip("; "), fix=ENABLE)
    weak = Walls("C", bwrap or "", abi, why=why, fix=fix)
    failed = attempt(weak).why
    return Walls("0", bwrap or "", abi, why=f"{why}; Landlock alone: {failed}", fix=fix) if failed else weak


def _on_a_mac() -> Walls:
    if why := seatbelt.attempt():
        return Walls("0", why=f"Seatbelt: {why}", fix=LINUX)
    return Walls(
        "M", why="Seatbelt stands, and starting agents behind it is untested and not built in", fix=LINUX
    )


def _with_cgroups(walls: Walls) -> Walls:
    try:
        return replace(walls, grade="A", cgroups=cgroup_tree.prove())
    except NoCgroups as error:
        why = f"no limits by cgroup: {error}"
        return replace(walls, why=_joined(walls.why, why), fix=_joined(walls.fix, cgroup_tree.DELEGATE))


def _with_nesting(walls: Walls) -> Walls:
    """How folders are mounted in folders that others may write: by the first way that works."""
    why = ""
    ways: tuple[Nesting, ...] = ("own", "bwrap")
    for way in ways:
        found = replace(walls, nesting=way)
        if not (failed := attempt(found).why):
            return found
        why = why or failed
    why = f"a folder inside one that several agents write is refused: {why}"
    return replace(walls, nesting="", why=why, fix=nesting.ALLOW)


def _joined(*words: str) -> str:
    return "; ".join(filter(None, words))


def _refusal(why: str, abi: int) -> tuple[str, str]:
    if not abi:
        return "", ENABLE
    return f"bubblewrap could not build a jail: {why}", ALLOW


def attempt(walls: Walls) -> Tried:
    """Enters a jail of these walls with /bin/true in it; if they have a way to, with a folder in a folder."""
    try:
        return _attempted(walls)
    except OSError as error:  # a full disk, mostly: then no agent could be started either
        return Tried(f"{error.filename or tempfile.gettempdir()}: {error.strerror}")


def _attempted(walls: Walls) -> Tried:
    with tempfile.TemporaryDirectory(prefix="dash-probe-") as folder, _canary(folder) as outside:
        scratch = os.path.join(folder, "scratch")
        os.makedirs(os.path.join(scratch, "part"))  # it is the agent's folder here as well
        part = (view.Folder(scratch, "part"),) if walls.grade in ("A", "B") and walls.nesting else ()
        seen = view.View(scratch, (view.Folder(scratch),), part)
        jail = AgentJail(launch.plan(walls, seen, python=view.python(), outside=outside, scratch=scratch))
        try:
            jail.prepare(["true"], ["/bin/true", "/usr/bin/true"], {"PATH": os.defpath})
            return Tried(_enter(jail))
        except OSError as error:
            return Tried(str(error))
        finally:
            jail.close()


@contextlib.contextmanager
def _canary(folder: str) -> Iterator[Outside]:
    """A file, a Unix socket and a port of our own that the jail must not reach."""
    secret = os.path.join(folder, "secret")
    with open(secret, "w", encoding="ascii") as file:
        file.write("canary")
    with socket.socket(socket.AF_UNIX) as door, socket.create_server(("127.0.0.1", 0)) as port:
        door.bind(os.path.join(folder, "door"))
        door.listen(1)
        yield Outside((secret,), (os.path.join(folder, "door"),), (port.getsockname()[1],))


def _enter(jail: AgentJail) -> str:
    """Runs it and returns why it did not stand, or nothing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = subprocess.Popen(
            jail.command(theirs.fileno(), entering=True),
            pass_fds=[*jail.fds, theirs.fileno()],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        try:
            said = _news(ours)
            _, stderr = process.communicate(timeout=TRY_S_MAX)
        except (subprocess.TimeoutExpired, TimeoutError):
            return f"it took longer than {TRY_S_MAX:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    if b"ready" in said:
        return "" if process.returncode == 0 else f"/bin/true ended with {process.returncode} in it"
    words = [each.decode("utf-8", "replace") for each in said if each != b"listener"]
    return "; ".join(words) or stderr.decode("utf-8", "replace").strip() or "it ended without a word"


def _news(ours: socket.socket) -> list[bytes]:
    """What the stage said, until it became the program; listeners are closed."""
    said: list[bytes] = []
    give_up_at = time.monotonic() + TRY_S_MAX
    while True:
        if not select.select([ours], [], [], max(0.0, give_up_at - time.monotonic()))[0]:
            raise TimeoutError
        message, fds, _, _ = socket.recv_fds(ours, 4096, 1)
        for fd in fds:
            os.close(fd)
        if not message:
            return said
        said.append(message)
        if message == b"ready":
            with contextlib.suppress(OSError):  # it has ended, and that is what is read next
                ours.send(b"go")
