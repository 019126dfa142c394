"""Attacks on files: what is outside the scope, and ways to get there from inside.

`targets.outside` is a folder of the operator's with one file for each attack that needs its own, named after
it; the scene compares each with what it was.
"""

import ctypes
import os
import stat
import threading
import time

from raw import Failed, attack, call, checked, first, libc, loot, other_processes, read

RENAME_EXCHANGE = 2
AT_FDCWD = -100
IN_OPEN = 0x20
RACE_S = 0.15


@attack(1)
def read_outside(t):
    return read(t.secret)


@attack(1)
def write_outside(t):
    with open(f"{t.outside}/write_outside", "w") as file:
        file.write("hit")
    return "written"


@attack(1)
def list_outside(t):
    return f"{len(os.listdir(t.outside))} names"


@attack(1)
def create_outside(t):
    os.close(os.open(f"{t.outside}/create_outside", os.O_CREAT | os.O_WRONLY))
    return "created"


@attack(1)
def unlink_outside(t):
    os.unlink(f"{t.outside}/unlink_outside")
    return "removed"


@attack(1)
def mkdir_outside(t):
    os.mkdir(f"{t.outside}/mkdir_outside")
    return "made"


@attack(1)
def sibling_workspace(t):
    return read(f"{t.sibling_scope}/notes")


@attack(2)
def symlink_read(t):
    os.symlink(t.secret, f"{t.scope}/symlink_read")
    return read(f"{t.scope}/symlink_read")


@attack(2)
def symlink_write(t):
    os.symlink(f"{t.outside}/symlink_write", f"{t.scope}/symlink_write")
    with open(f"{t.scope}/symlink_write", "w") as file:
        file.write("hit")
    return "written"


@attack(3)
def hardlink_in(t):
    os.link(f"{t.outside}/hardlink_in", f"{t.scope}/hardlink_in")
    return read(f"{t.scope}/hardlink_in")


@attack(4)
def hardlink_existing(t):
    with open(f"{t.scope}/hardlink_existing", "a") as file:
        file.write("hit")
    return "written"


@attack(5)
def rename_in(t):
    os.rename(f"{t.outside}/rename_in", f"{t.scope}/rename_in")
    return "taken"


@attack(5)
def rename_out(t):
    with open(f"{t.scope}/rename_out", "w") as file:
        file.write("planted")
    os.rename(f"{t.scope}/rename_out", f"{t.outside}/rename_out")
    return "planted"


@attack(6)
def truncate_outside(t):
    checked(libc.truncate(f"{t.outside}/truncate_outside".encode(), ctypes.c_long(0)))
    return "emptied"


@attack(7)
def chmod_outside(t):
    os.chmod(f"{t.outside}/chmod_outside", 0o777)
    return "opened to all"


@attack(8)
def utimes_outside(t):
    os.utime(f"{t.outside}/utimes_outside", (1, 1))
    return "dated 1970"


@attack(8)
def setxattr_outside(t):
    os.setxattr(f"{t.outside}/setxattr_outside", "user.hit", b"1")
    return "marked"


@attack(9)
def stat_outside(t):
    return f"{os.stat(t.secret).st_size} bytes"


@attack(10)
def inotify_outside(t):
    watcher = checked(libc.inotify_init1(0))
    checked(libc.inotify_add_watch(watcher, t.outside.encode(), IN_OPEN))
    return "watching"


@attack(11)
def proc_self_root(t):
    return read("/proc/self/root" + t.secret)


@attack(11)
def dot_dot(t):
    os.chdir(t.scope)
    return read("../" * 20 + t.secret[1:])


@attack(11)
def proc_pid_root(t):
    return first(lambda pid: read(f"/proc/{pid}/root{t.secret}"), other_processes())


@attack(11)
def proc_pid_cwd(t):
    name = os.path.basename(t.secret)
    return first(lambda pid: read(f"/proc/{pid}/cwd/{name}"), other_processes())


