"""What a holder writes: `begin` born locked and once, `exit` whole or not at all."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from dashd.jail import holder_folder


@pytest.fixture
def here(tmp_path: Path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_begin_is_locked_from_its_first_instant(here: int, tmp_path: Path):
    begin = holder_folder.Begin(here, "boot")
    seen: list[str] = []
    assert begin.take(seen.append)
    assert seen == ["holder.before_begin", "holder.after_begin"]
    assert os.listdir(tmp_path) == ["begin"]
    with open(tmp_path / "begin", "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    begin.note(7, 8)
    note = {"holder": os.getpid(), "agent": 7, "start_time": 8, "boot_id": "boot"}
    assert json.loads((tmp_path / "begin").read_text()) == note
    os.close(begin.fd)


def test_begin_is_there_before_it_is_ours_only_under_another_name(here: int, tmp_path: Path):
    begin = holder_folder.Begin(here, "boot")
    assert not (tmp_path / "begin").exists()
    (tmp_path / "begin").write_text("tombstone\n")
    assert not begin.take(lambda point: None)
    assert (tmp_path / "begin").read_text() == "tombstone\n"
    assert os.listdir(tmp_path) == ["begin"]
    os.close(begin.fd)


def test_exit_appears_whole(here: int, tmp_path: Path):
    def look(point: str) -> None:
        assert point == "holder.exit_tmp"
        assert os.listdir(tmp_path) == ["exit.tmp"]
        assert json.loads((tmp_path / "exit.tmp").read_text()) == {"code": 0, "error": None}

    reserved = holder_folder.reserve_exit(here)
    holder_folder.write_exit(here, reserved, {"code": 0}, look)
    assert os.listdir(tmp_path) == ["exit"]
    os.close(reserved)


def test_a_full_disk_refuses_the_start_and_not_the_end(here: int, tmp_path: Path):
    (tmp_path / "exit.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        holder_folder.reserve_exit(here)
    assert not (tmp_path / "exit").exists()


def test_the_longest_record_fits_the_room_reserved(here: int, tmp_path: Path):
    figures = dict.fromkeys(("code", "signal", "spool_bytes", "spool_dropped", "wall_ms", "cpu_ms"), 2**63)
    reserved = holder_folder.reserve_exit(here)
    holder_folder.write_exit(here, reserved, {**figures, "error": "\udcff" * 10_000}, lambda point: None)
    os.close(reserved)
    assert (tmp_path / "exit").stat().st_size == holder_folder.EXIT_BYTES_MAX
    assert json.loads((tmp_path / "exit").read_text())["code"] == 2**63
