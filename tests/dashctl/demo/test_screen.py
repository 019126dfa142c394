"""What a person sees of the demo."""

import io
from collections import Counter
from pathlib import Path

import pytest

from dashctl import terminal
from dashctl.demo import journal, screen

FIGURES = journal.Figures(20, 19, 1, 0, 0, 1, 8, 5.2, 4_781, 313, 78, 8)
REPORT = {
    "id": "7k2m9q",
    "summary": "19 of 20 tasks completed, 1 dead in 5.3 s (completed, partial)",
    "failures": [
        {
            "item": "broken.py",
            "cause": "exit code 1",
            "agent": "7k2m9q-007",
            "last_lines": "\x1b]0;owned\x07" + "x" * 200 + "\nSyntaxError: '(' was never closed\n",
        }
    ],
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown():
    """Everything that a whole demo writes: `shown(environ) -> (stdout, stderr)`."""

    def shown(environ, *, tty=True, as_json=False, problems=()):
        stdout, stderr = (Terminal(), Terminal()) if tty else (io.StringIO(), io.StringIO())
        out = terminal.Output(stdout, stderr, io.StringIO(), environ, as_json=as_json)
        show = screen.Screen(out)
        show.title(20)
        show.say(("kill -9", "red"), " of dashd (pid 4194304), with 10 agents at work")
        show.counting(10, 20)
        show.account(REPORT, FIGURES, Counter(swarm_create=1, event_wait=1, swarm_report=1), 8)
        show.verdict(problems, None, 7.5)
        return stdout.getvalue(), stderr.getvalue()

    return shown


def test_the_account_is_complete_and_fits_80_columns(shown):
    stdout, _ = shown({}, tty=False)
    assert all(len(line) <= 80 for line in stdout.splitlines())
    for words in (
        "19 of 20 tasks completed",
        "SyntaxError: '(' was never closed",
        "19 ok, 1 failed, 0 lost, 0 run twice",
        "8 live agents adopted",
        "1 swarm_create, 1 event_wait, 1 swarm_report",
        "All of it came true in 7.5 s. Everything is cleaned up.",
    ):
        assert words in stdout


def test_colour_is_for_terminals_and_can_be_refused(shown):
    assert "\x1b[31m" in shown({})[0]
    assert "\x1b" not in shown({"NO_COLOR": "1"})[0]
    assert "\x1b" not in shown({}, tty=False)[0]
    assert "owned" not in shown({})[0]


def test_json_keeps_the_screen_silent(shown):
    assert shown({}, as_json=True) == ("", "")


def test_a_promise_that_did_not_hold_is_named(shown):
    stdout, stderr = shown({"NO_COLOR": "1"}, tty=False, problems=["lost is 1, not 0"])
    assert "did not hold" in stdout
    assert stderr == "not true: lost is 1, not 0\n"


def test_an_interrupted_demo_says_what_is_left():
    stdout = io.StringIO()
    show = screen.Screen(terminal.Output(stdout, io.StringIO(), io.StringIO(), {}))
    show.stopped(None)
    show.stopped(Path("/kept"))
    assert stdout.getvalue() == "Interrupted. Everything is cleaned up.\nInterrupted. Kept: /kept\n"
