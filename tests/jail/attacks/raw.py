"""What all attacks share: the list of them, system calls by number, and how an attack says that it failed.

x86_64 only: the numbers are. Runs inside a jail; standard library alone.
"""

import ctypes
import os
import signal

X86_64 = {
    "ptrace": 101,
    "mount": 165,
    "renameat2": 316,
    "shmget": 29,
    "unshare": 272,
    "clone": 56,
    "clone3": 435,
    "setns": 308,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "bpf": 321,
    "perf_event_open": 298,
    "keyctl": 250,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
    "pidfd_send_signal": 424,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "getpid": 39,
    "open_tree": 428,
    "chroot": 161,
    "ioprio_set": 251,
    "sched_setscheduler": 144,
    "fanotify_init": 300,
    "syslog": 103,
    "memfd_secret": 447,
}
X32_BIT = 0x40000000
CANARY = "canary-"

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

ATTACKS = {}


class Failed(Exception):
    """The attack ran to its end, and was no success."""


def attack(row, limit_s=2.0, heavy=False):
    """Registers the function as an attack of that row of the table; it returns a word, or raises."""

    def register(function):
        ATTACKS[function.__name__] = (row, limit_s, heavy, function)
        return function

    return register


def call(name, *arguments):
    """The system call; an OSError where the kernel says no."""
    number = name if isinstance(name, int) else X86_64[name]
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def checked(result):
    """The result of a libc function that sets errno."""
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def loot(data):
    """The canary in it, which only a victim has; else the attack has failed."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    if CANARY not in text:
        raise Failed("no canary in " + repr(text[:40]))
    return text[text.index(CANARY) :].split("\0")[0].split("\n")[0][:60]


def read(path):
    """The canary in a file."""
    with open(path, "rb") as file:
        return loot(file.read(65536))


def other_processes():
    """Every process that /proc shows, but this one and its ancestors up to the attacker."""
    own = {os.getpid(), os.getppid()}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in own]


def first(attempt, candidates):
    """The first success of many; else the last failure."""
    last = Failed("nobody to attack")
    for candidate in candidates:
        try:
            return attempt(candidate)
        except (OSError, Failed) as error:
            last = error
    raise last


def child(function):
    """Runs it in a child; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = function() or 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sleeper():
    """A child that only waits, ten seconds at most; its pid."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        signal.pause()
        os._exit(0)
    return pid
