"""The last program before the agent's, inside its namespaces: it closes the door from within, then execs.

    listener ▸ close_range ▸ rlimits ▸ no_new_privs ▸ Landlock ▸ seccomp ▸ self-test ▸ leave to go ▸ exec

Run as `python -I -S -c "… stage.main(…)" POLICY_FD CONTROL_FD`. The policy (by marshal, because loading json
would be a third of the start; made by launch.py) has every number in it, so that nothing here depends on
architecture or kernel. The control socket carries the listener out, then `ready`, or else why nothing was
started; `go` comes back, and exec closes it. Any step that fails ends the start: there is no weaker way on.
Standard library only, and as little of it as possible: its start is the agent's.

bubblewrap ends with its parent, and its first process inside with bubblewrap, by PR_SET_PDEATHSIG. That says
nothing of a parent which died before the call. So `ready` is not said until the first process has made it
(the filter that agent_jail.py gives bubblewrap is set right after, and shows in /proc), and `go` only by
whoever has seen bubblewrap alive since. Nothing of the agent's runs without both.
"""

from __future__ import annotations

import _socket as socket
import marshal
import os
import resource
import struct
import time

from dashd.jail import calls, selftest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, NoReturn

EXIT_REFUSED = 125
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_CLOSE_RANGE, _OPENAT2, _NO_SYMLINKS = 436, 437, 0x04
_RULE_PATH, _RULE_PORT = 1, 2
_LISTEN_BACKLOG = 128
_LOOKS_MAX, _LOOK_S = 5000, 0.001


class Refused(Exception):
    """A layer could not be closed, or was found open."""


def _call(name: str, number: int, *arguments: int | bytes) -> int:
    """A system call that libc has no function for. Raises Refused naming it."""
    try:
        return calls.call(number, *arguments)
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}") from None


def _prctl(name: str, option: int, *arguments: int | bytes) -> None:
    try:
        calls.prctl(option, *arguments)
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}") from None


