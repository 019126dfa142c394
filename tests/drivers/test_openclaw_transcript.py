"""OpenClaw's sessions as their driver has them printed; tests/live has the real Node print real databases."""

import json
import os
from pathlib import Path

import pytest

from dashd.domain.session_tree import NotASession, NothingThere, NotReadInTime
from dashd.drivers import openclaw_transcript
from dashd.drivers.openclaw_transcript import DATABASE, SESSION, OpenClawSessions, OpenClawTranscript
from dashd.drivers.programs import Programs
from tests.jail import inside

pytestmark = pytest.mark.slow

PRINTED = Path(__file__).parents[2] / "schema/golden/openclaw-2026.9.6/session.jsonl"
"""What Node printed of a real one, which is beside it."""


@pytest.fixture
def folder(tmp_path):
    """Of a session, with something in the place of its database."""
    made = tmp_path.resolve() / "launches" / "l" / "session"
    (made / DATABASE).parent.mkdir(parents=True)
    (made / DATABASE).write_bytes(PRINTED.read_bytes())
    return made


@pytest.fixture
def sessions(tmp_path):
    """`sessions(SHELL)`: those that this prints, in the place of Node."""

    def sessions(body: str) -> OpenClawSessions:
        path = tmp_path.resolve() / "p" / "node"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return OpenClawSessions(Programs(None, {"node": str(path)}))

    inside.of_grade("C")
    return sessions


async def test_it_is_printed_and_read_and_cut_like_one_of_pis(sessions, folder) -> None:
    """Node is given its script, and is told where and which, and how much."""
    given = f'[ "$5 $6" = "{folder / DATABASE} {SESSION}" ] && grep -q transcript_events && cat "$5"'
    form = sessions(given)
    found = form.read(await form.live(folder))
    assert found.whole == PRINTED.read_bytes()
    said = [node for _, node in found.tree.spoken()]
    assert [node.role for node in said] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert found.text(said[0].id).startswith("Task: read all of it\n")
    assert found.text(said[4].id).startswith("1\n2\n3\n")
    assert (said[3].calls, said[4].answers) == (("call_2",), "call_2")
    assert found.tree.leaf == said[5].id
    data = found.cut(said[2].id, session_id=form.session_id, cwd="/other", at_ms=0)
    cut = form.read(data)
    assert (cut.tree.leaf, cut.header["id"], cut.header["cwd"]) == (said[2].id, form.session_id, "/other")
    assert b"echo two" not in data


def test_what_comes_after_a_turn_back_goes_on_from_the_step_that_it_names() -> None:
    def entry(node_id: str, parent: str, **more) -> bytes:
        return json.dumps({"type": "custom", "id": node_id, "parentId": parent} | more).encode() + b"\n"

    found = OpenClawTranscript(PRINTED.read_bytes())
    first = next(node for _, node in found.tree.spoken())
    back = entry("back", found.tree.leaf or "", type="leaf", targetId=first.id)
    tree = OpenClawTranscript(found.whole + back + entry("on", "back") + entry("odd", "on", targetId={})).tree
    assert [node.id for node in tree.path("on")][-3:] == [first.id, "back", "on"]
    odd = OpenClawTranscript(found.whole + entry("back", first.id, type="leaf", targetId=["x"])).tree
    assert "back" not in odd.nodes


async def test_where_nothing_was_said_yet_there_is_nothing(sessions, folder, tmp_path) -> None:
    form = sessions("exit 3")
    with pytest.raises(NothingThere):
        await form.live(folder)
    with pytest.raises(NothingThere):
        await form.live(tmp_path / "none")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("echo oh dear >&2; exit 4", "^oh dear$"),
        ("exit 9", "exit code 9"),
        ("kill -9 $$", "exit code 137"),
        ("exec sleep 60", "did not end within 0.5 s"),
        ("exec head -c 5000 /dev/zero", "more than 4,096"),
    ],
)
async def test_what_cannot_be_read_says_why(sessions, folder, monkeypatch, body, why) -> None:
    monkeypatch.setattr(openclaw_transcript, "READ_S_MAX", 0.5 if "sleep" in body else 30.0)
    monkeypatch.setattr(openclaw_transcript, "BYTES_MAX", 4_096)
    with pytest.raises(NotASession, match=why):
        await sessions(body).live(folder)


async def test_what_takes_too_long_may_be_read_another_time(sessions, folder, monkeypatch) -> None:
    monkeypatch.setattr(openclaw_transcript, "READ_S_MAX", 0.5)
    slow = sessions("exec sleep 60")
    for _ in range(openclaw_transcript.READERS_MAX + 1):  # each gives its place back
        with pytest.raises(NotReadInTime, match="did not end within"):
            await slow.live(folder)
    monkeypatch.setattr(openclaw_transcript, "QUEUE_S_MAX", 0.1)
    for number in range(openclaw_transcript.READERS_MAX):
        slow._readers.acquire_on_behalf_of_nowait(number)
    with pytest.raises(NotReadInTime, match="too many others were being read"):
        await slow.live(folder)


def test_it_gives_up_as_soon_as_it_is_written() -> None:
    said = (Path(__file__).parents[2] / "README.md").read_text().split("read-only, within ")[1]
    assert openclaw_transcript.READ_S_MAX == float(said.split()[0]) == 10


async def test_it_sees_the_session_alone_and_writes_nothing(sessions, folder, tmp_path) -> None:
    inside.of_grade("B")
    (tmp_path / "secret").write_text("secret")
    look = f"cat {tmp_path}/secret; touch {folder}/x; ls {folder.parent}; true"
    assert await sessions(look).live(folder) == b"session\n"
    assert [each.name for each in folder.iterdir()] == ["agents"]


async def test_a_folder_behind_a_link_is_none(sessions, folder, tmp_path) -> None:
    (tmp_path / "linked").symlink_to(folder)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        await sessions("echo x").live(tmp_path / "linked")


async def test_without_node_it_says_what_is_missing(folder) -> None:
    with pytest.raises(OSError, match="program install node"):
        await OpenClawSessions(Programs()).live(folder)


def test_what_begins_with_a_copy_is_where_its_doctor_looks() -> None:
    name = OpenClawSessions(Programs()).file_name(5)
    assert os.path.dirname(name) == "agents/dash/sessions"
    assert Path(name).suffix == ".jsonl"
