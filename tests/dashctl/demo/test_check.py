"""What the agents of the demo run in their shell."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashctl.demo import check

GOOD = '''"""A module."""
import os


class Thing:
    def act(self, given=[]):
        try:
            assert given == None
        except:
            print(os)
'''
BAD = '"""Broken."""\nx = (1,\n'
FOUND = {"lines": 11, "functions": 1, "classes": 1, "remarks": 5}


@pytest.fixture
def take(tmp_path, monkeypatch, capsys):
    """Takes a step with a file of this text; gives (exit code, what it said, the journal)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASH_TASK", "7k2m9q-t1")
    monkeypatch.setenv("DASH_AGENT", "7k2m9q-001")
    monkeypatch.setattr(check, "PACE_S_MIN", 0.0)
    journal = tmp_path / "journal.jsonl"
    journal.touch()

    def take(step, text=GOOD):
        (tmp_path / "file.py").write_text(text)
        code = check.main(["check.py", str(journal), "1e9", step, "file.py"])
        said, stderr = capsys.readouterr()
        assert stderr == ""
        return code, said.strip(), [json.loads(line) for line in journal.read_text().splitlines()]

    return take


def test_a_good_file_is_counted_and_journalled_at_both_ends(take):
    assert take("compile")[:2] == (0, "file.py compiles")
    assert take("review")[:2] == (0, "5 remarks")
    code, said, (start, end) = take("note")
    assert (code, json.loads(said)) == (0, FOUND)
    assert (start["what"], end["what"], end["ok"]) == ("start", "end", True)
    assert start["task"] == end["task"] == "7k2m9q-t1"
    assert start["agent"] == "7k2m9q-001"
    assert FOUND.items() <= end.items()
    assert start["at"] <= end["at"]


def test_a_file_that_does_not_compile_is_noted_down_as_that(take):
    code, said, _ = take("compile", BAD)
    assert (code, said) == (1, "file.py does not compile, line 2: '(' was never closed")
    assert take("review", BAD)[:2] == (0, "0 remarks")
    code, said, (_, end) = take("note", BAD)
    assert (code, end["ok"], end["lines"]) == (0, False, 3)
    assert "does not compile" in said


def test_an_agent_is_the_same_run_in_each_of_its_steps_and_another_one_is_not(tmp_path):
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import check; print(check.run())"
    (tmp_path / "check.py").write_bytes(Path(check.__file__).read_bytes())
    steps = [
        sys.executable,
        "-c",
        f"import subprocess, sys\nfor _ in '12': subprocess.run({[sys.executable, '-c', program]!r})",
    ]

    def agent():
        done = subprocess.run(steps, capture_output=True, text=True, check=True, start_new_session=True)
        return done.stdout.split()

    first, second = agent(), agent()
    assert len(first) == 2
    assert len({*first}) == len({*second}) == 1
    assert first != second


def test_steps_in_sessions_of_their_own_are_one_run_where_the_agent_is_known(tmp_path, monkeypatch):
    """As of an agent whose tool starts each command in another session."""
    monkeypatch.setenv("DASH_AGENT", "s-001")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import check; print(check.run())"
    (tmp_path / "check.py").write_bytes(Path(check.__file__).read_bytes())
    one = f"subprocess.run({[sys.executable, '-c', program]!r}, start_new_session=True)"
    steps = [sys.executable, "-c", f"import subprocess\nfor _ in '12': {one}"]
    # The outermost that has the environment is the agent; what started it has another one.
    outer = {**os.environ, "DASH_AGENT": "nobody"}
    start = f"import os, subprocess; subprocess.run({steps!r}, env={{**os.environ, 'DASH_AGENT': 's-001'}})"
    done = [
        subprocess.run([sys.executable, "-c", start], env=outer, capture_output=True, text=True, check=True)
        for _ in "12"
    ]
    (first, again), (other, _) = (each.stdout.split() for each in done)
    assert first == again != other


@pytest.mark.parametrize(
    ("text", "remarks"),
    [("x == None", 1), ("x is None", 0), ("def f(a={}, *, b=[]): ...", 2), ("log('x')", 0), ("eval('1')", 1)],
)
def test_what_it_remarks_on(text, remarks):
    assert sum(map(check.lint, ast.walk(ast.parse(text)))) == remarks
