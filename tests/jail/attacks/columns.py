"""What a launcher must offer to be attacked, and four small ones: nothing, the stage, bwrap, both.

A launcher of Dash's own becomes a column by the same two things, `layers` and `command`. The ones here know
the walls from the facts alone and share no code with dashd.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

MIB = 1 << 20
HOME = "/home/agent"
STAGE = Path(__file__).with_name("small_stage.py")
PYTHON = "/usr/bin/python3"
BWRAP = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin") or ""
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin")
SETTINGS = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/passwd"),
    *(
        "/etc/group",
        "/etc/nsswitch.conf",
        "/etc/hosts",
        "/etc/localtime",
        "/etc/ssl",
        "/etc/npmrc",
        "/etc/node",
    ),
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

STAGE_LAYERS = frozenset(
    {
        *("close_range", "rlimits", "no_new_privs", "seccomp"),
        *("landlock", "landlock_files", "landlock_net", "landlock_scope"),  # the first one is the other three
        *("clear_environment", "private_tmp", "scope_by_fd", "die_with_parent"),
    }
)
BWRAP_LAYERS = frozenset(
    {
        *("unshare_net", "unshare_pid", "unshare_ipc", "unshare_uts", "unshare_cgroup"),
        *("view", "private_tmp", "private_home", "sized_tmpfs", "read_only_parts", "read_only_root"),
        *("clear_environment", "new_session", "disable_userns", "die_with_parent", "scope_by_fd"),
    }
)


class Limits(NamedTuple):
    """What one agent may use. The bombs take a small multiple of each, so the numbers are small."""

    processes: int = 48
    files: int = 256
    memory: int = 96 * MIB
    file_bytes: int = 4 * MIB
    disk_bytes: int = 8 * MIB
    tmp_bytes: int = 16 * MIB


LIMITS = Limits()


class Launch(NamedTuple):
    """One start: what the agent may write and read, what it may reach, and what is the operator's own."""

    scope: Path
    read: tuple[Path, ...] = ()  # read-only, the attacker's program among them
    read_only_parts: tuple[Path, ...] = ()  # of the scope
    port: int = 0  # the one TCP port of the model proxy
    limits: Limits = LIMITS
    host_home: Path = Path("/nonexistent")
    private_tmp: Path = Path("/nonexistent")  # where no mount can be made, this stands for /tmp
    tasks_before: int = 0  # of the same user; where there is no user namespace, a limit counts them too


class Command(NamedTuple):
    """What to execute. `fds` are inherited, under the same numbers; whoever starts it closes its own.

    `policy` is the one of them that a stage inside reads to its end before it does anything.
    """

    argv: list[str]
    fds: tuple[int, ...] = ()
    policy: int | None = None
    enter: Callable[[], None] | None = None
    """What the child does right before it executes."""


class Column(Protocol):
    """A launcher under attack. `without` names layers to leave out; one that it does not have is an error."""

    name: str
    layers: frozenset[str]

    def command(
        self, launch: Launch, argv: Sequence[str], without: frozenset[str] = frozenset()
    ) -> Command: ...


def written(data: bytes) -> int:
    """An fd to read that from."""
    fd = os.memfd_create("options")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def check(column: Column, without: frozenset[str]) -> None:
    if strange := without - column.layers:
        raise ValueError(f"{column.name} has no layer {', '.join(sorted(strange))}")


class NoJail:
    """The control: the command as it is."""

    name = "none"
    layers: frozenset[str] = frozenset()

    def command(self, launch: Launch, argv: Sequence[str], without=frozenset()) -> Command:
        check(self, without)
        return Command(list(argv))


class StageAlone:
    """Grade C: Landlock and seccomp."""

    name = "stage"
    layers = STAGE_LAYERS

    def command(self, launch: Launch, argv: Sequence[str], without=frozenset()) -> Command:
        check(self, without)
        tmp = Path("/tmp") if "private_tmp" in without else launch.private_tmp
        scope = (
            launch.scope if "scope_by_fd" in without else os.open(launch.scope, os.O_PATH | os.O_DIRECTORY)
        )
        environment = {**clean_environment(str(launch.private_tmp)), "TMPDIR": str(tmp)}
        rules = [*views(launch), (scope, "write"), (tmp, "write"), *((path, "write") for path in DEVICES)]
        policy = stage_policy(launch, rules, without, launch.tasks_before, environment)
        return staged(policy, STAGE if not launch.read else launch.read[0] / STAGE.name, argv, scope)


class BwrapAlone:
    """Namespaces and nothing inside."""

    name = "bwrap"
    layers = BWRAP_LAYERS

    def command(self, launch: Launch, argv: Sequence[str], without=frozenset()) -> Command:
        check(self, without)
        scope = None if "scope_by_fd" in without else os.open(launch.scope, os.O_PATH | os.O_DIRECTORY)
        options = "\0".join(bwrap_options(launch, without, scope)).encode() + b"\0"
        fd = written(options)
        return Command([BWRAP, "--args", str(fd), "--", *argv], (fd,) if scope is None else (fd, scope))


