"""Which system calls an agent may make: the filter as classic BPF, assembled here, loaded by the stage.

A deny list, because the calls of Node and Python move with every release; everything else is what a
namespace, Landlock or a limit answers for. What is denied: ways to more kernel (bpf, io_uring, userfaultfd,
perf, keyrings), to other processes (ptrace, their limits and places), to other namespaces, to sockets but
TCP streams, to kernel memory in nobody's account (buffers of sockets and pipes stay as large as they are
made), and everything of an administrator's. Calls that are newer than the tables are as if the kernel
lacked them, which every libc can live with. A call through another architecture's table ends the process.
https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

import errno
import struct
from collections.abc import Iterable

from .syscalls import UNKNOWN_FROM, Architecture

ALLOW, KILL = 0x7FFF_0000, 0x8000_0000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

NEW_NAMESPACES = 0x7E02_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (NEWTIME cannot go with clone.)"""
AF_UNIX, AF_INET, AF_INET6, SOCK_STREAM, TYPE_MASK, IPPROTO_TCP = 1, 2, 10, 1, 0xF, 6
SOL_SOCKET, F_SETPIPE_SZ, PIPE_BYTES = 1, 1031, 1 << 16
BUFFER_SIZES = (7, 8, 32, 33)
"""SO_SNDBUF, SO_RCVBUF, and the same with FORCE."""
MSG_FASTOPEN, TIOCSTI, TIOCLINUX = 0x2000_0000, 0x5412, 0x541C

