"""The fork server: a warm, small process that dashd starts once and that forks one holder per request.

Run as `python -I -S __main__.py LAUNCHES [CRASH_POINT]` with one SOCK_SEQPACKET socket on fd 0: one JSON
request a packet, its file descriptors beside it, one JSON answer each. It holds a flock on
`LAUNCHES/forkserver.lock` for life (pid and start time inside), ends at EOF, waits in one place, and
nothing a request contains ends it. Crash points: forkserver.before_lock, forkserver.after_lock (argument);
forkserver.before_folder, forkserver.after_folder, forkserver.after_bind, forkserver.after_fork,
forkserver.after_answer (request field).
"""

from __future__ import annotations

import _socket as socket
import contextlib
import fcntl
import gc
import json
import os
import signal
import struct
import sys
import time

from dashd.jail import holder, processes
from dashd.jail.holder_folder import Locked
from dashd.jail.opening import BadFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PACKET_BYTES_MAX = 65536  # a larger request travels in a memfd, named by `{"body": bytes}`
BODY_BYTES_MAX = 8 << 20
FDS_MAX = 3  # in this order, each if there is one: the body, the daemon's end of a link, the agent's listener
LAUNCH_ID_CHARS_MAX = 100
DOOR_BACKLOG = 16
JAIL_FIELDS = frozenset({"bwrap", "options", "binds", "finish", "stage", "policy", "inherit_env"})
LOCK_WAIT_S_MAX = 1.0  # a holder just forked by a killed fork server still has its copy for an instant
_is_holder = False
_ID_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Refused(Exception):
    """A request that is answered with an error."""


def take_lock(launches: int) -> int:
    """Takes the lock of this launches folder and writes who has it; returns the fd that holds it."""
    fd = os.open(
        "forkserver.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=launches
    )
    give_up_at = time.monotonic() + LOCK_WAIT_S_MAX
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise Refused("another fork server holds forkserver.lock") from None
            time.sleep(0.01)
    note = {"pid": os.getpid(), "start_time": processes.start_time(os.getpid())}
    os.pwrite(fd, json.dumps(note).encode().ljust(100) + b"\n", 0)
    return fd


def receive(control: socket.socket) -> tuple[bytes, list[int]] | None:
    """The next request and its fds; None at EOF."""
    room = socket.CMSG_SPACE(FDS_MAX * struct.calcsize("i"))
    data, ancillary, flags, _ = control.recvmsg(PACKET_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC)
    fds = [fd for _, _, rights in ancillary for (fd,) in struct.iter_unpack("i", rights)]
    if not data and not fds:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        return b"", fds  # too large: not JSON, so it is refused
    return data, fds


def decode(data: bytes, fds: list[int]) -> tuple[dict[str, Any], list[int]]:
    """The request and the fds that are for the holder. Raises Refused."""
    try:
        request = json.loads(data)
        if isinstance(request, dict) and isinstance(request.get("body"), int) and fds:
            body_bytes = request["body"]
            if not 0 < body_bytes <= BODY_BYTES_MAX:
                raise Refused(f"a request of {body_bytes} bytes; at most {BODY_BYTES_MAX}")
            request, fds = json.loads(os.pread(fds[0], body_bytes, 0)), fds[1:]
    except (ValueError, RecursionError, OSError) as error:
        raise Refused(f"not a request: {error}") from None
    if not isinstance(request, dict):
        raise Refused("not a request: a JSON object is expected")
    return request, fds


def check_spec(request: dict[str, Any]) -> dict[str, Any]:
    """The launch with every field checked, so that the holder need not. Raises Refused naming the field."""
    launch, argv, env = request.get("launch"), request.get("argv"), request.get("env")
    limit, crash_at, epoch = (request.get(field) for field in ("output_bytes_max", "crash_at", "epoch"))
    lock = request.get("session_lock")
    checks = {
        "launch": isinstance(launch, str) and is_launch_id(launch),
        "argv": isinstance(argv, list) and bool(argv) and all(map(_is_text, argv)) and argv[0] != "",
        "env": isinstance(env, dict)
        and all(k and _is_text(k) and "=" not in k and _is_text(v) for k, v in env.items()),
        "cwd": _is_text(request.get("cwd")) and request.get("cwd") != "",
        "lease_s": _is_seconds(request.get("lease_s")),
        "grace_s": _is_seconds(request.get("grace_s")),
        "stdin": isinstance(request.get("stdin"), bool),
        "output_bytes_max": limit is None or (type(limit) is int and limit >= 0),
        "session_lock": lock is None or (_is_text(lock) and lock.startswith("/")),
        "crash_at": crash_at is None or _is_text(crash_at),
        "epoch": epoch is None or (type(epoch) is int and epoch >= 0),
        "jail": request.get("jail") is None or _is_jail(request["jail"]),
    }
    wrong = [field for field, right in checks.items() if not right]
    if wrong:
        raise Refused(f"missing or invalid: {', '.join(wrong)}")
    return {field: request.get(field) for field in checks}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_jail(value: object) -> bool:
    """Its own parts are checked by being used, here and by the stage, which says what it lacks."""
    return isinstance(value, dict) and value.keys() >= JAIL_FIELDS


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9


