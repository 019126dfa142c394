"""What the embedded driver starts, and how it reads an end."""

import dataclasses
import json

import pytest

from dashd.drivers import embedded_agent
from dashd.drivers.driver import ModelAccess, Work
from dashd.drivers.embedded import PRINTED, PROGRAM, EmbeddedDriver
from dashd.jail import view
from dashd.jail.launch_folder import ExitRecord
from dashd.wire import errors

DRIVER = EmbeddedDriver()
WORK = Work(
    (), "a.py", "lint", "/", "7k2m9q", "7k2m9q-001", "7k2m9q-t1", 300.0, (),
    ModelAccess("http://127.0.0.1:9/v1", "dk_1", "small"),
)  # fmt: skip
RESULT = {"summary": "done", "files_changed": ["a"], "tests": [], "follow_ups": []}


def _exit(code: int | None = 0, signal: int | None = None, reason: str = "exit") -> ExitRecord:
    return ExitRecord(
        code=code, signal=signal, reason=reason, error="no such file" if reason == "start" else None,
        spool_bytes=1, spool_dropped=0, wall_ms=10, cpu_ms=5, max_rss_kib=2048,
    )  # fmt: skip


def test_it_brings_its_own_program_and_nothing_secret_with_it() -> None:
    environ = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "OPENAI_API_KEY": "canary", "DASH_X": "canary"}
    command = DRIVER.command(WORK, environ)
    assert command.argv == (view.python(), "-I", "-S", str(PROGRAM))
    isolated = DRIVER.command(dataclasses.replace(WORK, isolated=True), environ)
    assert isolated.argv[-1] == "/run/dash/dashd/drivers/embedded_agent.py"
    assert "canary" not in json.dumps(dict(command.env))
    assert set(command.env) == {
        "PATH", "HOME", "LC_ALL", "DASH_SWARM", "DASH_AGENT", "DASH_TASK", "DASH_BRIEF", "DASH_MODEL_URL",
        "DASH_MODEL_KEY", "DASH_MODEL",
    }  # fmt: skip
    assert json.loads(command.env["DASH_BRIEF"]) == {"task": "lint", "item": "a.py"}


def test_argv_is_refused_and_the_folder_must_exist() -> None:
    assert DRIVER.check(None, "/") == ([], "/")
    with pytest.raises(errors.InvalidParams, match="takes no argv"):
        DRIVER.check(["ls"], "/")
    with pytest.raises(errors.InvalidParams, match="no folder"):
        DRIVER.check(None, "/nowhere/at/all")


def test_the_last_line_is_the_result() -> None:
    output = b"@dash {}\nnoise\n" + json.dumps(RESULT).encode() + b"\n"
    ending = PRINTED.ending(_exit(), output)
    assert (ending.state, json.loads(ending.result), ending.cpu_ms) == ("succeeded", RESULT, 5)


@pytest.mark.parametrize(
    "output", [b"", b"done\n", b'{"summary": 1}', b"[" * 100_000, b'{"summary": "\xff"}']
)
def test_without_a_result_it_has_failed(output: bytes) -> None:
    assert PRINTED.ending(_exit(), output).state == "failed"


@pytest.mark.parametrize(
    ("code", "word", "again"), [(3, "budget", False), (4, "no model", True), (5, "end", True), (1, "1", True)]
)
def test_an_exit_code_says_why_and_only_a_refused_budget_is_final(code: int, word: str, again: bool) -> None:
    ending = PRINTED.ending(_exit(code), b"")
    assert (ending.state, ending.retry, ending.exit_code) == ("failed", again, code)
    assert word in ending.reason


def test_a_signal_and_a_failed_start_say_so() -> None:
    assert PRINTED.ending(_exit(None, 9), b"").reason == "ended by signal 9"
    assert "no such file" in PRINTED.ending(_exit(None, reason="start"), b"").reason


def test_what_it_should_ask_about_is_said_and_nothing_where_that_is_nothing() -> None:
    asking = dataclasses.replace(WORK, asks=("command", "path"))
    assert DRIVER.command(asking, {}).env["DASH_ASK"] == "command,path"
    assert "DASH_ASK" not in DRIVER.command(WORK, {}).env


@pytest.mark.parametrize("item", ["", "a.py"])
def test_what_it_is_told_is_what_its_program_says(monkeypatch, tmp_path, item) -> None:
    monkeypatch.chdir(tmp_path)
    work = dataclasses.replace(WORK, item=item, cwd=str(tmp_path.resolve()))
    agent = embedded_agent.Agent({"task": work.task, "item": item}, None)  # type: ignore[arg-type]
    assert EmbeddedDriver().told(work) == agent.opening()
