"""A view becomes a jail: the arguments of bubblewrap, and the policy of the stage that runs inside it.

    grade A: as B, in a cgroup of its own (cgroup.py)
    grade B: holder ─▶ bwrap ─▶ (its own user, PID, mount, network, IPC, UTS namespaces) stage ─▶ agent
    grade C: holder ─▶ stage ─▶ agent: Landlock and seccomp alone
    grade M: a profile for macOS (seatbelt.py), behind which nothing is started yet
    grade 0: holder ─▶ agent

Pure but for a look at which system folders there are. Options travel by descriptor and never as arguments,
which every local user can read. `without` names layers to leave out, for tests that show what each is for.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from . import cgroup_tree, landlock, seccomp, syscalls
from .view import CODE, HOME, LISTENER_PORT, SETTINGS, SYSTEM, Bounds, Folder, View

Grade = Literal["A", "B", "C", "M", "0"]
Nesting = Literal["own", "bwrap", ""]
WORSE_THAN: dict[Grade, int] = {"A": 0, "B": 1, "C": 2, "M": 3, "0": 4}

DEVICES = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
)
LAYERS = frozenset(
    {
        *("landlock", "seccomp", "close_range", "rlimits", "no_new_privs", "unshare-net", "unshare-pid"),
        *("unshare-ipc", "unshare-uts", "unshare-cgroup", "disable-userns", "new-session", "tmpfs-size"),
        *("die-with-parent", "cap-drop", "clearenv", "remount-ro"),
    }
)
"""What `without` may name."""
BACKSTOP = 8
"""Times an agent's bound is by how many a user's processes may grow where no namespace counts them apart. Not
a bound, but without it a bomb would have the machine before the watchdog looks."""
_NAMESPACES = ("net", "pid", "ipc", "uts", "cgroup")
_STAGE = f"""
import marshal, sys
policy = open(int(sys.argv[1]), "rb")
magic, modules = marshal.load(policy)
if magic == sys.modules["_frozen_importlib_external"].MAGIC_NUMBER:
    for name, code in marshal.loads(modules):
        sys.modules[name] = module = type(sys)(name)
        exec(code, module.__dict__)
else:
    sys.path.append({CODE!r})
from dashd.jail import stage
stage.main(policy, int(sys.argv[2]))
"""
"""What agent_jail.py compiled is taken where this Python can read it: inside, no start can keep for the next
one what it compiles.
"""
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Walls:
    """What this machine can do, as `probe.probe` has found it by doing it."""

    grade: Grade
    bwrap: str = ""
    landlock_abi: int = 0
    disable_userns: bool = True
    why: str = ""
    """Why it is not better, in words."""
    fix: str = ""
    """What to install or allow for the next grade."""
    cgroups: str = ""
    """Grade A: the delegated cgroup in which launches get theirs."""
    nesting: Nesting = "own"
    """Who makes the namespaces in which folders are mounted inside others (nesting.py); nobody if empty."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed inside. `env` is all of its environment; `files` is what `argv[0]` may mean."""

    argv: Sequence[str]
    files: Sequence[str]
    env: Mapping[str, str]


