"""What a person sees of the demo."""

import dataclasses
import io
from collections import Counter
from pathlib import Path

import pytest

from dashctl import terminal
from dashctl.demo import journal, money, screen

FIGURES = journal.Figures(
    agents=20, completed=19, unfinished=frozenset({"greedy.py"}), broken=frozenset({"broken.py"}),
    duplicated=0, restarts=1, outlived=8, duration_s=5.2, worked_on={},
    lines=4_781, functions=313, classes=78, remarks=8,
)  # fmt: skip
AGENTS = [
    money.Spent(f"7k2m9q-{number:03d}", 40_000_000, 4_400_000, 4_400_000 * (number == 3), 4_000_000)
    for number in range(1, 21)
]
MONEY = money.Money(
    swarm=money.Spent("7k2m9q", 10**9, 194_300_000, 84_900_000, 113_900_000),
    agents=AGENTS,
    stopped=["7k2m9q-006"],
    failovers=3,
    rerouted=65,
    forecast={"projected_usd": 0.1381, "low_usd": 0.1054, "high_usd": 0.2159},
)
REPORT = {
    "id": "7k2m9q",
    "summary": "19 of 20 tasks completed, 1 dead in 5.3 s (completed, partial)",
    "failures": [
        {
            "item": "greedy.py",
            "cause": "its budget did not cover the next call, and that is a long cause to be told",
            "agent": "7k2m9q-006",
            "last_lines": "\x1b]0;owned\x07" + "x" * 200 + '\n@dash {"note": "bash"}\nHTTP 402: spent\n',
        }
    ],
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown():
    """Everything that a whole demo writes: `shown(environ) -> (stdout, stderr)`."""

    def shown(environ, *, tty=True, as_json=False, problems=(), **changes):
        stdout, stderr = (Terminal(), Terminal()) if tty else (io.StringIO(), io.StringIO())
        out = terminal.Output(stdout, stderr, io.StringIO(), environ, as_json=as_json)
        show = screen.Screen(out)
        show.title("20 agents, $1.00, an outage, and dashd is killed half-way.")
        show.say(("kill -9", "red"), " of dashd (pid 4194304), with 10 agents at work")
        show.counting(10, 20)
        show.account(REPORT, FIGURES, Counter(swarm_create=1, event_wait=1, swarm_report=1), 8)
        show.money(dataclasses.replace(MONEY, **changes))
        show.verdict(problems, None, 7.5)
        return stdout.getvalue(), stderr.getvalue()

    return shown


def test_the_account_is_complete_and_fits_80_columns(shown):
    stdout, _ = shown({}, tty=False)
    assert all(len(line) <= 80 for line in stdout.splitlines())
    for words in (
        "19 of 20 tasks completed",
        "| HTTP 402: spent",
        "8 remarks; 1 file broken",
        "19 done, 1 stopped, 0 lost, 0 run twice",
        "8 live agents adopted",
        "1 swarm_create, 1 event_wait, 1 swarm_report",
        "$0.1943 of $1.00, of it $0.0849* unconfirmed",
        "  agents   001 $0.0044  002 $0.0044  003 $0.0044* 004 $0.0044  005 $0.0044\n",
        "016 $0.0044  017 $0.0044  018 $0.0044  019 $0.0044  020 $0.0044\n",
        "a call of agent 7k2m9q-006: only $0.0356 of its $0.04 was left",
        "$0.138 ($0.105 to $0.216) at half time; it came to $0.109",
        "65 calls answered by the second provider",
        "$0.1139 by the provider's own count: $0.00 above any limit",
        "All of it came true in 7.5 s. Everything is cleaned up.",
    ):
        assert words in stdout


def test_a_forecast_that_could_not_be_made_is_not_made_up(shown):
    stdout, _ = shown({}, tty=False, forecast={"projected_usd": None, "low_usd": None, "high_usd": None})
    assert "forecast none at half time; it came to $0.109" in stdout


def test_what_an_agent_prints_for_dash_is_not_for_people(shown):
    assert "@dash" not in shown({}, tty=False)[0]


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
