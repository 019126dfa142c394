"""Takes the socket over, accepts peers, and lets in only those who may.

The folder decides who can reach the socket (ours, mode 0700, checked through its descriptor, never through
its name), the lock in it decides which dashd serves (never a try to connect), and the peer's uid is checked
again by the kernel's word. What is not ours is not removed.
"""

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from dashd.service import core as service_core
from dashd.wire import envelope, errors, paths, tenant

from . import connection as connection_
from . import dispatch as dispatch_

log = logging.getLogger(__name__)

LOCK_NAME: Final = "lock"
CONNECTIONS_MAX: Final = 512
BACKLOG_MAX: Final = 512
ACCEPTED_AT_ONCE_MAX: Final = 64
SCARCITY_PAUSE_S: Final = 0.1
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@contextlib.contextmanager
def open_listener(path: Path) -> Iterator[socket.socket]:
    """The listening, non-blocking socket at `path`; on leaving it is closed and its file removed.

    Whoever connects from now on waits in the backlog until `serve`. Raises Conflict where another dashd
    has the folder (names its pid), Forbidden where the folder is not safe, InvalidParams where the path is
    too long; each says what to do.
    """
    _check_length(path)
    with contextlib.ExitStack() as stack:
        folder = _open_folder(path.parent)
        stack.callback(os.close, folder)
        stack.enter_context(_locked(folder, path.parent))
        _remove_stale(folder, path)
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        _bind(sock, folder, path)
        ours = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_ino
        stack.callback(_remove_own, folder, path.name, ours)
        sock.listen(BACKLOG_MAX)
        sock.setblocking(False)
        yield sock


def _check_length(path: Path) -> None:
    if fault := paths.too_long(os.fspath(path)):
        raise errors.InvalidParams(fault[0], hint=fault[1])


