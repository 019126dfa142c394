"""Attacks on other processes: what they hold, and how they run.

`targets.sibling` is a process of the same user that keeps secrets; the sleepers are there to be hit.
"""

import ctypes
import fcntl
import os
import resource
import signal

from raw import Failed, attack, call, checked, first, libc, loot, other_processes, read

PTRACE_SEIZE = 0x4206
KEY_SPEC_USER_KEYRING, KEYCTL_SEARCH, KEYCTL_READ = -4, 10, 11


class Span(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@attack(18)
def sysv_shm(t):
    libc.shmat.restype = ctypes.c_void_p
    address = checked(libc.shmat(t.shm_id, None, 0))
    return loot(ctypes.string_at(address, 64))


@attack(18)
def posix_queue(t):
    queue = checked(libc.mq_open(t.queue.encode(), os.O_RDONLY | os.O_NONBLOCK))
    buffer = ctypes.create_string_buffer(8192)
    checked(libc.mq_receive(queue, buffer, ctypes.c_size_t(8192), None))
    return loot(buffer.raw)


def environ_of(kind):
    """The environment of any process that /proc shows, if it has the canary of that kind."""

    def attempt(pid):
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
        if f"canary-environ-{kind}".encode() not in data:
            raise Failed("not in this one")
        return f"of {pid}"

    return first(attempt, other_processes())


@attack(23)
def environ_sibling(t):
    return environ_of("sibling")


@attack(23)
def environ_daemon(t):
    return environ_of("daemon")


@attack(24)
def cmdline(t):
    return first(lambda pid: read(f"/proc/{pid}/cmdline"), other_processes())


@attack(25)
def ptrace_seize(t):
    call("ptrace", PTRACE_SEIZE, t.sibling, 0, 0)
    return "seized"


def transfer(name, t, address, buffer):
    """Copies between this process and the sibling."""
    here = Span(ctypes.addressof(buffer), len(buffer))
    there = Span(address, len(buffer))
    call(name, t.sibling, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


@attack(25)
def vm_read(t):
    buffer = ctypes.create_string_buffer(32)
    transfer("process_vm_readv", t, t.memory, buffer)
    return loot(buffer.raw)


@attack(25)
def vm_write(t):
    transfer("process_vm_writev", t, t.spare_memory, ctypes.create_string_buffer(b"hit", 4))
    return "written"


@attack(25)
def proc_mem(t):
    with open(f"/proc/{t.sibling}/mem", "rb", 0) as memory:
        memory.seek(t.memory)
        return loot(memory.read(32))


@attack(25)
def proc_fd(t):
    return read(f"/proc/{t.sibling}/fd/{t.sibling_fd}")


@attack(25)
def pidfd_getfd(t):
    pidfd = call("pidfd_open", t.sibling, 0)
    return loot(os.pread(call("pidfd_getfd", pidfd, t.sibling_fd, 0), 4096, 0))


@attack(26)
def signal_sibling(t):
    os.kill(t.sleepers["signal_sibling"], signal.SIGKILL)
    return "killed"


@attack(26)
def signal_pidfd(t):
    pidfd = call("pidfd_open", t.sleepers["signal_pidfd"], 0)
    call("pidfd_send_signal", pidfd, int(signal.SIGKILL), None, 0)
    return "killed"


@attack(26)
def signal_by_owner(t):
    """SIGIO by F_SETOWN: the kernel sends it, on behalf of who set it up."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETOWN, t.sleepers["signal_by_owner"])
    fcntl.fcntl(ours, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(theirs, b"x")
    return "sent"


@attack(28)
def prlimit_daemon(t):
    resource.prlimit(t.sleepers["tuned"], resource.RLIMIT_NOFILE, (7, 7))
    return "starved"


@attack(29)
def renice_daemon(t):
    os.setpriority(os.PRIO_PROCESS, t.sleepers["tuned"], 19)
    return "reniced"


@attack(29)
def affinity_daemon(t):
    os.sched_setaffinity(t.sleepers["tuned"], {min(os.sched_getaffinity(0))})
    return "pinned"


@attack(29)
def scheduler_daemon(t):
    os.sched_setscheduler(t.sleepers["tuned"], os.SCHED_IDLE, os.sched_param(0))
    return "idle"


@attack(29)
def ioprio_daemon(t):
    call("ioprio_set", 1, t.sleepers["tuned"], 3 << 13)
    return "idle"


@attack(30)
def oom_score_adj(t):
    with open(f"/proc/{t.sleepers['tuned']}/oom_score_adj", "w") as file:
        file.write("1000")
    return "first to go"


@attack(53)
def keyring(t):
    key = call("keyctl", KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, b"user", t.key.encode(), 0)
    buffer = ctypes.create_string_buffer(64)
    call("keyctl", KEYCTL_READ, key, buffer, 64, 0)
    return loot(buffer.raw)


@attack(67)
def env_key(t):
    return loot("\n".join(f"{name}={value}" for name, value in os.environ.items() if name.endswith("_KEY")))


@attack(67)
def env_of_others(t):
    """The same key, where another process was started with it: process 1, the attacker's parent."""

    def attempt(pid):
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
        if b"-env\0" not in data:
            raise Failed("not in this one")
        return loot(data)

    return first(attempt, [int(name) for name in os.listdir("/proc") if name.isdigit()])


@attack(67)
def env_agent(t):
    if "SSH_AUTH_SOCK" not in os.environ:
        raise Failed("not set")
    return os.environ["SSH_AUTH_SOCK"]


@attack(68)
def orphan(t):
    """A grandchild in a session of its own that outlives the agent; it ends itself after eight seconds.

    It holds a lock, by which the scene finds it.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.alarm(8)
            lock = os.open(f"{t.scope}/orphan", os.O_CREAT | os.O_RDWR)
            fcntl.lockf(lock, fcntl.LOCK_EX)
            os.write(writer, b"x")
            os.closerange(0, lock)
            os.closerange(lock + 1, 256)
            signal.pause()
        os._exit(0)
    os.read(reader, 1)
    return "started"


@attack(69)
def host_name(t):
    if os.uname().nodename != t.host_name:
        raise Failed(os.uname().nodename)
    return t.host_name


@attack(70)
def cgroup_path(t):
    with open("/proc/self/cgroup") as file:
        if file.read() != t.cgroup or t.cgroup.count(":/\n") == t.cgroup.count("\n"):
            raise Failed("not the host's, or nothing to tell")
    return "seen"
