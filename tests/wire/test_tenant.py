"""Who works in a state folder is known as long as it lives, and looking disturbs nobody."""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashd.wire import tenant


@contextmanager
def tenancy(folder: Path, note: bytes | None = None):
    """This process as the folder's dashd; its note, or these bytes in its place."""
    fd = os.open(tenant.lock_path(str(folder)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        assert tenant.take(fd)
        if note is None:
            tenant.note(fd, 7, "/run/s")
        else:
            os.pwrite(fd, note, 0)
        yield fd
    finally:
        os.close(fd)


def test_a_note_counts_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    assert tenant.find(str(tmp_path)) is None
    with tenancy(tmp_path):
        assert tenant.find(str(tmp_path)) == (7, "/run/s")
        assert tenant.is_locked(tenant.lock_path(str(tmp_path)))
    assert (tmp_path / "dashd.lock").read_bytes() == b'{"pid": 7, "socket": "/run/s"}\n'
    assert tenant.find(str(tmp_path)) is None
    assert not tenant.is_locked(tenant.lock_path(str(tmp_path)))


def test_a_shorter_note_replaces_a_longer_one(tmp_path: Path) -> None:
    with tenancy(tmp_path) as fd:
        tenant.note(fd, 123_456, "/a/long/way/to/the/socket")
        tenant.note(fd, 8, "/s")
        assert tenant.find(str(tmp_path)) == (8, "/s")


@pytest.mark.parametrize(
    "note", [b"", b"123\n", b"\xff\n", b"[" * 5_000, b'{"pid": "x", "socket": "/s"}', b'{"pid": 1}']
)
def test_a_note_that_is_none_still_tells_that_somebody_is_there(tmp_path: Path, note: bytes) -> None:
    with tenancy(tmp_path, note):
        assert tenant.find(str(tmp_path)) == (None, "")


def test_only_one_can_take_it(tmp_path: Path) -> None:
    with tenancy(tmp_path):
        second = os.open(tenant.lock_path(str(tmp_path)), os.O_RDWR)
        assert not tenant.take(second)
        assert tenant.find(str(tmp_path)) == (7, "/run/s")
    assert tenant.take(second)
    os.close(second)


def test_somebody_who_looks_at_that_instant_keeps_no_daemon_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = os.open(tenant.lock_path(str(tmp_path)), os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            fcntl.flock(looking, fcntl.LOCK_UN)

    monkeypatch.setattr(tenant.time, "sleep", pause)
    with tenancy(tmp_path):
        assert len(pauses) == 3
    fcntl.flock(looking, fcntl.LOCK_SH)
    stuck = os.open(tenant.lock_path(str(tmp_path)), os.O_RDWR)
    assert not tenant.take(stuck)
    assert len(pauses) == 3 + tenant.TRIES_MAX
    os.close(stuck)
    os.close(looking)


def test_a_folder_is_safe_where_only_we_may_write(tmp_path: Path) -> None:
    assert tenant.unsafe(str(tmp_path)) is None
    tmp_path.chmod(0o730)
    assert tenant.unsafe(str(tmp_path)) == (
        f"{tmp_path} has mode 0730: others may write in it",
        f"chmod 700 {tmp_path}",
    )


def test_a_folder_of_somebody_else_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant.os, "geteuid", lambda: os.getuid() + 1)
    fault = tenant.unsafe(str(tmp_path))
    assert fault is not None
    assert "belongs to uid" in fault[0]
    assert "DASH_STATE_DIR" in fault[1]
