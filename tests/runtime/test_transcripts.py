"""Files of conversations: found where their launch has them, kept durably, swept where nothing knows them."""

import pytest

from dashd.domain.session_tree import NothingThere
from dashd.drivers.pi_transcript import PiSessions
from dashd.runtime.transcripts import NAME, Transcripts

FORM = PiSessions()


@pytest.fixture
def transcripts(tmp_path):
    return Transcripts(tmp_path / "sessions", tmp_path / "launches")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "launches" / "l" / NAME
    made.mkdir(parents=True)
    return made


async def test_what_its_driver_reads_is_that_of_the_launch(transcripts, folder) -> None:
    with pytest.raises(NothingThere):
        await transcripts.live(FORM, "none")
    (folder / FORM.file_name(1_000)).write_bytes(b"said")
    assert await transcripts.live(FORM, "l") == b"said"


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
