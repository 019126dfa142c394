"""Attacks on the kernel's surface, on privilege and on what may be executed."""

import ctypes
import fcntl
import mmap
import os
import shutil
import signal
import struct
import subprocess
import termios
import time

from raw import X32_BIT, X86_64, Failed, attack, call, checked, child, libc

NEWNS, NEWUSER = 0x00020000, 0x10000000
MS_BIND, MS_REMOUNT = 4096, 32
UFFD_USER_MODE_ONLY = 1
LOADER = "/lib64/ld-linux-x86-64.so.2"
SETUID_PROGRAMS = ("/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/chsh", "/usr/bin/newgrp")


@attack(21)
def ld_so_exec(t):
    """A program without the right to be executed, run by the loader, which has it."""
    program = f"{t.scope}/no_exec"
    shutil.copyfile("/bin/true", program)
    os.chmod(program, 0o600)
    subprocess.run([LOADER, program], check=True, timeout=2)
    return "ran"


@attack(22)
def memfd_exec(t):
    fd = os.memfd_create("program", 0)
    with open("/bin/true", "rb") as file:
        os.write(fd, file.read())
    status = child(lambda: os.execve(fd, ["true"], {}))
    if status:
        raise Failed(f"exit {status}")
    return "ran"


@attack(47)
def unshare_user(t):
    call("unshare", NEWUSER)
    return "unshared"


@attack(47)
def clone_user(t):
    pid = call("clone", NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "cloned"


@attack(47)
def clone3_user(t):
    arguments = ctypes.create_string_buffer(struct.pack("8Q", NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
    pid = call("clone3", arguments, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "cloned"


def mount(source, target, kind, flags):
    checked(libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None))


@attack(48)
def user_mount(t):
    os.mkdir(f"{t.scope}/mounted")
    call("unshare", NEWUSER | NEWNS)
    mount("none", f"{t.scope}/mounted", "tmpfs", 0)
    return "mounted"


@attack(49)
def bind_mount(t):
    mount("/usr", t.scope, "none", MS_BIND)
    return "mounted"


@attack(49)
def remount_writable(t):
    mount("none", "/usr", "none", MS_REMOUNT | MS_BIND)
    return "writable"


@attack(49)
def clone_mount(t):
    call("open_tree", -100, b"/usr", 1)
    return "cloned"


@attack(49)
def change_root(t):
    call("chroot", t.scope.encode())
    return "changed"


@attack(50)
def io_uring(t):
    call("io_uring_setup", 4, ctypes.create_string_buffer(120))
    return "open"


@attack(51)
def userfaultfd(t):
    call("userfaultfd", UFFD_USER_MODE_ONLY)
    return "open"


@attack(52)
def bpf(t):
    array = ctypes.create_string_buffer(struct.pack("5I", 2, 4, 4, 1, 0), 72)
    call("bpf", 0, array, 72)
    return "map made"


@attack(52)
def perf_event(t):
    """The lightest event there is: a software clock of one's own process, the kernel left out."""
    attributes = ctypes.create_string_buffer(struct.pack("2I5Q", 1, 64, 0, 0, 0, 0, 1 << 5 | 1 << 6), 64)
    call("perf_event_open", attributes, 0, -1, -1, 0)
    return "open"


@attack(52)
def fanotify(t):
    call("fanotify_init", 0x200, 0)  # FAN_REPORT_FID: the kind that needs no privilege
    return "open"


@attack(54)
def setuid_root(t):
    """Starts a set-uid program and looks who it is."""
    for program in SETUID_PROGRAMS:
        if os.path.exists(program) and os.stat(program).st_mode & 0o4000:
            return effective_root(program)
    raise Failed("no set-uid program here")


def effective_root(program):
    """Started and not yet spoken to, it waits for input; killing it is allowed, the real uid is ours.

    exec closes descriptors before it changes the uid, so one look after the start may be too early.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    deadline, uid, state = time.monotonic() + 1, "", "R"
    with subprocess.Popen([program], **pipes) as running:
        try:
            while uid != "0" and state not in "SZ" and time.monotonic() < deadline:
                with open(f"/proc/{running.pid}/status") as file:
                    status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
                uid, state = status["Uid"].split()[1], status["State"][0]
        finally:
            running.kill()
    if uid != "0":
        raise Failed(f"{program} is {uid}")
    return f"{program} is root"


@attack(55)
def int_80(t):
    """getpid by its 32-bit number: a filter that looks at 64-bit numbers alone sees something else."""
    code = b"\xb8\x14\x00\x00\x00" + b"\xcd\x80" + b"\xc3"  # mov eax, 20; int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    if function() != os.getpid():
        raise Failed("no 32-bit calls here")
    return "answered"


@attack(56)
def x32(t):
    call(X32_BIT | X86_64["getpid"])
    return "answered"


@attack(58)
def tiocsti(t):
    """Types into the terminal that the launch was given as its stdin."""
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
    return "typed"


@attack(72)
def kernel_log(t):
    buffer = ctypes.create_string_buffer(64)
    call("syslog", 3, buffer, 64)
    return "read"
