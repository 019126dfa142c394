"""The program that each agent of the demo runs."""

import ast
import json

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


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Checks a file with this text; gives (exit code, journal, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASH_TASK", "7k2m9q.1")
    monkeypatch.setenv("DASH_AGENT", "7k2m9q-001")
    monkeypatch.setattr(check, "PACE_S_MIN", 0.0)

    def run(text):
        (tmp_path / "file.py").write_text(text)
        journal = tmp_path / "journal.jsonl"
        code = check.main(["check.py", str(journal), "1e9", "file.py"])
        return code, [json.loads(line) for line in journal.read_text().splitlines()], *capsys.readouterr()

    return run


def test_a_good_file_is_counted_and_journalled_at_both_ends(run):
    code, (start, end), stdout, stderr = run(GOOD)
    found = {"lines": 11, "functions": 1, "classes": 1, "remarks": 5}
    assert (code, stderr) == (0, "")
    assert json.loads(stdout.splitlines()[-1]) == found
    assert {start["what"], end["what"]} == {"start", "end"}
    assert start["task"] == end["task"] == "7k2m9q.1"
    assert start["agent"] == "7k2m9q-001"
    assert end["ok"] is True
    assert found.items() <= end.items()
    assert start["at"] <= end["at"]


def test_it_says_how_far_it_is_in_the_form_that_dash_reads(run):
    _, _, stdout, _ = run(GOOD)
    reports = [
        json.loads(line.removeprefix("@dash ")) for line in stdout.splitlines() if line.startswith("@")
    ]
    assert [report["progress"] for report in reports] == [[step, 5] for step in range(1, 6)]
    assert reports[-1]["note"] == "5 remarks so far"


def test_a_file_that_does_not_compile_fails_and_says_where(run):
    code, (_, end), stdout, stderr = run('"""Broken."""\nx = (1,\n')
    assert (code, stdout, end["ok"]) == (1, "", False)
    assert stderr.startswith("file.py does not compile.\n")
    assert "line 2" in stderr
    assert "'(' was never closed" in stderr


@pytest.mark.parametrize(
    ("text", "remarks"),
    [("x == None", 1), ("x is None", 0), ("def f(a={}, *, b=[]): ...", 2), ("log('x')", 0), ("eval('1')", 1)],
)
def test_what_it_remarks_on(text, remarks):
    assert sum(map(check.lint, ast.walk(ast.parse(text)))) == remarks
