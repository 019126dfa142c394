"""How the live tests are run: beside each other, figures alone, and every one of them counted."""

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.live import lanes

FAKE = """
import os, signal, sys, time
name = sys.argv[1].rpartition("/")[2]
class Put(Exception): pass
def put(*_): raise Put
signal.signal(signal.SIGTERM, put)
log = open({log!r}, "a", buffering=1)
log.write("began " + name + "\\n")
try:
    exec({scripts!r}.get(name, "print('== 1 passed in 0.01s ==')"))
finally:
    log.write("ended " + name + "\\n")
"""
WAIT = "import pathlib\nwhile len(pathlib.Path({log!r}).read_text().splitlines()) < {lines}: time.sleep(0.01)"


class Stage:
    """Live tests that do as they are told instead."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.log = folder / "log"
        self.log.touch()

    def has(self, **scripts: str) -> None:
        """These files; an empty script passes one test."""
        given = {f"test_{name}.py": script for name, script in scripts.items()}
        for name in given:
            (self.folder / name).touch()
        told = {name: script for name, script in given.items() if script}
        program = FAKE.format(log=str(self.log), scripts=told)
        self.patch.setattr(lanes, "FOLDER", self.folder)
        self.patch.setattr(lanes, "command", lambda arguments: [sys.executable, "-c", program, *arguments])

    def waits(self, lines: int) -> str:
        """A script that passes once so many lines are in the log."""
        return WAIT.format(log=str(self.log), lines=lines) + "\nprint('== 1 passed in 0.01s ==')"

    def told(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def stage(tmp_path, monkeypatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


async def test_files_run_beside_each_other_and_figures_alone_after_them(stage, capsys) -> None:
    stage.has(a=stage.waits(3), a_figures="", b=stage.waits(3), c=stage.waits(3))
    with trio.fail_after(30):
        assert await lanes.rounds_of([], 1, 3) == 0
    assert {line.split()[0] for line in stage.told()[:3]} == {"began"}
    assert stage.told()[6:] == ["began test_a_figures.py", "ended test_a_figures.py"]
    *_, last = capsys.readouterr().out.splitlines()
    assert last.strip("= ").startswith("4 passed in ")


async def test_what_takes_long_begins_first_and_no_lane_waits_for_the_end_of_a_round(stage) -> None:
    stage.has(a=stage.waits(2), b="", openclaw=stage.waits(6))
    with trio.fail_after(30):
        assert await lanes.rounds_of([], 2, 2) == 0
    assert "began test_openclaw.py" in stage.told()[:2]
    assert stage.told().count("ended test_openclaw.py") == 2


async def test_figures_are_taken_once_whatever_the_rounds(stage) -> None:
    stage.has(a="", a_figures="")
    assert await lanes.rounds_of([], 2, 1) == 0
    assert stage.told().count("ended test_a.py") == 2
    assert stage.told()[4:] == ["began test_a_figures.py", "ended test_a_figures.py"]


async def test_what_repeats_itself_comes_after_the_rounds_and_once(stage, capsys) -> None:
    stage.has(a="", demo="", torture="", a_figures="")
    assert await lanes.rounds_of([], 2, 1) == 0
    once = [line for line in stage.told()[4:] if line.startswith("began")]
    assert once == ["began test_torture.py", "began test_demo.py", "began test_a_figures.py"]
    said = capsys.readouterr().out
    assert said.index("round 2 of 2") < said.index("live: 2 rounds took ") < said.index("live: test_demo.py")


async def test_each_round_is_counted(stage, capsys) -> None:
    stage.has(a="", b="")
    assert await lanes.rounds_of([], 3, 2) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1].strip("= ").startswith("6 passed in ")
    assert "live: test_b.py: 1 passed in 0.01s, round 3 of 3\n" in said


async def test_a_failure_is_shown_counted_and_the_exit_code(stage, capsys) -> None:
    stage.has(a="", b="print('why it failed')\nprint('== 1 failed, 2 passed in 0.10s ==')\nsys.exit(1)")
    assert await lanes.rounds_of([], 1, 2) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "why it failed" in lines
    assert lines[-2] == "live: FAILED: test_b.py"
    assert lines[-1].strip("= ").startswith("1 failed, 3 passed in ")


async def test_one_that_dies_is_an_error(stage, capsys) -> None:
    stage.has(a="", b="os.kill(os.getpid(), 9)")
    assert await lanes.rounds_of([], 1, 2) == -signal.SIGKILL
    lines = capsys.readouterr().out.splitlines()
    assert "live: test_b.py: ended without a summary (exit code -9)" in lines
    assert lines[-1].strip("= ").startswith("1 passed, 1 error in ")


async def test_what_is_not_installed_is_told_apart_and_said_last(stage, capsys) -> None:
    pi = "tests/live/conftest.py:7: not installed: pi 1.5.2"
    stage.has(
        a=f"print('SKIPPED [3] {pi}')\nprint('== 3 skipped in 0.10s ==')",
        b=f"print('SKIPPED [1] {pi}')\nprint('== 1 skipped in 0.10s ==')",
        c="print('SKIPPED [1] tests/live/x.py:7: no walls')\nprint('== 1 passed, 1 skipped in 0.10s ==')",
    )
    assert await lanes.rounds_of([], 1, 1) == 0
    *_, first, second, last = capsys.readouterr().out.splitlines()
    assert first == "live: NOT INSTALLED: 4 tests did not run: pi 1.5.2"
    assert second == "live: skipped: 1 tests did not run: no walls"
    assert last.strip("= ").startswith("1 passed, 5 skipped in ")


@pytest.mark.parametrize(("of_b", "code"), [("print('== 1 passed in 0.01s ==')", 0), ("sys.exit(5)", 5)])
async def test_files_of_which_nothing_was_chosen_are_no_failure(stage, of_b, code) -> None:
    stage.has(a="print('== no tests ran in 0.01s ==')\nsys.exit(5)", b=of_b)
    assert await lanes.rounds_of(["-k", "x"], 1, 2) == code


async def test_interrupted_each_may_put_away_what_it_has_made(stage) -> None:
    stage.has(a=stage.waits(9), b=stage.waits(9), c="")
    codes: list[int] = []

    async def go() -> None:
        codes.append(await lanes.rounds_of([], 1, 2))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            while len(stage.told()) < 2:  # noqa: ASYNC110  # a file rings no bell
                await trio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
    assert codes == [130]
    assert sorted(stage.told()) == [
        "began test_a.py",
        "began test_b.py",
        "ended test_a.py",
        "ended test_b.py",
    ]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [([], False), (["-k", "text"], False), (["tests/live"], True), (["x/test_a.py::test_b[0]", "-x"], True)],
)
def test_a_named_file_is_pytests_own_affair(arguments, names) -> None:
    assert lanes.names_files(arguments) is names


def test_the_real_command_runs_live_tests_alone() -> None:
    assert lanes.command(["-x"])[1:] == ["-m", "pytest", "-m", "live", "-x"]
