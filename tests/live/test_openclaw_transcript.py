"""The real Node on databases of OpenClaw's: a real one, one under way, and those that an agent made up."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from dashd.domain.session_tree import NotASession, NothingThere
from dashd.drivers.openclaw_transcript import DATABASE, SESSION, OpenClawSessions
from dashd.drivers.pi_transcript import LINE_BYTES_MAX

pytestmark = pytest.mark.live

GOLDEN = Path(__file__).parents[2] / "schema/golden/openclaw-2026.9.6"
HEADER = '{"type":"session","version":4,"id":"s","timestamp":"2026-11-29T13:12:40.195Z","cwd":"/w"}'
TABLES = """
CREATE TABLE session_nodes (session_key TEXT PRIMARY KEY, current_session_id TEXT);
CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT, event_zstd BLOB);
"""
VIEW = (
    f"{TABLES.splitlines()[1]} CREATE VIEW transcript_events AS WITH RECURSIVE n(i) AS"
    " (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT 's' AS session_id, i AS seq, '{}' AS event_json,"
    " NULL AS event_zstd FROM n"
)


@pytest.fixture
def form(programs, openclaw_environ):
    return OpenClawSessions(programs)


@pytest.fixture
def database(tmp_path):
    """Where that of a session is, in `tmp_path`; there is none yet."""
    path = tmp_path / DATABASE
    path.parent.mkdir(parents=True)
    return path


def made(path: Path, *events: tuple[str | None, bytes | None], tables: str = TABLES) -> sqlite3.Connection:
    """Open: a session with the header, and these events as JSON, or packed."""
    opened = sqlite3.connect(path)
    opened.executescript(tables)
    opened.execute("INSERT INTO session_nodes VALUES (?, 's')", (SESSION,))
    for seq, event in enumerate([(HEADER, None), *events] if tables == TABLES else []):
        opened.execute("INSERT INTO transcript_events VALUES ('s', ?, ?, ?)", (seq, *event))
    opened.commit()
    return opened


def bomb(mib: int) -> bytes:
    """A Zstandard frame of so many MiB of spaces: blocks of one repeated byte each (RFC 8878, 3.1.1)."""
    last, repeats, size = 1, 1 << 1, (128 << 10) << 3
    blocks = [(repeats | size).to_bytes(3, "little") + b" "] * (mib * 8 - 1)
    end = (last | repeats | size).to_bytes(3, "little") + b" "
    return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x58" + b"".join(blocks) + end


async def test_a_real_one_is_printed_as_it_was(form, database, tmp_path) -> None:
    """A row of it is packed. Nothing is written beside it."""
    shutil.copyfile(GOLDEN / "openclaw-agent.sqlite", database)
    assert await form.live(tmp_path) == (GOLDEN / "session.jsonl").read_bytes()
    assert [path.name for path in database.parent.iterdir()] == [database.name]


async def test_one_under_way_and_one_that_was_killed_are_read_with_their_log(
    form, database, tmp_path
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    opened = made(database)
    opened.execute("PRAGMA journal_mode=WAL")
    opened.execute("INSERT INTO transcript_events VALUES ('s', 1, '{}', NULL)")
    opened.commit()
    opened.execute("INSERT INTO transcript_events VALUES ('s', 2, '[]', NULL)")  # it is not done with it
    assert await form.live(tmp_path) == f"{HEADER}\n{{}}\n".encode()
    for path in database.parent.iterdir():
        shutil.copyfile(path, away / path.name)
    opened.close()
    index = Path(f"{database}-shm")
    for spoil in (index.touch, lambda: index.write_bytes(b"x" * 32_768), index.unlink):
        shutil.rmtree(database.parent)
        shutil.copytree(away, database.parent)
        spoil()  # what a kill or a failure of power may do to what only memory held
        assert await form.live(tmp_path) == f"{HEADER}\n{{}}\n".encode()


async def test_another_session_or_none_is_nothing(form, database, tmp_path) -> None:
    with pytest.raises(NothingThere):
        await form.live(tmp_path)
    opened = made(database)
    opened.execute("UPDATE session_nodes SET session_key = 'agent:dash:other'")
    opened.commit()
    opened.close()
    with pytest.raises(NothingThere):
        await form.live(tmp_path)


async def test_an_event_is_one_line_whatever_stands_in_it(form, database, tmp_path) -> None:
    deep = '{"type":"message","id":"deep","parentId":null,"message":' + "[" * 200_000 + "]" * 200_000 + "}"
    torn = '{"type":"message",\n"id":"ab",\n"parentId":null}'
    made(database, (deep, None), (torn, None), ("\x00\n}{", None)).close()
    data = await form.live(tmp_path)
    assert data.count(b"\n") == 4
    assert list(form.read(data).tree.nodes) == ["ab"]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ((" " * (LINE_BYTES_MAX + 1), None), "its event 1 is too large, or empty"),
        ((None, os.urandom(LINE_BYTES_MAX + 1)), "its event 1 is too large, or empty"),
        ((None, None), "its event 1 is too large, or empty"),
        ((None, b"garbage"), "its event 1 cannot be unpacked"),
        ((None, bomb(2_048)), "its event 1 cannot be unpacked"),
    ],
    ids=["large", "large packed", "empty", "garbage", "bomb"],
)
async def test_an_event_that_cannot_be_had_is_named(form, database, tmp_path, event, why) -> None:
    made(database, event).close()
    with pytest.raises(NotASession, match=why):
        await form.live(tmp_path)


async def test_a_conversation_without_end_is_too_large(form, database, tmp_path) -> None:
    made(database, *[("x" * 1_000_000, None)] * 70).close()
    with pytest.raises(NotASession, match="it has more than 67108864 bytes"):
        await form.live(tmp_path)


async def test_rows_that_stand_nowhere_are_none(form, database, tmp_path) -> None:
    made(database, tables=VIEW).close()
    with pytest.raises(NotASession, match="it has no such tables"):
        await form.live(tmp_path)


async def test_one_that_somebody_keeps_shut_is_read_all_the_same(form, database, tmp_path) -> None:
    opened = made(database)
    opened.executescript("PRAGMA journal_mode=WAL; PRAGMA locking_mode=EXCLUSIVE")
    opened.execute("UPDATE session_nodes SET current_session_id = 's'")
    opened.commit()
    opened.execute("BEGIN EXCLUSIVE")
    assert await form.live(tmp_path) == f"{HEADER}\n".encode()
    opened.close()


async def test_a_large_one_is_not_copied(form, database, tmp_path) -> None:
    """A log without an index is what has it copied."""
    for path in (database, Path(f"{database}-wal")):
        with path.open("wb") as sparse:
            sparse.truncate(129 << 20)
    with pytest.raises(NotASession, match="too large to be copied"):
        await form.live(tmp_path)


@pytest.mark.parametrize("there", ["garbage", "folder", "link", "pipe", "other tables"])
async def test_what_is_no_database_says_so(form, database, tmp_path, there) -> None:
    match there:
        case "garbage":
            database.write_bytes(os.urandom(100_000))
        case "folder":
            database.mkdir()
        case "link":
            database.symlink_to("/etc/passwd")
        case "pipe":
            os.mkfifo(database)
        case _:
            sqlite3.connect(database).executescript("CREATE TABLE a (b)")
    why = {"garbage": "not a database", "other tables": "no such tables"}
    with pytest.raises(NotASession, match=why.get(there, "no plain file")):
        await form.live(tmp_path)