DENIED = (
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "mount_setattr", "open_tree"),
    *("open_tree_attr", "statmount", "listmount", "lsm_set_self_attr"),
    *("move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "ptrace", "process_vm_readv"),
    *("process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise", "migrate_pages", "move_pages"),
    *("perf_event_open", "bpf", "userfaultfd", "keyctl", "add_key", "request_key", "io_uring_setup"),
    *("io_uring_enter", "io_uring_register", "open_by_handle_at", "name_to_handle_at", "fanotify_init"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon"),
    *("swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "adjtimex"),
    *("clock_adjtime", "iopl", "ioperm", "personality", "vhangup", "syslog", "sethostname", "setdomainname"),
    *("memfd_secret", "lookup_dcookie", "modify_ldt", "mq_open", "mq_unlink", "shmget", "shmat"),
    *("shmctl", "shmdt", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "semtimedop"),
)
"""Refused with EPERM whatever their arguments are."""
_OF_ONESELF = {
    "prlimit64": 0,
    "sched_setaffinity": 0,
    "sched_setscheduler": 0,
    "sched_setattr": 0,
    "sched_setparam": 0,
    "setpriority": 1,
    "ioprio_set": 1,
}
_WHICH_ONE = {"setpriority": 0, "ioprio_set": 1}
"""Their first argument must say that a process is meant: 0 of a user, or of a group, is everybody's."""
_SENDS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
"""Where the flags are: MSG_FASTOPEN would connect without a connect that Landlock sees."""


class _Assembler:
    """Instructions with forward jumps by name."""

    def __init__(self) -> None:
        self._code: list[tuple[int, str | int, str | int, int]] = []
        self._labels: dict[str, int] = {}

    def load(self, at: int) -> None:
        self._code.append((_LOAD, 0, 0, at))

    def argument(self, index: int) -> None:
        """The low half: the kernel, too, looks at no more of these."""
        self.load(_ARGUMENTS_AT + 8 * index)

    def keep(self, mask: int) -> None:
        self._code.append((_AND, 0, 0, mask))

    def jump(self, code: int, value: int, then: str | int, otherwise: str | int) -> None:
        self._code.append((code, then, otherwise, value))

    def answer(self, value: int) -> None:
        self._code.append((_RETURN, 0, 0, value))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def assembled(self) -> bytes:
        return b"".join(
            struct.pack("HBBI", code, self._distance(then, at), self._distance(otherwise, at), value)
            for at, (code, then, otherwise, value) in enumerate(self._code)
        )

    def _distance(self, target: str | int, at: int) -> int:
        return target if isinstance(target, int) else self._labels[target] - at - 1


def _refusal(number: int) -> int:
    return 0x0005_0000 | number


def program(machine: Architecture, *, denied: Iterable[str] = DENIED, unix_sockets: bool = False) -> bytes:
    """The filter for a machine, to be loaded as it is. `unix_sockets` leaves AF_UNIX to the file system."""
    code = _Assembler()
    code.load(_ARCHITECTURE_AT)
    code.jump(_JUMP_EQUAL, machine.audit, 1, 0)
    code.answer(KILL)
    code.load(_NUMBER_AT)
    if machine.foreign_from is not None:
        code.jump(_JUMP_GREATER_EQUAL, machine.foreign_from, 0, 1)
        code.answer(_refusal(errno.ENOSYS))
    for name in denied:
        _when(code, machine, name, lambda: code.answer(_refusal(errno.EPERM)))
    # Passed on through a socket and closed, its pages would be in nobody's account.
    _when(code, machine, "memfd_create", lambda: code.answer(_refusal(errno.ENOSYS)))
    # Its flags are in memory, where no filter sees them: without it, libc falls back to clone.
    _when(code, machine, "clone3", lambda: code.answer(_refusal(errno.ENOSYS)))
    _when(code, machine, "clone", lambda: _unless_any(code, 0, NEW_NAMESPACES))
    _when(code, machine, "socket", lambda: _streams_only(code, unix_sockets=unix_sockets))
    _when(code, machine, "socketpair", lambda: _only(code, 0, AF_UNIX, errno.EACCES))
    for name, index in _SENDS.items():
        _when(code, machine, name, lambda index=index: _unless_any(code, index, MSG_FASTOPEN))
    for name, index in _OF_ONESELF.items():
        which = _WHICH_ONE.get(name)
        _when(code, machine, name, lambda index=index, which=which: _oneself(code, index, which))
    _when(code, machine, "setsockopt", lambda: _no_buffer_sizes(code))
    _when(code, machine, "fcntl", lambda: _no_larger_pipes(code))
    _when(code, machine, "ioctl", lambda: _no_typing(code))
    code.jump(_JUMP_GREATER_EQUAL, UNKNOWN_FROM, 0, 1)
    code.answer(_refusal(errno.ENOSYS))
    code.answer(ALLOW)
    return code.assembled()


def _when(code: _Assembler, machine: Architecture, name: str, body: object) -> None:
    """`body` writes the answer for one call; it must answer on every path."""
    if name not in machine.numbers:
        return
    assert callable(body)
    after = f"after {name}"
    code.jump(_JUMP_EQUAL, machine.numbers[name], 0, after)
    body()
    code.label(after)


def _only(code: _Assembler, index: int, value: int, refusal: int) -> None:
    code.argument(index)
    code.jump(_JUMP_EQUAL, value, 0, 1)
    code.answer(ALLOW)
    code.answer(_refusal(refusal))


def _oneself(code: _Assembler, index: int, which: int | None) -> None:
    if which is not None:
        code.argument(0)
        code.jump(_JUMP_EQUAL, which, 1, 0)
        code.answer(_refusal(errno.EPERM))
    _only(code, index, 0, errno.EPERM)


def _unless_any(code: _Assembler, index: int, bits: int) -> None:
    code.argument(index)
    code.jump(_JUMP_ANY_BIT, bits, 0, 1)
    code.answer(_refusal(errno.EPERM))
    code.answer(ALLOW)


def _streams_only(code: _Assembler, *, unix_sockets: bool) -> None:
    """TCP over IP: no UDP, no raw, no MPTCP (which Landlock's rules for TCP do not see), no other family."""
    code.argument(0)
    if unix_sockets:
        code.jump(_JUMP_EQUAL, AF_UNIX, 0, 1)
        code.answer(ALLOW)
    code.jump(_JUMP_EQUAL, AF_INET, 1, 0)
    code.jump(_JUMP_EQUAL, AF_INET6, 0, "no socket")
    code.argument(1)
    code.keep(TYPE_MASK)
    code.jump(_JUMP_EQUAL, SOCK_STREAM, 0, "no socket")
    code.argument(2)
    code.jump(_JUMP_EQUAL, 0, 1, 0)
    code.jump(_JUMP_EQUAL, IPPROTO_TCP, 0, "no socket")
    code.answer(ALLOW)
    code.label("no socket")
    code.answer(_refusal(errno.EACCES))


def _no_typing(code: _Assembler) -> None:
    """Into a terminal, as if its user had typed it."""
    code.argument(1)
    code.jump(_JUMP_EQUAL, TIOCSTI, 1, 0)
    code.jump(_JUMP_EQUAL, TIOCLINUX, 0, 1)
    code.answer(_refusal(errno.EPERM))
    code.answer(ALLOW)


def _no_buffer_sizes(code: _Assembler) -> None:
    """Accepted and not done: the size is in memory, where no filter sees it. Programs set it as they start,
    some end if they may not, and all live with less than they asked for: so does the kernel, silently.
    """
    code.argument(1)
    code.jump(_JUMP_EQUAL, SOL_SOCKET, 0, "another option")
    code.argument(2)
    for option in BUFFER_SIZES:
        code.jump(_JUMP_EQUAL, option, "no size", 0)
    code.label("another option")
    code.answer(ALLOW)
    code.label("no size")
    code.answer(_refusal(0))


def _no_larger_pipes(code: _Assembler) -> None:
    """EPERM, as of a kernel that allows no more; its answer would be the size, so nothing can be feigned."""
    code.argument(1)
    code.jump(_JUMP_EQUAL, F_SETPIPE_SZ, 0, "no larger pipe")
    code.argument(2)
    code.jump(_JUMP_GREATER_EQUAL, PIPE_BYTES + 1, 0, "no larger pipe")
    code.answer(_refusal(errno.EPERM))
    code.label("no larger pipe")
    code.answer(ALLOW)
