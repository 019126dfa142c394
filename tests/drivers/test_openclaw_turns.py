"""The runner as a process: turns one after the other, and an end that leaves nothing behind."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from dashd.drivers import openclaw_turns
from dashd.drivers.openclaw import RUNNER

pytestmark = pytest.mark.slow

ANSWERS = """
import json, os, sys
message = open(sys.argv[-1]).read()
config = json.load(open(os.environ["OPENCLAW_CONFIG_PATH"]))
seen = os.path.join(os.environ["OPENCLAW_STATE_DIR"], "seen")
with open(seen, "a") as file:
    file.write(message + ";")
print("on stderr", file=sys.stderr)
gate = open(os.path.join(os.environ["DASH_OPENCLAW_GATE"], "g")).read()
text = f"{open(seen).read()} {config['a']} {os.environ['B']} {gate}"
for name in (os.environ["OPENCLAW_CONFIG_PATH"], os.path.join(os.environ["DASH_OPENCLAW_GATE"], "g")):
    os.unlink(name)  # the next turn has its own again
print(json.dumps({"payloads": [{"text": "p"}], "meta": {"finalAssistantVisibleText": text}}))
"""
WAITS = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "60"])
print(child.pid, file=sys.stderr, flush=True)
child.wait()
"""
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + WAITS
WAIT_S = 20.0
GOLDEN = Path(__file__).parents[2] / "schema/golden/openclaw-2026.9.6"


