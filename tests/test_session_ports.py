"""`service.ports.Sessions` over real files; more about files is in tests/runtime/test_transcripts.py."""

import json
from types import SimpleNamespace

import pytest

from dashd.crash_points import CrashPoints
from dashd.drivers import Programs, over
from dashd.drivers.pi_transcript import PiSessions
from dashd.runtime.transcripts import NAME, Transcripts
from dashd.session_ports import SessionPort
from dashd.wire import errors

HEADER = {"type": "session", "version": 3, "id": "dash", "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/"}


@pytest.fixture
def world(tmp_path):
    keeps = SimpleNamespace(sessions=PiSessions())
    return SimpleNamespace(
        drivers={**over(Programs()), "pi": keeps},
        transcripts=Transcripts(tmp_path / "kept", tmp_path / "launches"),
        points=CrashPoints(),
    )


@pytest.fixture
def port(world):
    return SessionPort(world)


async def test_a_conversation_is_read_and_copied(port, tmp_path):
    folder = tmp_path / "launches" / "l" / NAME
    folder.mkdir(parents=True)
    with pytest.raises(errors.Conflict, match="nothing was said"):
        await port.live("pi", "l")
    (folder / PiSessions().file_name(0)).write_text(json.dumps(HEADER) + "\n" + '{"half')
    found = await port.live("pi", "l")
    assert found.tree.leaf is None
    await port.keep("c-1", found.whole)
    assert (await port.kept("pi", "c-1")).header == HEADER
    port.forget(["c-1", "c-9"])
    with pytest.raises(errors.Unavailable, match="c-1 cannot be read"):
        await port.kept("pi", "c-1")


async def test_what_cannot_be_read_says_why(port, tmp_path):
    with pytest.raises(errors.Unsupported, match="driver command keeps no session") as caught:
        await port.live("command", "l")
    assert caught.value.hint == "drivers that do: openclaw, pi"
    with pytest.raises(errors.Unsupported):
        await port.live("gone", "l")
    with pytest.raises(errors.Unavailable, match="c-9 cannot be read: No such file") as gone:
        await port.kept("pi", "c-9")
    assert "state directory" in gone.value.hint
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(errors.Unavailable, match="no copy was made"):
        await port.keep("c-1", b"x")