class Both:
    """Grade B: bwrap outside, the stage inside."""

    name = "both"
    layers = STAGE_LAYERS | BWRAP_LAYERS

    def command(self, launch: Launch, argv: Sequence[str], without=frozenset()) -> Command:
        check(self, without)
        rules = [
            *views(launch),
            ("/dev", "look"),
            (launch.scope, "write"),
            ("/tmp", "write"),
            (HOME, "write"),
        ]
        rules += [(path, "write") for path in ("/dev/shm", *DEVICES)]
        policy = stage_policy(launch, rules, without, 0, {})
        inner = staged({**policy, "die_with_parent": False}, launch.read[0] / STAGE.name, argv, None)
        outer = BwrapAlone().command(launch, inner.argv, without & BWRAP_LAYERS)
        return Command(outer.argv, outer.fds + inner.fds, inner.policy)


def views(launch: Launch) -> Iterator[tuple[object, str]]:
    """What may be read, for Landlock. Rules only ever add, so nothing inside the scope can be taken back."""
    for path in (*SYSTEM, *SETTINGS, *launch.read):
        yield path, "read"
    yield "/proc", "look"


def clean_environment(home: str) -> dict[str, str]:
    """git ends where /etc/gitconfig is there and refused, as by Landlock; so it is told not to look."""
    own = {"PATH": "/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8", "TERM": "dumb"}
    return {**own, "GIT_CONFIG_NOSYSTEM": "1", "MODEL_KEY": "unused"}


def stage_policy(launch, rules, without, tasks_before, environment) -> dict[str, object]:
    limits = launch.limits
    rlimits = {"CORE": 0, "NOFILE": limits.files, "NPROC": limits.processes + tasks_before}
    return {
        "without": sorted(without),
        "rules": [(where if isinstance(where, int) else str(where), kind) for where, kind in rules],
        "rlimits": {**rlimits, "FSIZE": limits.file_bytes, "DATA": limits.memory, "MSGQUEUE": 0},
        "port": launch.port,
        "cwd": str(launch.scope),
        "environment": environment,
        "die_with_parent": "die_with_parent" not in without,
    }


def staged(policy, stage: Path, argv: Sequence[str], scope: object) -> Command:
    fd = written(json.dumps(policy).encode())
    fds = (fd, scope) if isinstance(scope, int) else (fd,)
    return Command([PYTHON, "-I", "-S", str(stage), str(fd), "--", *argv], fds, fd)


def bwrap_options(launch: Launch, without: frozenset[str], scope: int | None) -> Iterator[str]:
    """Its arguments, in order; they travel by fd, because every user can read a command line."""
    yield from ("--unshare-user", "--cap-drop", "ALL")
    flags = ("unshare_net", "unshare_pid", "unshare_ipc", "unshare_uts", "unshare_cgroup")
    for flag in (*flags, "new_session", "disable_userns", "die_with_parent"):
        if flag not in without:
            yield "--" + flag.replace("_", "-")
    if "unshare_uts" not in without:
        yield from ("--hostname", "agent")
    if "clear_environment" not in without:
        yield "--clearenv"
        for name, value in clean_environment(HOME).items():
            yield from ("--setenv", name, value)
    yield from mounts(launch, without)
    source = str(launch.scope) if scope is None else f"/proc/self/fd/{scope}"
    yield from ("--bind", source, str(launch.scope))
    if "read_only_parts" not in without:
        for path in launch.read_only_parts:
            yield from ("--ro-bind", str(path), str(path))
    for path in launch.read:
        yield from ("--ro-bind", str(path), str(path))
    yield from ("--chdir", str(launch.scope))
    if not {"read_only_root", "view"} & without:
        yield from ("--remount-ro", "/")


def mounts(launch: Launch, without: frozenset[str]) -> Iterator[str]:
    """The view: what is there of the machine, and what is private memory instead."""
    if "view" in without:
        yield from ("--bind", "/", "/")
    else:
        yield from ("--ro-bind", "/usr", "/usr")
        for path in SYSTEM[1:]:
            if os.path.islink(path):
                yield from ("--symlink", os.readlink(path), path)
            else:
                yield from ("--ro-bind-try", path, path)
        for path in SETTINGS:
            yield from ("--ro-bind-try", path, path)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for layer, real, path in (
        ("private_tmp", Path("/tmp"), "/tmp"),
        ("private_home", launch.host_home, HOME),
    ):
        if layer in without:
            yield from ("--bind", str(real), path)
        elif path == "/tmp" or "view" not in without:  # in the real view there is no such home to mount on
            yield from (*sized(launch, without), "--tmpfs", path)


def sized(launch: Launch, without: frozenset[str]) -> Sequence[str]:
    return () if "sized_tmpfs" in without else ("--size", str(launch.limits.tmp_bytes))


COLUMNS: dict[str, Column] = {
    column.name: column for column in (NoJail(), StageAlone(), BwrapAlone(), Both())
}