@attack(12)
def exchange_race(t):
    """A file and a symlink to the secret change places between two opens of the one name, and during them."""
    name, other = f"{t.scope}/race_a".encode(), f"{t.scope}/race_b".encode()
    with open(name, "w") as file:
        file.write("mine")
    os.symlink(t.secret, other)
    done = threading.Event()

    def exchange():
        call("renameat2", AT_FDCWD, name, AT_FDCWD, other, RENAME_EXCHANGE)

    def attempt(_):
        exchange()
        return read(name)

    def keep_exchanging():
        while not done.is_set():
            exchange()

    def opens():
        deadline = time.monotonic() + RACE_S
        while time.monotonic() < deadline:
            yield name

    try:
        return first(attempt, range(2))
    except (OSError, Failed):
        threading.Thread(target=keep_exchanging, daemon=True).start()
        return first(read, opens())
    finally:
        done.set()


@attack(13)
def open_by_handle(t):
    """A file by its handle, as a file server would; the handle may be guessed, here it is asked for."""
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint.from_buffer(handle).value = 128
    mount_id = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, t.secret.encode(), handle, ctypes.byref(mount_id), 0)
    folder = os.open(t.outside, os.O_RDONLY)
    return loot(os.read(call("open_by_handle_at", folder, handle, os.O_RDONLY), 4096))


@attack(14)
def append_bashrc(t):
    """The operator's shell start-up file, by its path, and wherever HOME says it is."""

    def append(home):
        with open(f"{home}/.bashrc", "a") as file:
            file.write("hit")
        return "appended"

    return first(append, [t.home, os.environ.get("HOME", t.home)])


@attack(15)
def git_hook(t):
    with open(f"{t.scope}/.git/hooks/post-checkout", "w") as file:
        file.write("#!/bin/sh\n")
    return "planted"


@attack(15)
def git_config(t):
    with open(f"{t.scope}/.git/config", "a") as file:
        file.write("[core]\n\tfsmonitor = ./evil\n")
    return "planted"


@attack(16)
def nested_git(t):
    os.makedirs(f"{t.scope}/vendor/.git/hooks")
    with open(f"{t.scope}/vendor/.git/config", "w") as file:
        file.write("[core]\n\tfsmonitor = ./evil\n")
    return "planted"


@attack(17)
def tmp_file(t):
    return read(t.tmp_file)


@attack(17)
def dev_shm_file(t):
    return read(t.shm_file)


@attack(19)
def mknod_block(t):
    os.mknod(f"{t.scope}/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    return "made"


@attack(19)
def raw_disk(t):
    names = sorted(name for name in os.listdir("/dev") if name[:2] in ("sd", "vd") or name[:4] == "nvme")
    return first(lambda name: os.open(f"/dev/{name}", os.O_RDONLY) and "open", names)


@attack(20)
def leaked_fd(t):
    """A file that the daemon left open over the exec: by its number, and by any other number."""

    def write(fd):
        if os.fstat(fd).st_ino != t.leaked_inode:
            raise Failed("another file")
        os.write(fd, b"hit")
        return f"fd {fd}"

    return first(write, range(3, 64))


@attack(20)
def leaked_folder(t):
    """The same with a folder, from which names lead on: to what is in it, and out of a mount namespace."""

    def look(fd):
        return loot(os.read(os.open("outside/secret", os.O_RDONLY, dir_fd=fd), 100))

    return first(look, range(3, 64))


@attack(57)
def cgroup_procs(t):
    paths = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"]
    return first(lambda path: os.open(path, os.O_WRONLY) and "open", paths)


@attack(57)
def core_pattern(t):
    os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)
    return "open"


@attack(73)
def write_readable(t):
    """What the agent is given to read, its own program included."""
    with open(f"{t.code}/write_readable", "w") as file:
        file.write("hit")
    return "written"


@attack(74)
def plant_symlink(t):
    """For whoever reads the tree afterwards, from outside."""
    os.symlink(t.secret, f"{t.scope}/plant_symlink")
    return "planted"


@attack(75)
def plant_fifo(t):
    """The same: who opens it waits for ever."""
    os.mkfifo(f"{t.scope}/plant_fifo")
    return "planted"


@attack(71)
def write_root(t):
    """A file in the root of the view: where it is memory, memory without a limit."""
    os.close(os.open("/dash-attack", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink("/dash-attack")
    return "made"
