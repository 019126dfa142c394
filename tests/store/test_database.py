"""Connections are durable, strict and private, and what cannot be opened says which file and why."""

import os
import stat
from pathlib import Path

import apsw
import pytest

from dashd.store import database
from dashd.wire import errors
from tests.fakes.disk import Disk, Fault


def test_a_writer_is_durable_and_strict(path: Path) -> None:
    db = database.connect(path)
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "wal_autocheckpoint": 1000,
        "trusted_schema": 0,
        "temp_store": 2,
        "fullfsync": 1,
    }
    assert {name: db.pragma(name) for name in wanted} == wanted
    with pytest.raises(apsw.SQLError, match="no such column"):
        db.execute('SELECT "a typo"')
    db.execute("CREATE TABLE t (n INTEGER) STRICT")
    with pytest.raises(apsw.ConstraintError):
        db.execute("INSERT INTO t VALUES ('text')")
    db.close()


def test_a_reader_sees_but_cannot_write(path: Path) -> None:
    db = database.connect(path)
    db.execute("CREATE TABLE t (n INTEGER) STRICT; INSERT INTO t VALUES (7)")
    reader = database.connect(path, readonly=True)
    assert reader.execute("SELECT n FROM t").get == 7
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("INSERT INTO t VALUES (8)")
    reader.close()
    db.close()


def test_all_files_are_private_whatever_the_umask(path: Path) -> None:
    path.touch(0o644)
    before = os.umask(0)
    try:
        db = database.connect(path)
        db.execute("CREATE TABLE t (n INTEGER) STRICT")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        db.close()
    finally:
        os.umask(before)
    assert modes == {"dash.db": 0o600, "dash.db-wal": 0o600, "dash.db-shm": 0o600}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "dash.db"
    with pytest.raises(
        errors.Unavailable, match=r"opening the database .*/nowhere/dash.db: No such file"
    ) as e:
        database.connect(path)
    assert str(path.parent) in e.value.hint


def test_a_folder_in_its_place_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(errors.Unavailable, match=r"dash.db: Is a directory"):
        database.connect(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(errors.Unavailable, match="Permission denied"):
        database.connect(tmp_path / "dash.db")


def test_a_reader_does_not_create_a_database(path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="unable to open database file"):
        database.connect(path, readonly=True)
    assert not path.exists()


def test_another_kind_of_file_is_refused_and_left_as_it_was(path: Path) -> None:
    path.write_bytes(b"these are somebody's notes\n" * 100)
    with pytest.raises(errors.StoreBroken, match="file is not a database"):
        database.connect(path)
    assert path.read_bytes() == b"these are somebody's notes\n" * 100


def test_a_full_disk_while_creating_is_said(path: Path, disk: Disk) -> None:
    disk.fault = Fault("db", "write", "full")
    with pytest.raises(errors.StoreFull, match="opening the database"):
        database.connect(path, vfs=disk.name)


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.36.9")
    with pytest.raises(errors.Unavailable, match=r"3\.36\.9 is too old: Dash needs 3\.37\.0"):
        database.connect(path)


@pytest.mark.parametrize("page", [5, 20], ids=["of the table", "of the index"])
def test_quick_check_finds_damage(path: Path, page: int) -> None:
    db = database.connect(path)
    db.execute(
        "CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT) STRICT; CREATE INDEX i ON t (body);"
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500) "
        "INSERT INTO t SELECT n, hex(randomblob(50)) FROM c"
    )
    assert database.quick_check(db) == []
    database.close(db, checkpoint=True)
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(b"\x00" * 4096)
    db = database.connect(path)
    assert database.quick_check(db) != []
    db.close()


def test_quick_check_keeps_nothing_of_the_file(path: Path) -> None:
    db = database.connect(path)
    db.execute("CREATE TABLE t (body TEXT) STRICT; INSERT INTO t VALUES (hex(zeroblob(100000)))")
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    reader = database.connect(path, readonly=True)
    assert database.quick_check(reader) == []
    assert reader.status(apsw.SQLITE_DBSTATUS_CACHE_USED)[0] < path.stat().st_size / 4
    reader.close()
    db.close()


def test_closing_moves_the_log_into_the_database(path: Path) -> None:
    db = database.connect(path)
    db.execute("CREATE TABLE t (n INTEGER) STRICT")
    database.close(db, checkpoint=True)
    assert [file.name for file in path.parent.iterdir()] == ["dash.db"]


def test_closing_in_doubt_leaves_the_log_to_the_next_start(path: Path) -> None:
    db = database.connect(path)
    db.execute("CREATE TABLE t (n INTEGER) STRICT")
    database.close(db, checkpoint=False)
    assert path.with_name("dash.db-wal").stat().st_size > 0
    db = database.connect(path)
    assert db.table_exists("main", "t")
    database.close(db, checkpoint=True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (apsw.FullError("x"), errors.StoreFull),
        (apsw.BusyError("x"), errors.Unavailable),
        (apsw.CantOpenError("x"), errors.Unavailable),
        (apsw.IOError("x"), errors.StoreBroken),
        (apsw.ReadOnlyError("x"), errors.StoreBroken),
        (apsw.CorruptError("x"), errors.StoreBroken),
    ],
)
def test_each_error_of_sqlite_says_whose_fault_it_is(error: apsw.Error, kind: type[errors.DashError]) -> None:
    refused = database.refusal(error, "writing", "/x/dash.db")
    assert type(refused) is kind
    assert refused.message == "writing the database /x/dash.db: x"
    assert refused.hint


def test_a_log_index_that_cannot_grow_is_a_full_disk() -> None:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE
    assert database.is_disk_full(error)
