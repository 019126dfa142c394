"""A database goes forward one checked file at a time, or is left alone with a sentence on what to do."""

import re
import stat
from pathlib import Path

import apsw
import pytest

from dashd.store import database, migrations
from dashd.store.migrations import Migration, SchemaRefused
from dashd.wire import errors
from tests.fakes.clock import FixedClock
from tests.fakes.disk import Disk, Fault

ONE = Migration(1, "start", "CREATE TABLE a (n INTEGER PRIMARY KEY) STRICT; INSERT INTO a VALUES (1);")
TWO = Migration(2, "more", "CREATE TABLE b (n INTEGER REFERENCES a (n)) STRICT; INSERT INTO b VALUES (1);")
THREE = Migration(3, "rest", "ALTER TABLE b ADD COLUMN note TEXT;")


def go(path: Path, *known: Migration, vfs: str | None = None) -> list[int]:
    """Open, migrate, close, like a start; the numbers applied."""
    db = database.connect(path, vfs=vfs)
    try:
        return [m.number for m in migrations.migrate(db, path, FixedClock(), known=list(known), vfs=vfs)]
    finally:
        database.close(db, checkpoint=True)


def ask(path: Path, sql: str) -> object:
    db = database.connect(path)
    try:
        return db.execute(sql).get
    finally:
        db.close()


def files(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


def test_the_real_migrations_are_found_and_apply(path: Path) -> None:
    known = migrations.load()
    assert go(path, *known) == [m.number for m in known]
    assert ask(path, "SELECT name FROM migration WHERE number = 1") == "spine"
    assert go(path, *known) == []
    assert files(path) == {"dash.db"}


def test_nothing_of_it_stays_in_memory(path: Path) -> None:
    db = database.connect(path)
    try:
        migrations.migrate(db, path, FixedClock())
        kept = [entry["query"] for entry in db.cache_stats(include_entries=True)["entries"]]
        assert [query for query in kept if "CREATE" in query] == [migrations._CREATE_TABLE]
        pages = len(list(db.execute("SELECT 1 FROM sqlite_schema WHERE rootpage")))
        assert db.status(apsw.SQLITE_DBSTATUS_CACHE_USED)[0] < pages * 4096 / 4
    finally:
        db.close()


def test_a_wheel_s_own_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "schema" / "sql"
    inside.mkdir(parents=True)
    (inside / "0001_x.sql").write_text("SELECT 1;")
    monkeypatch.setattr(migrations, "__file__", str(tmp_path / "store" / "migrations.py"))
    assert migrations.load() == [Migration(1, "x", "SELECT 1;")]


def test_what_was_applied_is_written_down(path: Path) -> None:
    assert go(path, ONE) == [1]
    assert ask(path, "SELECT number, name, checksum, at_ms FROM migration") == (
        1,
        "start",
        ONE.checksum,
        FixedClock().now_ms(),
    )


def test_data_is_copied_before_each_change(path: Path) -> None:
    go(path, ONE)
    assert go(path, ONE, TWO, THREE) == [2, 3]
    assert files(path) == {"dash.db", "dash.db.before-0002", "dash.db.before-0003"}
    for number in (2, 3):
        copy = path.with_name(f"dash.db.before-000{number}")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert ask(copy, "SELECT max(number) FROM migration") == number - 1
        assert ask(copy, "PRAGMA integrity_check") == "ok"


def test_a_copy_is_a_whole_database_one_can_go_back_to(path: Path) -> None:
    go(path, ONE)
    go(path, ONE, TWO)
    copy = path.with_name("dash.db.before-0002")
    assert copy.read_bytes()[18:20] == b"\x01\x01", "not in WAL mode, so it needs no companion files"
    path.unlink()
    copy.rename(path)
    assert go(path, ONE, TWO) == [2]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], r"\(none\)"),
        (["0002_b.sql"], "0002_b"),
        (["0001_a.sql", "0003_c.sql"], "0001_a, 0003_c"),
        (["0001_a.sql", "0001_b.sql"], "0001_[ab], 0001_[ab]"),
    ],
)
def test_files_with_a_hole_are_refused(tmp_path: Path, names: list[str], said: str) -> None:
    for name in [*names, "README.md"]:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(SchemaRefused, match=said):
        migrations.load(tmp_path)


def test_a_changed_file_is_refused(path: Path) -> None:
    go(path, ONE, TWO)
    changed = Migration(2, "more", TWO.sql + " ")
    with pytest.raises(SchemaRefused, match="0002_more is not the one") as refused:
        go(path, ONE, changed, THREE)
    assert "install the version of Dash that wrote this database" in refused.value.hint
    assert refused.value.category == "unavailable"
    assert files(path) == {"dash.db"}