class Outside(msgspec.Struct, frozen=True):
    """What the self-test must not reach: files, Unix sockets and ports of this machine, outside the view."""

    files: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def plan(
    walls: Walls,
    view: View,
    *,
    python: str,
    outside: Outside,
    listener: bool = True,
    scratch: str = "",
    port: int | None = None,
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The `jail` of a launch, as agent_jail.py reads it.

    `listener`: the stage opens one inside and hands it out (grade B). `port`: the one of the loopback address
    that may be connected to (grade C). `scratch`: a folder of the launch's own for HOME and /tmp (grade C).
    """
    assert walls.grade not in ("M", "0"), f"no jail is planned for grade {walls.grade}"
    assert without <= LAYERS, without - LAYERS
    own = walls.grade in ("A", "B")
    if not own:
        view = replace(view, read=tuple(folder for folder in view.read if not folder.mounted))
    stage = _STAGE if own else _STAGE.replace(repr(CODE), repr(str(_PACKAGE.parent)))
    return {
        "bwrap": walls.bwrap if own else None,
        "options": _options(walls, view, without) if own else [],
        "binds": [_bind(folder, writable) for folder, writable in _shown(view)],
        "finish": ["--chdir", "/", *([] if "remount-ro" in without else ["--remount-ro", "/"])]
        if own
        else [],
        "stage": [python, "-I", "-S", "-c", stage],
        "nesting": walls.nesting,
        "alone": view.alone,
        "inherit_env": "clearenv" in without,
        "scratch": scratch,
        "policy": {
            "listener": LISTENER_PORT if listener and own else None,
            "fds_kept": "close_range" in without,
            "limits": {} if "rlimits" in without else _limits(view, own=own),
            "processes_more": None if own or "rlimits" in without else view.bounds.processes * BACKSTOP,
            "may_gain": "no_new_privs" in without,
            "landlock": None if "landlock" in without else _rules(walls, view, scratch, port),
            "seccomp": None if "seccomp" in without else _filter(view),
            "selftest": None if without else _selftest(outside, own=own),
            "init": own and "unshare-pid" not in without,
            "cwd": view.cwd,
        },
    }


def _options(walls: Walls, view: View, without: frozenset[str]) -> list[str]:
    size = str(view.bounds.tmp_bytes) if "tmpfs-size" not in without else ""
    sized = ["--size", size] if size else []
    return [
        "--unshare-user",
        *(f"--unshare-{name}" for name in _NAMESPACES if f"unshare-{name}" not in without),
        *(["--disable-userns"] if walls.disable_userns and "disable-userns" not in without else []),
        *([] if "die-with-parent" in without else ["--die-with-parent"]),
        *([] if "new-session" in without else ["--new-session"]),
        *([] if "cap-drop" in without else ["--cap-drop", "ALL"]),
        *(["--hostname", "dash"] if "unshare-uts" not in without else []),
        *_system(),
        *("--proc", "/proc", "--dev", "/dev", *sized, "--tmpfs", "/dev/shm"),  # the jail's own
        *(*sized, "--tmpfs", "/tmp", *sized, "--tmpfs", HOME),
        *("--ro-bind", str(_PACKAGE), f"{CODE}/dashd"),
    ]


def _system() -> list[str]:
    """The system's folders as they are here: some distributions have /bin as a link, some as a folder."""
    options: list[str] = []
    for path in SYSTEM:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += ["--ro-bind", path, path]
    for path in SETTINGS:
        options += ["--ro-bind-try", path, path]
    return options


def _shown(view: View) -> list[tuple[Folder, bool]]:
    """Every folder once, those around others first; where one is named twice, writing wins."""
    shown = dict.fromkeys(view.read, False) | dict.fromkeys(view.write, True)
    by_path: dict[str, tuple[Folder, bool]] = {}
    for folder, writable in shown.items():
        by_path[folder.at] = folder, writable
    return [by_path[path] for path in sorted(by_path)]


def _bind(folder: Folder, writable: bool) -> list[Any]:
    return [folder.at, folder.root, folder.path, writable]


def _limits(view: View, *, own: bool) -> dict[str, int]:
    bounds = view.bounds
    limits = {
        "CORE": 0,
        "NOFILE": bounds.open_files,
        "FSIZE": bounds.file_bytes,
        "DATA": bounds.memory_bytes + view.reserved_bytes,
        "MEMLOCK": 1 << 16,
        "MSGQUEUE": 0,
    }
    if own:  # counted in the user namespace; without one it would count all of the user's own processes
        # Above the bound, so that the watchdog can tell who goes over it from who comes near it.
        limits["NPROC"] = bounds.processes + bounds.processes // 16 + 2
    if bounds.cpu_s is not None:
        limits["CPU"] = bounds.cpu_s
    return limits


def _rules(walls: Walls, view: View, scratch: str, port: int | None) -> dict[str, Any]:
    own = walls.grade in ("A", "B")
    code = CODE if own else str(_PACKAGE)
    places = ("/tmp", HOME, "/dev/shm") if own else (scratch,)  # the jail's own
    return landlock.ruleset(
        walls.landlock_abi,
        read=[*SYSTEM, *SETTINGS, code, *(folder.at for folder in view.read)],
        look=["/proc", *(["/dev"] if own else [])],
        write=[*(folder.at for folder in view.write), *filter(None, places)],
        devices=DEVICES,
        ports=None if own else [port] if port else [],
    )


def _filter(view: View) -> str:
    machine = syscalls.here()
    return seccomp.program(machine, unix_sockets=view.unix_sockets).hex() if machine else ""


def _selftest(outside: Outside, *, own: bool) -> dict[str, Any]:
    return {
        "files": outside.files,
        "sockets": outside.sockets,
        "ports": outside.ports,
        "isolated": own,
    }


def enforcers(grade: Grade, bounds: Bounds) -> dict[str, tuple[str, str]]:
    """Each bound of a jail of that grade, in words, and what holds it; where there is none, none is named."""
    own = grade in ("A", "B")
    near = "a sixteenth above" if own else "far above"
    held = {
        "memory": (_size(bounds.memory_bytes), "watchdog, rlimit per process while dashd is away"),
        "processes": (str(bounds.processes), f"watchdog, rlimit {near}"),
        "open_files": (f"{bounds.open_files} of each process", "rlimit"),
        "file_size": (_size(bounds.file_bytes), "rlimit"),
        "tmp": (_size(bounds.tmp_bytes), "sized tmpfs" if own else "watchdog"),
        "tmp_files": (f"{bounds.tmp_files}{' in each' if own else ''}", "watchdog"),
        "disk": (_size(bounds.disk_bytes), "watchdog"),
        "files": (f"{bounds.files} more", "watchdog"),
        "wall_time": ("", "dashd, and the lease while it is away"),
        "output": ("", "holder"),
    }
    if bounds.cpu_s is not None:
        held["cpu"] = (f"{bounds.cpu_s} s of each process", "rlimit")
    return cgroup_tree.enforcers(held) if grade == "A" else held


def _size(count_bytes: int) -> str:
    return f"{count_bytes >> 20} MiB"
