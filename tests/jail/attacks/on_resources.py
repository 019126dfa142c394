"""Bombs. Each is as large as the launch's limit needs to notice it, and is taken down again by itself."""

import fcntl
import mmap
import os
import resource
import signal
import socket

from raw import Failed, attack, sleeper

PAGE = 4096
MIB = 1 << 20


@attack(60, 5.0, heavy=True)
def fork_bomb(t):
    """Four times the processes that are allowed, none of them doing anything."""
    wanted, made = 4 * t.limits["processes"], []
    try:
        while len(made) < wanted:
            made.append(sleeper())
    except BlockingIOError as error:
        raise Failed(f"{len(made)} of {wanted}: {error.strerror}") from error
    finally:
        for pid in made:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return f"{len(made)} at once"


def touch(length, kind):
    """Maps that much and makes every page real."""
    with mmap.mmap(-1, length, flags=mmap.MAP_ANONYMOUS | kind) as memory:
        for offset in range(0, length, PAGE):
            memory[offset] = 1


@attack(61, 5.0, heavy=True)
def memory_shared(t):
    touch(2 * t.limits["memory"], mmap.MAP_SHARED)
    return f"{2 * t.limits['memory'] // MIB} MiB"


@attack(61, 5.0, heavy=True)
def memory_private(t):
    touch(2 * t.limits["memory"], mmap.MAP_PRIVATE)
    return f"{2 * t.limits['memory'] // MIB} MiB"


@attack(62, 8.0, heavy=True)
def memory_many(t):
    """Four processes, each within the limit of one, at the same time."""
    length, made = t.limits["memory"] * 3 // 4, []
    full_reader, full = os.pipe()
    try:
        for _ in range(4):
            made.append(os.fork())
            if made[-1] == 0:
                signal.alarm(8)
                with mmap.mmap(-1, length, flags=mmap.MAP_ANONYMOUS | mmap.MAP_PRIVATE) as memory:
                    for offset in range(0, length, PAGE):
                        memory[offset] = 1
                    os.write(full, b"x")
                    signal.pause()
        os.close(full)
        filled = sum(len(os.read(full_reader, 1)) for _ in made)
    finally:
        for pid in made:
            os.kill(pid, signal.SIGKILL)
    if filled < 4:
        raise Failed(f"{filled} of 4")
    return f"{4 * length // MIB} MiB"


@attack(63)
def big_file(t):
    """One byte behind the largest file that is allowed: the length counts, not the blocks."""
    path = f"{t.scope}/big"
    try:
        with open(path, "wb") as file:
            file.seek(t.limits["file_bytes"])
            file.write(b"x")
    finally:
        os.unlink(path)
    return "written"


def fill(folder, length, piece):
    """Many files, each within the limit of one."""
    made = []
    try:
        for number in range(-(-length // piece)):
            made.append(f"{folder}/fill-{os.getpid()}-{number}")
            with open(made[-1], "wb") as file:
                file.write(bytes(piece))
    finally:
        for path in made:
            os.unlink(path)
    return f"{length // MIB} MiB"


@attack(64)
def many_files(t):
    return fill(t.scope, 2 * t.limits["disk_bytes"], t.limits["file_bytes"] // 2)


@attack(65)
def fill_tmp(t):
    folder = os.environ.get("TMPDIR", "/tmp")
    return fill(folder, t.limits["tmp_bytes"] * 5 // 4, t.limits["file_bytes"] // 2)


@attack(66)
def many_fds(t):
    """Twice the open files that are allowed, after raising the soft limit as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = []
    try:
        while len(made) < 2 * t.limits["files"]:
            made.append(os.dup(2))
    except OSError as error:
        raise Failed(f"{len(made)}: {error.strerror}") from error
    return f"{len(made)} open"


@attack(76)
def larger_buffers(t):
    """Of a socket: kernel memory that is in no process's account."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            before = ours.getsockopt(socket.SOL_SOCKET, option)
            ours.setsockopt(socket.SOL_SOCKET, option, before)  # the kernel doubles what it is told
            if ours.getsockopt(socket.SOL_SOCKET, option) <= before:
                raise Failed(f"still {before}")
    return "larger"


@attack(77)
def larger_pipe(t):
    reader, writer = os.pipe()
    try:
        size = fcntl.fcntl(writer, 1032)  # F_GETPIPE_SZ
        return f"{fcntl.fcntl(writer, 1031, 2 * size)} bytes"
    finally:
        os.close(reader)
        os.close(writer)
