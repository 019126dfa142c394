"""Where on this machine cgroups of our own can be made (grade A), found out by making one.

    BASE                     delegated to this user: a systemd unit with Delegate=yes, or a folder of ours
    BASE/dashd               dashd, fork server, holders: a cgroup that hands controllers on has no processes
    BASE/agents-NAME/LAUNCH  one for each launch (cgroup.py); NAME stands for this dashd's launches folder
    BASE/tools/tool-PID-N    one for each tool of the dashd PID (tool.py)

A delegated *service* must start dashd in BASE/dashd by itself (DelegateSubgroup=dashd): holders stay there
over a restart, and systemd could not put the next dashd into a BASE with limits on. In a scope, or where no
systemd is, dashd moves itself. Blocking, a few milliseconds but for `prove`.
"""

import contextlib
import hashlib
import os
import select
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from . import cgroup
from .cgroup import CONTROLLERS, Cgroup
from .view import Bounds

LEAF, TOOLS = "dashd", "tools"
CPU_PERIOD_US = 100_000
PROVE_S_MAX = 5.0
DELEGATE = (
    "start dashd as a user service with Delegate=memory pids cpu and DelegateSubgroup=dashd (systemd 254), "
    "or by systemd-run --user --scope -p Delegate=yes dashd"
)


class NoCgroups(Exception):
    """No limits by cgroup here, and why."""


def find(proc: str = "/proc/self") -> str:
    """BASE: the delegated cgroup that this process is in, or in a leaf of. Raises NoCgroups."""
    own = _own(proc)
    above = os.path.dirname(own)
    if os.path.basename(own) == LEAF and delegated(above):
        return above
    if not delegated(own):
        raise NoCgroups(f"no cgroup is delegated to this user ({own} is not)")
    if own.endswith(".service"):
        raise NoCgroups(f"{own} is delegated, but dashd was not started in a cgroup below it")
    return own


def _own(proc: str) -> str:
    """The folder of this process's cgroup v2."""
    try:
        cgroups = Path(proc, "cgroup").read_text()
        mounts = Path(proc, "mountinfo").read_text()
    except OSError as error:
        raise NoCgroups(f"no cgroups: {error.strerror}") from None
    path = next((line[3:] for line in cgroups.splitlines() if line.startswith("0::/")), None)
    found = [line.split() for line in mounts.splitlines() if " - cgroup2 " in line]
    if path is None or not found:
        raise NoCgroups("cgroup v2 is not mounted")
    root, mounted = found[0][3], found[0][4]
    below = os.path.relpath(path, root)
    if ".." in (*path.split("/"), *below.split("/")):
        raise NoCgroups(f"this process's cgroup {path} is outside of what is mounted at {mounted}")
    return os.path.normpath(os.path.join(mounted, below))


def delegated(path: str) -> bool:
    """Whether the cgroup is for us to divide: systemd says so of its own, elsewhere write access does.

    What systemd has not given away it may set back at any time. It marks what it has since version 251.
    """
    if not all(os.access(f"{path}/{name}", os.W_OK) for name in ("cgroup.procs", "cgroup.subtree_control")):
        return False
    if not os.path.isdir("/run/systemd/system"):
        return True
    try:
        return os.getxattr(path, "user.delegate") == b"1"
    except OSError:
        return False


def settle(proc: str = "/proc/self") -> None:
    """Moves this process out of BASE, before it has forked anything; where there is none it does nothing."""
    with contextlib.suppress(NoCgroups, OSError):
        base = find(proc)
        if _own(proc) == base:
            cgroup.make_folder(f"{base}/{LEAF}")
            cgroup.write(f"{base}/{LEAF}/cgroup.procs", str(os.getpid()))


def prove(proc: str = "/proc/self") -> str:
    """BASE, once all that a launch needs has worked there with a process of ours. Raises NoCgroups.

    Nothing of the trial is left but the controllers, which stay on.
    """
    settle(proc)
    base = find(proc)
    try:
        _switch_on(base)
        trial = f"{base}/trial-{threading.get_native_id()}"
        try:
            _try(Cgroup(f"{trial}/one", limits(Bounds())))
        finally:
            with contextlib.suppress(OSError):
                cgroup.remove_folder(trial)
    except OSError as error:
        raise NoCgroups(f"{error.filename or base}: {error.strerror}") from None
    return base