def give_listener(control: int, port: int) -> None:
    """Opens 127.0.0.1:port in these namespaces and hands it out: who listens there is not of this jail."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_LISTEN_BACKLOG)
    out = socket.socket(fileno=os.dup(control))
    out.sendmsg([b"listener"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", listener.fileno()))])
    out.close()
    listener.close()


def close_others(kept: list[int]) -> None:
    """Closes every descriptor above 2 but those; what a parent leaked ends here."""
    first = 3
    for fd in sorted(kept):
        if fd > first:
            _call("close_range", _CLOSE_RANGE, first, fd - 1, 0)
        first = fd + 1
    _call("close_range", _CLOSE_RANGE, first, 0xFFFFFFFF, 0)


def limit(limits: dict[str, int]) -> None:
    """Lowers resource limits, soft and hard; one that is lower already stays.

    Processor time leaves a second between the two: what goes over it gets SIGXCPU, which says what it was.
    """
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            spare = name == "CPU" and (hard == resource.RLIM_INFINITY or hard > lowered)
            resource.setrlimit(kind, (lowered, lowered + spare))
        except (OSError, ValueError) as error:
            raise Refused(f"RLIMIT_{name}: {error}") from None


def limit_processes(more: int) -> None:
    """For a user whose every process counts: so many more than the whole machine has now."""
    with open("/proc/loadavg", encoding="ascii") as file:
        tasks = int(file.read().split()[3].partition("/")[2])
    limit({"NPROC": tasks + more})


def no_new_privs() -> None:
    """Set-user-id programs give nothing from here on; Landlock and seccomp ask for it."""
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def restrict(rules: dict[str, Any], shown: dict[str, tuple[int, int, bool]]) -> None:
    """Landlock: `attributes` is the ruleset (hex), `paths` [(path, rights)], `ports` [(port, rights)].

    A path that is not there gives no right. One of `shown`, by device and inode, has to be that very folder:
    whoever can put a link or another one in its place would choose what is given, or what hides it. The third
    says that its mount has to be read-only.
    """
    attributes = bytes.fromhex(rules["attributes"])
    ruleset = _call(
        "landlock_create_ruleset",
        _CREATE_RULESET,
        attributes,
        len(attributes),
        0,
    )
    for path, rights, rights_of_file in rules["paths"]:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC) if path not in shown else _open_no_link(path)
        except FileNotFoundError:
            if path not in shown:
                continue
            raise
        found = os.fstat(fd)
        if path in shown:
            device, inode, read_only = shown[path]
            if (found.st_dev, found.st_ino) != (device, inode):
                raise Refused(f"{path} is not the folder that it was")
            if read_only and not os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                raise Refused(f"{path} is not mounted read-only")
        is_folder = (found.st_mode & 0o170000) == 0o040000
        _add_rule(ruleset, _RULE_PATH, struct.pack("=Qi", rights if is_folder else rights_of_file, fd))
        os.close(fd)
    for port, rights in rules["ports"]:
        _add_rule(ruleset, _RULE_PORT, struct.pack("QQ", rights, port))
    _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _open_no_link(path: str) -> int:
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _NO_SYMLINKS)
    return _call(
        f"opening {path}",
        _OPENAT2,
        -1,
        os.fsencode(path),
        how,
        len(how),
    )


def _add_rule(ruleset: int, kind: int, rule: bytes) -> None:
    _call(
        "landlock_add_rule",
        _ADD_RULE,
        ruleset,
        kind,
        rule,
        0,
    )


def filter_calls(program: bytes) -> None:
    """seccomp: `program` is classic BPF, eight bytes an instruction."""
    header = struct.pack("@HxxxxxxP", len(program) // 8, calls.address(program))
    _prctl("seccomp", _PR_SET_SECCOMP, _FILTER, header, 0, 0)


def close_door(policy: dict[str, Any], control: int) -> None:
    """Applies every layer that the policy has, in the one order that works."""
    if policy.get("listener"):
        give_listener(control, policy["listener"])
    if not policy.get("fds_kept"):
        close_others([control])
    limit(policy["limits"])
    if policy.get("processes_more"):
        limit_processes(policy["processes_more"])
    if not policy.get("may_gain"):
        no_new_privs()
    if policy.get("landlock"):
        restrict(policy["landlock"], {at: tuple(meant) for at, *meant in policy["shown"]})
    if policy.get("seccomp"):
        filter_calls(bytes.fromhex(policy["seccomp"]))


def await_init() -> None:
    """Returns once the first process of this PID namespace is tied to bubblewrap's life."""
    for _ in range(_LOOKS_MAX):
        with open("/proc/1/status", encoding="ascii") as file:
            if "\nSeccomp:\t2\n" in file.read():
                return
        time.sleep(_LOOK_S)
    raise Refused("the first process of the jail is not tied to bubblewrap")


def main(file: BinaryIO, control: int) -> NoReturn:
    """See the module's docstring; the policy is what is read next from `file`."""
    try:
        with file:
            policy = marshal.load(file)
        os.set_inheritable(control, False)
        close_door(policy, control)
        if policy.get("selftest"):
            found = selftest.openings(policy["selftest"], control)
            if found:
                raise Refused(f"self-test: {'; '.join(found)}")
        if policy.get("init"):
            await_init()
        os.chdir(policy["cwd"])
        os.write(control, b"ready")
        if os.read(control, 2) != b"go":  # whoever started us is gone, or bubblewrap is
            os._exit(EXIT_REFUSED)
        _exec(policy["argv"], policy["files"], policy["env"])
    except (OSError, ValueError, KeyError, Refused) as error:
        os.write(control, str(error).encode("utf-8", "replace")[:4096] or b"refused")
    finally:
        os._exit(EXIT_REFUSED)


def _exec(argv: list[str], files: list[str], env: dict[str, str]) -> NoReturn:
    """The first of `files` that can be run. Raises OSError naming the last one."""
    refused: OSError | None = None
    for file in files:
        try:
            os.execve(file, argv, env)
        except (FileNotFoundError, NotADirectoryError) as error:
            missing: OSError = error
        except PermissionError as error:
            refused = error
    raise refused or missing