def test_a_newer_database_is_refused(path: Path) -> None:
    go(path, ONE)
    go(path, ONE, TWO)
    with pytest.raises(
        SchemaRefused, match=r"newer Dash: it has had 0002_more.* up to 0001_start"
    ) as refused:
        go(path, ONE)
    assert f"{path}.before-0002" in refused.value.hint
    assert ask(path, "SELECT count(*) FROM migration") == 2


def test_a_database_with_a_hole_is_refused(path: Path) -> None:
    go(path, ONE, TWO, THREE)
    ask(path, "DELETE FROM migration WHERE number = 2")
    with pytest.raises(SchemaRefused, match=re.escape("[1, 3]")):
        go(path, ONE, TWO, THREE)


def test_somebody_else_s_database_is_refused(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(SchemaRefused, match="not one of Dash's"):
        go(path, ONE)
    assert ask(path, "SELECT group_concat(name) FROM sqlite_schema") == "recipes"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE TABLE c (n INTEGER) STRICT; CREATE TABEL d (n);", "syntax error"),
        ("CREATE TABLE c (n INTEGER) STRICT; INSERT INTO a VALUES (1);", "UNIQUE constraint"),
        ("CREATE TABLE c (n INTEGER) STRICT; DELETE FROM a;", "1 broken references"),
        ("CREATE TABLE c (n INTEGER) STRICT; ROLLBACK;", "ends its own transaction"),
    ],
)
def test_a_migration_that_fails_changes_nothing(path: Path, sql: str, said: str) -> None:
    go(path, ONE, TWO)
    with pytest.raises(SchemaRefused, match=said):
        go(path, ONE, TWO, Migration(3, "bad", sql))
    assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'c'") == 0
    assert ask(path, "SELECT max(number) FROM migration") == 2
    assert go(path, ONE, TWO, THREE) == [3]


def test_a_table_may_be_rebuilt_under_its_references(path: Path) -> None:
    rebuild = """
    CREATE TABLE new_a (n INTEGER PRIMARY KEY, note TEXT NOT NULL DEFAULT '') STRICT;
    INSERT INTO new_a (n) SELECT n FROM a;
    DROP TABLE a;
    ALTER TABLE new_a RENAME TO a;
    """
    db = database.connect(path)
    migrations.migrate(db, path, FixedClock(), known=[ONE, TWO])
    migrations.migrate(db, path, FixedClock(), known=[ONE, TWO, Migration(3, "rebuild", rebuild)])
    assert db.pragma("foreign_keys") == 1, "on again"
    with pytest.raises(apsw.ConstraintError):
        db.execute("INSERT INTO b VALUES (99)")
    db.close()


def test_a_full_disk_while_copying_stops_the_start(path: Path, disk: Disk) -> None:
    go(path, ONE)
    disk.fault = Fault("db", "write", "full", at=2)
    with pytest.raises(errors.StoreFull, match="copying"):
        go(path, ONE, TWO, vfs=disk.name)
    assert ask(path, "SELECT max(number) FROM migration") == 1
    assert files(path) == {"dash.db"}


def test_a_full_disk_while_migrating_changes_nothing(path: Path, disk: Disk) -> None:
    disk.fault = Fault("wal", "write", "full", at=3)
    with pytest.raises(errors.StoreFull, match="migrating"):
        go(path, ONE, TWO, vfs=disk.name)
    disk.fault = None
    assert go(path, ONE, TWO, vfs=disk.name) == [1, 2]


def test_a_failed_sync_while_migrating_stops_the_start(path: Path, disk: Disk) -> None:
    go(path, ONE)
    disk.fault = Fault("wal", "sync", "sync")
    with pytest.raises(errors.StoreBroken, match="migrating"):
        go(path, ONE, TWO, vfs=disk.name)
    disk.fault = None
    # The commit was written but not known to be durable: the next start finds all of it or nothing.
    assert go(path, ONE, TWO) in ([], [2])
    assert ask(path, "SELECT count(*) FROM b") == 1


def test_a_damaged_database_is_not_upgraded(path: Path) -> None:
    words = Migration(1, "words", "CREATE TABLE a (w TEXT UNIQUE) STRICT; INSERT INTO a VALUES ('marker');")
    go(path, words)
    content = path.read_bytes()
    index = content.rindex(b"marker")
    assert content.count(b"marker") == 2, "once in the table, once in its index"
    path.write_bytes(content[:index] + b"barker" + content[index + 6 :])
    with pytest.raises(SchemaRefused, match="copy of the database made before upgrading is damaged: row 1"):
        go(path, words, TWO)
    assert files(path) == {"dash.db"}
    assert ask(path, "SELECT max(number) FROM migration") == 1


def test_a_copy_that_cannot_be_made_says_where(path: Path) -> None:
    go(path, ONE)
    path.with_name("dash.db.before-0002").mkdir()
    with pytest.raises(errors.Unavailable, match=r"copying the database to .*before-0002: Is a directory"):
        go(path, ONE, TWO)