def _switch_on(base: str) -> None:
    here = cgroup.read(f"{base}/cgroup.controllers").split()
    if missing := [name for name in CONTROLLERS if name not in here]:
        raise NoCgroups(f"{base} is delegated without the controllers {' '.join(missing)}")
    cgroup.make_parent(base)


def _try(place: Cgroup) -> None:
    """A process is moved in, found in it, and ended with it."""
    place.make()
    try:
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                cgroup.write(f"{place.path}/cgroup.procs", str(process.pid))
                _check(place)
                if str(process.pid) not in cgroup.read(f"{place.path}/cgroup.procs").split():
                    raise NoCgroups(f"a process did not stay in {place.path}")
                place.kill()
                if not _ended(process.pid):
                    raise NoCgroups(f"cgroup.kill of {place.path} ended nothing")
            finally:
                process.kill()
    finally:
        place.remove()


def _check(place: Cgroup) -> None:
    for name, value in place.limits.items():
        with contextlib.suppress(FileNotFoundError):  # of those that may be missing
            if (found := cgroup.read(f"{place.path}/{name}").strip()) != value:
                raise NoCgroups(f"{place.path}/{name} is {found!r}, not {value!r}")


def _ended(pid: int) -> bool:
    """Within PROVE_S_MAX; a child of ours, so the pid is nobody else's."""
    fd = os.pidfd_open(pid)
    try:
        return bool(select.select([fd], [], [], PROVE_S_MAX)[0])
    finally:
        os.close(fd)


def limits(bounds: Bounds) -> dict[str, str]:
    """What is written into a launch's cgroup.

    Memory is held at the bound, swap and all, and the agent ends as a whole; processes a sixteenth above
    theirs, so that the watchdog can tell who goes over it from who comes near it.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE")  # the kernel rounds down to these
    return {
        "memory.max": str(bounds.memory_bytes // page_bytes * page_bytes),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": str(bounds.processes + bounds.processes // 16 + 2),
        "cpu.max": f"{processors() * CPU_PERIOD_US} {CPU_PERIOD_US}",
    }


def processors() -> int:
    """How many an agent can keep busy: of more than two one is left to all others, however alone it is.

    Among agents that all want more the kernel divides equally, per agent and not per process.
    """
    here = len(os.sched_getaffinity(0))
    return here - 1 if here > 2 else here


def enforcers(held: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """What holds each bound in a launch's cgroup; `held` is what does without one."""
    count = processors()
    at_once = f"{count} processor{'s' if count != 1 else ''} at once"
    seconds, by = held.get("cpu", ("", ""))
    return {
        **held,
        "memory": (held["memory"][0], "cgroup"),
        "processes": (held["processes"][0], "watchdog, cgroup a sixteenth above"),
        "cpu": (", ".join(filter(None, [seconds, at_once])), ", ".join(filter(None, [by, "cgroup"]))),
    }


def of_launch(base: str, folder: Path, bounds: Bounds) -> dict[str, object]:
    """The arguments of a launch's Cgroup, as its jail's plan has them; `folder` is the launch's."""
    return {"path": f"{agents(base, folder.parent)}/{folder.name}", "limits": limits(bounds)}


def of_tool(base: str, mark: str, bounds: Bounds) -> dict[str, object]:
    """The same for a tool, which `mark` names."""
    return {"path": f"{base}/{TOOLS}/{mark}", "limits": limits(bounds)}


def agents(base: str, launches: Path) -> str:
    """The cgroup around those of this dashd's launches: in one BASE there may be two daemons."""
    name = hashlib.sha256(os.fsencode(launches.absolute())).hexdigest()[:12]
    return f"{base}/agents-{name}"


def sweep(launches: Path, alive: Callable[[str], bool], proc: str = "/proc/self") -> list[str]:
    """Ends and removes the cgroups that an earlier dashd left, but for those of live holders.

    Those of tools go where their dashd has; its leashes have ended them. Returns the launch ids.
    """
    try:
        base = find(proc)
        _sweep_tools(f"{base}/{TOOLS}")
        around = agents(base, launches)
        left = sorted(each.name for each in os.scandir(around) if each.is_dir() and not alive(each.name))
    except (NoCgroups, OSError):
        return []
    for launch_id in left:
        Cgroup(f"{around}/{launch_id}", {}).remove()
    return left


def _sweep_tools(around: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for each in os.scandir(around):
            pid = each.name.split("-")[1:2]
            if each.is_dir() and pid and not os.path.exists(f"/proc/{pid[0]}"):
                Cgroup(each.path, {}).remove()
