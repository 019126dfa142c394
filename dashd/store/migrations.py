"""Bringing a database forward: numbered SQL files, each applied once, in one transaction, never edited.

A database that this build cannot have written (a newer one, another file with the same number, a hole)
stops the start before any of its rows is touched. Before a migration changes a database that holds data, a
checked copy of it stands beside it as `<file>.before-NNNN`.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import apsw
import msgspec

from dashd import clock as clocks
from dashd.store import database
from dashd.wire import errors

_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_CREATE_TABLE: Final = """
CREATE TABLE migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT
"""


class SchemaRefused(errors.DashError):
    """This database does not fit this version of Dash."""

    category, code, exit_code = "unavailable", -32011, 69


class Migration(msgspec.Struct, frozen=True):
    """One file of `schema/sql/`."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def label(self) -> str:
        """As the file is called, without its ending."""
        return f"{self.number:04}_{self.name}"


def folder() -> Path:
    """Where the SQL files are: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parents[1] / "schema" / "sql"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "schema" / "sql"


def load(source: Path | None = None) -> list[Migration]:
    """The migrations of this build, in order. Raises SchemaRefused where the numbers are not 1, 2, 3, …"""
    found = [
        Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
        for entry in (source or folder()).iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)) or not found:
        names = ", ".join(migration.label for migration in found) or "none"
        raise SchemaRefused(
            f"the migrations of this installation are not numbered 1, 2, 3, … ({names})",
            hint="the installation is damaged; install Dash again",
        )
    return found


def migrate(
    db: apsw.Connection,
    path: Path,
    clock: clocks.Clock,
    *,
    known: list[Migration] | None = None,
    vfs: str | None = None,
) -> list[Migration]:
    """Apply what is missing, in order; what was applied is returned. Blocks on the disk.

    Raises SchemaRefused where the database is not one that this build can bring forward, or where a migration
    fails (which then has changed nothing); StoreFull and StoreBroken for the disk.
    """
    known = load() if known is None else known
    try:
        return _migrate(db, path, clock, known, vfs)
    except apsw.Error as error:
        raise database.refusal(error, "migrating", path) from error


def _migrate(
    db: apsw.Connection, path: Path, clock: clocks.Clock, known: list[Migration], vfs: str | None
) -> list[Migration]:
    applied = _applied(db, path)
    _compare(applied, known, path)
    missing = known[len(applied) :]
    for migration in missing:
        if applied:
            backup(db, backup_path(path, migration), vfs=vfs)
        _apply(db, path, migration, clock.now_ms())
    if missing:
        db.release_memory()  # pages of the schema's making, which nobody reads again
    return missing


def _applied(db: apsw.Connection, path: Path) -> list[tuple[int, str, str]]:
    """(number, name, checksum) of what the database has had, in order; none where it is empty."""
    if db.table_exists("main", "migration"):
        return list(db.execute("SELECT number, name, checksum FROM migration ORDER BY number"))
    if db.execute("SELECT count(*) FROM sqlite_schema").get:
        raise SchemaRefused(
            f"{path} is a database, but not one of Dash's", hint="give Dash another state folder"
        )
    return []


def _compare(applied: list[tuple[int, str, str]], known: list[Migration], path: Path) -> None:
    """Refuse where what was applied is not the beginning of what is known."""
    numbers = [number for number, _, _ in applied]
    if numbers != list(range(1, len(applied) + 1)):
        raise SchemaRefused(
            f"{path} has had the migrations {numbers}: some are missing between them",
            hint="restore a copy of the database; this one was changed by hand",
        )
    if len(applied) > len(known):
        number, name, _ = applied[len(known)]
        raise SchemaRefused(
            f"{path} was written by a newer Dash: it has had {number:04}_{name}, "
            f"this one knows migrations up to {known[-1].label}",
            hint=f"install the newer Dash again, or restore {path}.before-{number:04} "
            "(all that happened since then is lost)",
        )
    for (_, name, checksum), migration in zip(applied, known, strict=False):
        if (name, checksum) != (migration.name, migration.checksum):
            raise SchemaRefused(
                f"migration {migration.label} is not the one that {path} has had ({name}): "
                "the file was changed after it was applied",
                hint="install the version of Dash that wrote this database; a released one never changes",
            )


def _apply(db: apsw.Connection, path: Path, migration: Migration, now_ms: int) -> None:
    """One migration in one transaction, its row included."""
    # Outside the transaction, where it works: a migration that rebuilds a table must be able to drop the
    # old one (https://sqlite.org/lang_altertable.html, the twelve steps); references are checked below.
    db.execute("PRAGMA foreign_keys = OFF")
    try:
        db.execute("BEGIN IMMEDIATE")
        if migration.number == 1:
            db.execute(_CREATE_TABLE)
        db.execute(migration.sql, can_cache=False)  # each of its statements runs once in a life
        if not db.in_transaction:
            raise SchemaRefused(f"migration {migration.label} ends its own transaction")
        if broken := list(db.execute("PRAGMA foreign_key_check")):
            raise SchemaRefused(f"migration {migration.label} leaves {len(broken)} broken references")
        db.execute(
            "INSERT INTO migration (number, name, checksum, at_ms) VALUES (?, ?, ?, ?)",
            (migration.number, migration.name, migration.checksum, now_ms),
        )
        db.execute("COMMIT")
    except (apsw.SQLError, apsw.ConstraintError, apsw.MismatchError) as error:
        raise SchemaRefused(
            f"migration {migration.label} of {path} failed and changed nothing: {error}",
            hint="go back to the version of Dash that ran before, and report this",
        ) from error
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        database.enforce_foreign_keys(db)


def backup_path(path: Path, migration: Migration) -> Path:
    """Where the copy made before this migration stands."""
    return path.with_name(f"{path.name}.before-{migration.number:04}")


def backup(db: apsw.Connection, to: Path, *, vfs: str | None = None) -> None:
    """Copy the database to `to`: checked, on disk, one file, mode 0600; a half-made copy never has that name.

    Raises SchemaRefused where the copy is not sound, and Unavailable, StoreFull or StoreBroken for the disk.
    """
    partial = to.with_name(f"{to.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        database.make_private(partial)
        _copy(db, partial, vfs)
        _sync(partial)
        os.replace(partial, to)
        _sync(to.parent)
    except apsw.Error as error:
        raise database.refusal(error, "copying (before an upgrade)", to) from error
    except OSError as error:
        raise errors.Unavailable(f"copying the database to {to}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _copy(db: apsw.Connection, partial: Path, vfs: str | None) -> None:
    copy = apsw.Connection(str(partial), vfs=vfs)
    try:
        with copy.backup("main", db, "main") as running:
            running.step(-1)
        # The copy inherits the write-ahead mode; leave a single file that needs no companions.
        copy.execute("PRAGMA journal_mode = DELETE")
        found = [str(line) for (line,) in copy.execute("PRAGMA integrity_check(20)")]
    finally:
        copy.close(True)
    if found != ["ok"]:
        raise SchemaRefused(
            f"the copy of the database made before upgrading is damaged: {found[0]}",
            hint="the database itself may be damaged; check the disk",
        )


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
