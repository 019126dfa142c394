"""Files of conversations: read with care, kept durably, swept where nothing knows them."""

import os

import pytest

from dashd.domain.session_tree import BYTES_MAX
from dashd.drivers.pi_transcript import PiSessions
from dashd.runtime.transcripts import NAME, NothingThere, Transcripts

FORM = PiSessions()


@pytest.fixture
def transcripts(tmp_path):
    return Transcripts(tmp_path / "sessions", tmp_path / "launches")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "launches" / "l" / NAME
    made.mkdir(parents=True)
    return made


async def test_the_newest_file_is_read(transcripts, folder) -> None:
    with pytest.raises(NothingThere):
        await transcripts.live(FORM, "none")
    with pytest.raises(NothingThere):
        await transcripts.live(FORM, "l")
    (folder / FORM.file_name(1_000)).write_bytes(b"old")
    (folder / FORM.file_name(2_000)).write_bytes(b"new")
    (folder / "zzz.jsonl").write_bytes(b"no session")
    assert await transcripts.live(FORM, "l") == b"new"


async def test_no_link_or_pipe_is_followed_and_no_file_is_read_for_ever(
    transcripts, folder, tmp_path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    link, pipe = folder / FORM.file_name(3_000), folder / FORM.file_name(4_000)
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        await transcripts.live(FORM, "l")
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no plain file"):
        await transcripts.live(FORM, "l")
    pipe.unlink()
    link.unlink()
    with link.open("wb") as sparse:
        sparse.truncate(BYTES_MAX * 4)
    assert len(await transcripts.live(FORM, "l")) == BYTES_MAX + 1
    (tmp_path / "launches" / "m").symlink_to(tmp_path)
    (tmp_path / NAME).symlink_to(folder)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        await transcripts.live(FORM, "m")


async def test_a_copy_is_private_and_what_has_no_row_goes(transcripts, tmp_path) -> None:
    await transcripts.recover([])  # there is no folder yet
    await transcripts.keep("c-1", b"one")
    await transcripts.keep("c-2", b"two")
    path = tmp_path / "sessions" / "c-1.jsonl"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (path.parent / "c-3.tmp").write_bytes(b"half")
    await transcripts.recover(["c-1"])
    assert [each.name for each in path.parent.iterdir()] == ["c-1.jsonl"]
    assert await transcripts.kept("c-1") == b"one"
    transcripts.forget(["c-1", "c-9"])
    with pytest.raises(FileNotFoundError):
        await transcripts.kept("c-1")
