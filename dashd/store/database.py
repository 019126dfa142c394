"""Opening a connection the one way Dash opens connections: durable, strict, private.

Each pragma stands in a function of its own that says why. Knows nothing of Dash's tables; who calls
`connect` closes the connection.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import apsw

from dashd.wire import errors

SQLITE_VERSION_MIN: Final = (3, 37, 0)
"""STRICT tables came with this version (https://sqlite.org/stricttables.html)."""
BUSY_MS_MAX: Final = 5_000
CHECKPOINT_PAGES: Final = 1000
WAL_BYTES_KEPT_MAX: Final = 16 * 1024 * 1024
STATEMENTS_CACHED_MAX: Final = 256


def connect(path: Path, *, readonly: bool = False, vfs: str | None = None) -> apsw.Connection:
    """A connection to the database at `path`, which is created (mode 0600) unless `readonly`.

    Blocks on the disk: call it in a thread. Raises Unavailable with path and verb where the file cannot be
    opened, StoreFull, and StoreBroken where it is no sound SQLite database.
    """
    require_strict_tables()
    if not readonly:
        make_private(path)
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    try:
        connection = apsw.Connection(
            str(path), flags=flags, vfs=vfs, statementcachesize=STATEMENTS_CACHED_MAX
        )
    except apsw.Error as error:
        raise refusal(error, "opening", path) from error
    try:
        configure(connection, readonly=readonly)
    except apsw.Error as error:
        connection.close(True)
        raise refusal(error, "opening", path) from error
    return connection


def configure(connection: apsw.Connection, *, readonly: bool) -> None:
    """Apply every setting below; the first one that touches the file comes after the busy timeout."""
    wait_for_locks(connection)
    distrust_schema(connection)
    keep_temporary_data_in_memory(connection)
    if readonly:
        refuse_writes(connection)
        return
    write_ahead(connection)
    sync_every_commit(connection)
    enforce_foreign_keys(connection)


def wait_for_locks(connection: apsw.Connection) -> None:
    """dashd is the only writer, but a person may have the file open in a shell: wait a while, then say so."""
    connection.set_busy_timeout(BUSY_MS_MAX)


def distrust_schema(connection: apsw.Connection) -> None:
    """A doctored file must not run code through views, triggers or defaults, nor typos pass as strings."""
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)


def keep_temporary_data_in_memory(connection: apsw.Connection) -> None:
    """A sort must not fail because some temporary folder is full, nor leave rows outside our 0700 folder."""
    connection.execute("PRAGMA temp_store = MEMORY")


def refuse_writes(connection: apsw.Connection) -> None:
    """A reader that writes is a bug; SQLite then says so at the statement."""
    connection.execute("PRAGMA query_only = ON")


def write_ahead(connection: apsw.Connection) -> None:
    """WAL: readers never wait for the writer, and a commit is one append and one fsync.

    With the checkpoint at 1000 pages the log is reused in place, and overwriting costs less than growing
    (measured); one that has grown under a long reader is cut back when it is next reset.
    """
    mode = connection.execute("PRAGMA journal_mode = WAL").get
    if mode != "wal":
        raise apsw.CantOpenError(f"this file system offers no write-ahead log (journal mode: {mode})")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT_MAX}")


def sync_every_commit(connection: apsw.Connection) -> None:
    """FULL: what was acknowledged survives power loss; NORMAL loses everything since the last checkpoint.

    On macOS fsync alone leaves the data in the drive's cache, which is what `fullfsync` is for.
    """
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")


def enforce_foreign_keys(connection: apsw.Connection) -> None:
    """SQLite checks references only where each connection asks for it."""
    connection.execute("PRAGMA foreign_keys = ON")


def make_private(path: Path) -> None:
    """Create the file with mode 0600, or take other people's rights from one that exists.

    SQLite gives the -wal and -shm files the mode of the database.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.Unavailable(
            f"opening the database {path}: {error.strerror}",
            hint=f"{path.parent} must be an existing folder that uid {os.geteuid()} may write to",
        ) from error
    try:
        os.fchmod(fd, 0o600)
    except OSError as error:
        raise errors.Unavailable(
            f"setting mode 0600 on the database {path}: {error.strerror}",
            hint=f"it must belong to uid {os.geteuid()}",
        ) from error
    finally:
        os.close(fd)


def require_strict_tables() -> None:
    """Refuse a SQLite that would read `STRICT` as a syntax error."""
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if found < SQLITE_VERSION_MIN:
        least = ".".join(map(str, SQLITE_VERSION_MIN))
        raise errors.Unavailable(
            f"SQLite {apsw.sqlite_lib_version()} is too old: Dash needs {least}",
            hint="install the apsw wheel, which brings its own SQLite",
        )


def version() -> str:
    """Which SQLite this is."""
    return f"SQLite {apsw.sqlite_lib_version()}"


def quick_check(connection: apsw.Connection) -> list[str]:
    """What SQLite finds wrong with the file, at most 20 lines; empty where it is sound.

    Reads the whole file, and keeps none of it: run it on a reader. Raises what `Reader.read` raises, damage
    excepted.
    """
    try:
        found = [str(line) for (line,) in connection.execute("PRAGMA quick_check(20)")]
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return [str(error)]
    finally:
        connection.release_memory()
    return [] if found == ["ok"] else found


def check_file(path: Path) -> list[str]:
    """`quick_check` over a read-only connection of its own, for whoever has no store. Raises DashError."""
    connection = connect(path, readonly=True)
    try:
        return quick_check(connection)
    except apsw.Error as error:
        raise refusal(error, "reading", path) from error
    finally:
        connection.close(True)


def refusal(error: apsw.Error, verb: str, path: Path | str) -> errors.DashError:
    """The DashError that stands for an error of SQLite: whose fault it is, with verb and path."""
    message = f"{verb} the database {path}: {error}"
    if is_disk_full(error):
        return errors.StoreFull(message, hint="free some space on that disk; nothing was changed")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return errors.Unavailable(message, hint="another program holds it locked; close that program")
    if isinstance(error, apsw.CantOpenError | apsw.PermissionsError | apsw.AuthError):
        return errors.Unavailable(message, hint=f"uid {os.geteuid()} must be able to read and write it")
    return errors.StoreBroken(
        message, hint="check the disk; copies made before upgrades stand beside the file as *.before-NNNN"
    )


def is_disk_full(error: apsw.Error) -> bool:
    """True where nothing but space is missing and the failed write has been rolled back.

    The log's index grows by its own call, for which SQLite reports a full disk as an I/O error.
    """
    shm_full = apsw.SQLITE_IOERR_SHMSIZE
    return isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) == shm_full


def close(connection: apsw.Connection, *, checkpoint: bool) -> None:
    """Close for good, first moving the log into the database, unless its state is in doubt.

    A checkpoint that fails loses nothing: the log stays, and the next start reads it.
    """
    if checkpoint:
        with contextlib.suppress(apsw.Error):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    else:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    with contextlib.suppress(apsw.Error):
        connection.close(True)