def _open_folder(folder: Path) -> int:
    """A descriptor of the folder, made if need be and proved to be ours alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (NotADirectoryError, FileExistsError) as error:
        raise errors.Forbidden(
            f"{folder} is not a folder of its own (a link or a file).",
            hint="Remove it, or set DASH_SOCKET to a path in a folder of your own.",
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise errors.Forbidden(
                f"{folder} is a link.", hint="Set DASH_SOCKET to the real path."
            ) from error
        raise _failed("Opening the folder", folder, error) from error
    found = os.fstat(descriptor)
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == os.geteuid() and mode == 0o700:
        return descriptor
    os.close(descriptor)
    if found.st_uid != os.geteuid():
        raise errors.Forbidden(
            f"{folder} belongs to uid {found.st_uid}, and dashd runs as uid {os.geteuid()}.",
            hint="Set DASH_SOCKET to a path in a folder of your own.",
        )
    raise errors.Forbidden(
        f"{folder} has mode {mode:04o}; it must be 0700, so that nobody else can reach the socket.",
        hint=f"If it is for dashd alone, run `chmod 700 {folder}`; else set DASH_SOCKET to another path.",
    )


@contextlib.contextmanager
def _locked(folder: int, name: Path) -> Iterator[None]:
    """The lock on the folder, held until the end; the kernel frees it however we die."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(LOCK_NAME, flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise _failed("Opening", name / LOCK_NAME, error) from error
    try:
        if not tenant.take(descriptor):
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise errors.Conflict(
                f"Another dashd (pid {holder}) is serving in {name}.",
                hint="`dashctl status` asks it, `dashctl down` ends it; or set another DASH_STATE_DIR.",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _remove_stale(folder: int, path: Path) -> None:
    """We hold the lock, so a socket that is there has no dashd behind it."""
    try:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise errors.Conflict(
            f"{path} is not a socket, so it is not removed.", hint="Move it away, or set DASH_SOCKET."
        )
    os.unlink(path.name, dir_fd=folder)


def _bind(sock: socket.socket, folder: int, path: Path) -> None:
    """Bind inside the very folder that was checked, whatever its name points to by now."""
    through = Path(f"/proc/self/fd/{folder}")
    before = os.umask(0o177)
    try:
        sock.bind(os.fspath((through if through.exists() else path.parent) / path.name))
    except OSError as error:
        raise _failed("Making the socket", path, error) from error
    finally:
        os.umask(before)


def _failed(verb: str, path: Path, error: OSError) -> errors.Unavailable:
    return errors.Unavailable(
        f"{verb} {path} failed: {error.strerror}.",
        hint="Set DASH_SOCKET or XDG_RUNTIME_DIR to a place that this user can write.",
    )


def _remove_own(folder: int, name: str, inode: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == inode:
            os.unlink(name, dir_fd=folder)


class _Door:
    """The peers that are being served."""

    def __init__(
        self, dispatch: dispatch_.Dispatch, limits: connection_.PeerLimits, connections_max: int
    ) -> None:
        self._dispatch = dispatch
        self._limits = limits
        self._connections_max = connections_max
        self._open: set[connection_.Connection] = set()

    def admit(self, sock: socket.socket) -> connection_.Connection | None:
        """The connection to run, or None for a peer that has been told why not."""
        sock.setblocking(False)
        try:
            uid = peer_uid(sock)
        except OSError:  # it has left already, and the system forgets who it was
            sock.close()
            return None
        # Root is let in: it could read our memory anyway, and `sudo dashctl` is how a root install is run.
        if uid not in (os.geteuid(), 0):
            _turn_away(sock, errors.Forbidden(f"This dashd serves uid {os.geteuid()}, not uid {uid}."))
            log.warning("refused a connection of uid %d", uid)
            return None
        if len(self._open) >= self._connections_max:
            _turn_away(
                sock,
                errors.RateLimited(
                    f"dashd has {len(self._open)} connections open already.",
                    hint="Close some, or use one connection for several calls.",
                ),
            )
            return None
        caller = service_core.Caller("operator", uid)
        connection = connection_.Connection(sock, self._dispatch, caller, self._limits)
        self._open.add(connection)
        return connection

    async def run(self, connection: connection_.Connection) -> None:
        try:
            await connection.run()
        finally:
            self._open.discard(connection)

    def close_soon(self) -> None:
        for connection in self._open:
            connection.close_soon()


async def serve(
    listener: socket.socket,
    dispatch: dispatch_.Dispatch,
    *,
    connections: trio.Nursery,
    limits: connection_.PeerLimits = connection_.DEFAULTS,
    connections_max: int = CONNECTIONS_MAX,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept peers until cancelled; each is served in `connections`, which outlives this.

    On cancel, idle connections end, the others when their calls in flight have been answered. The owner of
    `connections` bounds that: `connections.cancel_scope.deadline = trio.current_time() + grace_s`.
    """
    door = _Door(dispatch, limits, connections_max)
    scarce = False
    task_status.started()
    try:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                _accept_waiting(listener, door, connections)
                scarce = False
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                if not scarce:
                    log.warning("cannot accept connections for now: %s", error.strerror)
                scarce = True
                await trio.sleep(SCARCITY_PAUSE_S)
    finally:
        door.close_soon()


def _accept_waiting(listener: socket.socket, door: _Door, connections: trio.Nursery) -> None:
    for _ in range(ACCEPTED_AT_ONCE_MAX):
        try:
            sock, _address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection = door.admit(sock)
        if connection is not None:
            connections.start_soon(door.run, connection)


def peer_uid(sock: socket.socket) -> int:
    """Who is at the other end, by the kernel's word (unix(7) SO_PEERCRED; LOCAL_PEERCRED on macOS)."""
    if sys.platform == "darwin":
        _version, uid = struct.unpack("2I", sock.getsockopt(0, 1, 76)[:8])
    else:
        _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _turn_away(sock: socket.socket, error: errors.DashError) -> None:
    with contextlib.suppress(OSError):
        sock.send(envelope.encode_error(None, error) + b"\n")
    sock.close()