def is_launch_id(launch: str) -> bool:
    """Whether the id can name a folder."""
    return 0 < len(launch) <= LAUNCH_ID_CHARS_MAX and _ID_CHARS.issuperset(launch) and launch[0] not in ".-"


def open_door(folder: int) -> socket.socket:
    """Binds and listens on `h.sock`, mode 0600, in a directory fd: its path may be longer than a socket's."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        door.bind(f"/proc/self/fd/{folder}/h.sock")
    except OSError:
        door.close()
        raise
    finally:
        os.umask(old)
    door.listen(DOOR_BACKLOG)
    return door


def fork_holder(spec: dict[str, Any], launches: int, fds: list[int], foreign: list[int]) -> int:
    """Makes the folder and its door and forks the holder; returns its pid. OSError if the world refuses.

    `fds` are for the holder: a link if the request has an epoch, then perhaps a listener. `foreign` it must
    not keep.
    """
    link, listener = [*([] if spec["epoch"] is not None else [None]), *fds, None, None][:2]
    if link is None and spec["epoch"] is not None:
        raise Refused("an epoch needs the socket that it adopts with")
    holder.crash("forkserver.before_folder", spec["crash_at"])
    with contextlib.suppress(FileExistsError):  # recovery's tombstone, perhaps: the holder will see it
        os.mkdir(spec["launch"], 0o700, dir_fd=launches)
    holder.crash("forkserver.after_folder", spec["crash_at"])
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    folder = os.open(spec["launch"], flags, dir_fd=launches)
    try:
        with contextlib.closing(open_door(folder)) as door:
            holder.crash("forkserver.after_bind", spec["crash_at"])
            life = holder.Holder(spec, folder, door, link, listener)
            try:
                life.prepare()
                pid = os.fork()
                if pid == 0:
                    become_holder(life, foreign)
            except OSError:
                life.birth.leave()
                raise
            finally:
                life.close()
            holder.crash("forkserver.after_fork", spec["crash_at"])
            return pid
    finally:
        os.close(folder)


def become_holder(life: holder.Holder, foreign: list[int]) -> NoReturn:
    """In the forked child: lets go of what is the fork server's, and lives the holder's life."""
    global _is_holder
    try:
        _is_holder = True
        os.setsid()
        for target in range(3):
            os.dup2(life.null, target)
        for fd in foreign:
            os.close(fd)
        life.crash("holder.born")
        life.run()
        life.birth.leave()
    except BaseException:
        log_failure(life.folder)
        raise
    finally:
        os._exit(0)


def log_failure(folder: int) -> None:
    """Writes the current exception to `holder.log`: a holder has nobody to tell of a fault of ours."""
    import traceback  # too large to be in every fork

    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with open(os.open("holder.log", flags, 0o600, dir_fd=folder), "a", encoding="utf-8") as log:
        traceback.print_exc(file=log)


def on_signal(number: int, _frame: object) -> None:
    """The fork server's only handler, and inert in a holder: handlers set here need not be set in each fork.

    Nothing is ignored, because a program would inherit that through exec, and a caught signal becomes
    default.
    """
    if _is_holder:
        return
    if number == signal.SIGTERM:
        sys.exit(0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def serve(control: socket.socket, launches: int, lock: int) -> None:
    """Answers requests until EOF."""
    boot_id = processes.boot_id()
    while (received := receive(control)) is not None:
        data, fds = received
        answer: dict[str, Any] = {"launch": None}
        crash_at = None
        try:
            request, for_holder = decode(data, fds)
            answer["launch"] = request.get("launch")
            spec = check_spec(request)
            crash_at = spec["crash_at"]
            foreign = [launches, lock, *(fd for fd in fds if fd not in for_holder)]
            answer["holder"] = fork_holder(spec | {"boot_id": boot_id}, launches, for_holder, foreign)
        except Refused as error:
            answer["error"] = str(error)
        except OSError as error:
            spoken = isinstance(error, BadFolder | Locked)
            where = "" if spoken else f": starting a holder in launches/{answer['launch']}"
            answer["error"] = f"{error.strerror}{where}"
        finally:
            for fd in fds:
                os.close(fd)
        reply = json.dumps(answer).encode()
        control.send(
            reply if len(reply) < PACKET_BYTES_MAX else b'{"launch": null, "error": "not a request"}'
        )
        holder.crash("forkserver.after_answer", crash_at)


def main() -> None:
    """Takes fd 0 as the control socket, the lock, and serves; silent when dashd is gone."""
    launches = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    crash_at = sys.argv[2] if len(sys.argv) > 2 else None
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:  # by nohup, by a shell's `&`: not the agents' affair
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, on_signal)
    control = socket.socket(fileno=0)
    with contextlib.suppress(ConnectionError):
        try:
            holder.crash("forkserver.before_lock", crash_at)
            lock = take_lock(launches)
        except Refused as error:
            control.send(json.dumps({"ready": None, "error": str(error)}).encode())
            return
        holder.crash("forkserver.after_lock", crash_at)
        control.send(json.dumps({"ready": os.getpid()}).encode())
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection in a holder would copy every page it looks at; neither of us makes cycles
        serve(control, launches, lock)
