"""The demo as people run it: a program of its own, its words, its exit code, and what it leaves."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest

from dashctl import daemon_process
from dashctl.demo import journal, leftovers, money, play, repository, story

FAST = ["--agents", "6", "--lines-per-s", "200"]
TRUE = journal.Figures(
    agents=3, completed=2, unfinished=frozenset({repository.GREEDY}), broken=frozenset({repository.BROKEN}),
    duplicated=0, restarts=1, outlived=1, duration_s=1.0, worked_on={repository.GREEDY: "s-002"},
    lines=10, functions=2, classes=1, remarks=0,
)  # fmt: skip
REPORT = {
    "tasks": {"total": 3, "completed": 2, "dead": 1},
    "agents": {"total": 3},
    "attempts": {"total": 3},
    "failures": [{"item": repository.GREEDY}],
}
MONEY = money.Money(
    swarm=money.Spent("s", 100, 30, 10, 20),
    agents=[money.Spent("s-002", 40, 30, 10, 20)],
    stopped=["s-002"],
    failovers=1,
    rerouted=1,
    forecast={},
)


@pytest.fixture
def demo(tmp_path_factory):
    """Starts `dashctl demo` in an environment of its own; the folder that it may use is `demo.folder`."""
    folder = tmp_path_factory.mktemp("d")
    started = []

    def demo(*arguments):
        own = {"TMPDIR": str(folder), "DASH_STATE_DIR": "/nowhere", "DASH_MAX_AGENTS": "1"}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "dashctl", "demo", *arguments],
                env=daemon_process.environ_of(os.environ | own),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    demo.folder = folder
    yield demo
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    leftovers.end(folder, wait_s=0)


@pytest.mark.slow
def test_the_story_comes_true_and_leaves_nothing(demo):
    process = demo("--json", *FAST)
    stdout, stderr = process.communicate(timeout=100)
    assert (process.returncode, stderr) == (0, "")
    figures = json.loads(stdout)
    assert figures.pop("swarm")
    assert figures.pop("duration_s") > 0.5
    spent, unconfirmed = figures.pop("spent_usd"), figures.pop("unconfirmed_usd")
    assert 0 <= unconfirmed < spent < figures["budget_usd"]
    assert figures.pop("failovers") > 0
    assert figures == {
        "agents": 6, "completed": 5, "failed": 1, "lost": 0, "duplicated": 0, "restarts": 1,
        "budget_usd": 0.3, "overshoot_usd": 0.0, "stopped_by_budget": 1,
    }  # fmt: skip
    assert list(demo.folder.iterdir()) == []
    assert leftovers.find(demo.folder) == []


@pytest.mark.slow
def test_interrupted_at_the_worst_moment_it_leaves_nothing_either(demo):
    process = demo(*FAST)
    for line in process.stdout:
        if "kill -9 of dashd" in line:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)  # as impatient people do
            break
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert "Interrupted. Everything is cleaned up." in stdout
    assert list(demo.folder.iterdir()) == []
    assert leftovers.find(demo.folder) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--agents", "3"], "give a whole number from 4 to 50"),
        (["--agnts", "9"], "did you mean '--agents'?"),
    ],
)
def test_a_wrong_argument_is_answered_before_anything_starts(demo, arguments, complaint):
    process = demo(*arguments)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert complaint in stderr


def told(**report):
    items = ["x.py", repository.GREEDY, repository.BROKEN]
    return play.Told(items=items, swarm="7k2m9q", report=REPORT | report)


def test_the_truth_is_found_true():
    assert story.judge(TRUE, MONEY, told()) == []


@pytest.mark.parametrize(
    ("figures", "report", "complaint"),
    [
        ({"completed": 1}, {}, "completed is 1, not 2"),
        ({}, {"failures": []}, "failed is 0, not 1"),
        ({}, {"failures": []}, "lost is 1, not 0"),
        ({"unfinished": TRUE.unfinished | {"x.py"}}, {}, "lost is 1, not 0"),
        ({"duplicated": 1}, {}, "duplicated is 1, not 0"),
        ({"restarts": 0}, {}, "restarts is 0, not 1"),
        ({"unfinished": frozenset({"x.py"})}, {}, "the journal has x.py as unfinished"),
        ({"broken": frozenset()}, {}, "the journal has nothing as not to compile"),
        ({}, {"attempts": {"total": 4}}, "runs: the report says 4, the agents' journal 3"),
        ({"worked_on": {repository.GREEDY: "s-001"}}, {}, "stopped by a budget: s-002, not s-001"),
    ],
)
def test_a_figure_that_is_not_true_is_named(figures, report, complaint):
    changed = dataclasses.replace(TRUE, **figures)
    assert any(complaint in problem for problem in story.judge(changed, MONEY, told(**report)))


def test_a_bill_above_a_limit_is_named():
    dear = dataclasses.replace(MONEY, swarm=money.Spent("s", 100, 130, 0, 120))
    assert any("the provider bills" in problem for problem in story.judge(TRUE, dear, told()))