class Runner:
    """The program with something in OpenClaw's place."""

    def __init__(
        self, folder: Path, script: str, state: Path | None = None, seed: dict | None = None
    ) -> None:
        told = {
            "argv": [sys.executable, "-c", script],
            "env": {"B": "b"},
            "config": {"a": "a"},
            "gate": {"g": "g"},
            "state": str(state) if state else None,
            "seed": seed,
        }
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"DASH_OPENCLAW": json.dumps(told), "TMPDIR": str(folder), "PATH": os.environ["PATH"]},
        )

    def say(self, key: str, message: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": key, "message": message}).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def log(self) -> bytes:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(WAIT_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        assert list(self.folder.iterdir()) == []  # nothing of it is left
        return code


def _gone(pid: int) -> bool:
    """Whether it ends, within a time in which it must."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], WAIT_S)[0])
    finally:
        os.close(fd)


def test_turns_are_one_session_each_a_process(tmp_path: Path) -> None:
    runner = Runner(tmp_path, ANSWERS)
    assert runner.hear() == {"type": "ready"}
    runner.say("turn:1", "héllo")
    runner.say("turn:2", "again")
    assert runner.hear() == {"type": "turn", "id": "turn:1"}
    first = runner.hear()
    assert (first["type"], first["id"], first["text"], first["code"]) == (
        "turned",
        "turn:1",
        "héllo; a b g",
        0,
    )
    assert runner.hear() == {"type": "turn", "id": "turn:2"}
    assert runner.hear()["text"] == "héllo;again; a b g"
    assert runner.log() == b"on stderr\n"
    assert runner.close() == 0


def test_a_state_that_outlives_it_is_gone_on_with(tmp_path: Path) -> None:
    state, folder = tmp_path / "state", tmp_path / "tmp"
    state.mkdir()
    folder.mkdir()
    for text in ("one; a b g", "one;two; a b g"):
        runner = Runner(folder, ANSWERS, state)
        runner.hear()
        runner.say("turn:1", text.split(";")[-2])
        runner.hear()
        assert runner.hear()["text"] == text
        assert runner.close() == 0
    assert [path.name for path in state.iterdir()] == ["seen"]


TAKES = """
import json, os
state = os.environ["OPENCLAW_STATE_DIR"]
assert json.load(open(os.path.join(state, "old/sessions.json"))) == {"k": {}}
os.rename(os.path.join(state, "old/s.jsonl"), os.path.join(state, "seen"))
"""


def _seeded(tmp_path: Path, script: str) -> tuple[Runner, Path]:
    state, folder = tmp_path / "state", tmp_path / "tmp"
    (state / "old").mkdir(parents=True)
    folder.mkdir()
    (state / "old" / "s.jsonl").write_text("before;")
    seed = {"store": "old/sessions.json", "sessions": {"k": {}}, "file": "old/s.jsonl"}
    runner = Runner(folder, ANSWERS, state, seed | {"argv": [sys.executable, "-c", script]})
    runner.hear()
    return runner, state


def test_what_a_session_begins_with_is_taken_over_before_its_first_turn(tmp_path: Path) -> None:
    runner, _ = _seeded(tmp_path, TAKES)
    for key, text in (("turn:1", "before;one; a b g"), ("turn:2", "before;one;two; a b g")):
        runner.say(key, text.split(";")[-2])
        assert runner.hear() == {"type": "turn", "id": key}
        assert runner.hear()["text"] == text
    assert runner.close() == 0


@pytest.mark.parametrize(
    ("script", "code"), [("print('no,\\n not that')", 0), (f"{TAKES}print('no, not that'); exit(3)", 3)]
)
def test_where_it_is_not_taken_over_no_turn_is_begun(tmp_path: Path, script: str, code: int) -> None:
    runner, state = _seeded(tmp_path, script)
    runner.say("turn:1", "one")
    told = runner.hear()
    assert (told["type"], told["id"], told["answered"], told["code"]) == ("turned", "turn:1", False, code)
    assert told["error"] == "it did not take over what was said before: no, not that"
    assert runner.close() == 0
    assert not (state / "seen").exists() or (state / "seen").read_text() == "before;"


def test_end_of_file_ends_the_taking_over_too(tmp_path: Path) -> None:
    runner, _ = _seeded(tmp_path, WAITS)
    runner.say("turn:1", "one")
    tool = int(runner.log())
    assert runner.close() == 0
    assert _gone(tool)


def test_an_end_without_an_answer_is_told_with_its_signal(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "import os; os.kill(os.getpid(), 9)")
    runner.hear()
    runner.say("turn:1", "x")
    runner.hear()
    told = runner.hear()
    assert (told["answered"], told["code"], told["signal"]) == (False, None, 9)
    assert runner.close() == 0


@pytest.mark.parametrize("script", [WAITS, IGNORES], ids=["obeys", "ignores TERM"])
def test_end_of_file_ends_a_turn_with_its_tools(tmp_path: Path, script: str) -> None:
    runner = Runner(tmp_path, script)
    runner.hear()
    runner.say("turn:1", "x")
    runner.hear()
    tool = int(runner.log())
    assert runner.close() == 0
    assert _gone(tool)


def test_what_a_turn_leaves_behind_is_ended(tmp_path: Path) -> None:
    leaves = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, file=sys.stderr)"
    runner = Runner(tmp_path, leaves)
    runner.hear()
    runner.say("turn:1", "x")
    runner.hear()
    tool = int(runner.log())
    runner.hear()
    assert _gone(tool)
    assert runner.close() == 0


@pytest.mark.parametrize(
    ("found", "text", "error"),
    [
        ({"payloads": [{"text": "a"}, {"text": "b"}]}, "a\nb", ""),
        ({"payloads": [{"text": "timed out", "isError": True}], "meta": {}}, "", "timed out"),
        ({"ok": False, "error": {"type": "cli_error", "message": "no"}}, "", "no"),
        ({"meta": {"aborted": True}}, "", "it was aborted"),
        ({"payloads": "odd", "meta": [], "error": 1}, "", ""),
        ({"meta": {"finalAssistantVisibleText": "x" * 300_000 + "end"}}, "end", ""),
    ],
)
def test_what_matters_of_an_answer(found: dict, text: str, error: str) -> None:
    made = openclaw_turns.summary(found)
    assert made["text"].endswith(text)
    assert len(made["text"]) <= openclaw_turns.TEXT_CHARACTERS_MAX
    assert made["error"] == error


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("text", "hi 1", ""),
        ("refused", "", "LLM request failed: provider rejected the request schema or tool payload."),
        ("timed-out", "", "Request timed out before a response was generated."),
    ],
)
def test_what_the_real_one_answered(name: str, text: str, error: str) -> None:
    """Recorded once, understood for ever."""
    found = openclaw_turns.read_answer(str(GOLDEN / f"answer-{name}.json"))
    assert (found["answered"], found["text"]) == (True, text)
    assert found["error"].startswith(error)
    assert bool(found["error"]) == bool(error)
    if text:
        assert found["session"]
        assert found["tokens"]["input"] > 1_000


def test_an_answer_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "answer"
    path.write_text("Fatal process out of memory")
    assert openclaw_turns.read_answer(str(path))["answered"] is False
    path.write_text("[]")
    assert openclaw_turns.read_answer(str(path))["answered"] is True


def test_an_answer_that_is_cut_in_a_character_is_one(tmp_path: Path) -> None:
    script = """print('{"meta": {"finalAssistantVisibleText": "\\\\ud83d\\\\ude00 \\\\ud83d"}}')"""
    runner = Runner(tmp_path, script)
    runner.hear()
    runner.say("turn:1", "x")
    runner.hear()
    assert runner.process.stdout is not None
    assert "😀 ?" in runner.process.stdout.readline().decode()
    assert runner.close() == 0
