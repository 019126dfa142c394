"""Counting what agents wrote, and holding Dash's report against it."""

import pytest

from dashctl.demo import journal

COUNTS = {"lines": 10, "functions": 2, "classes": 1, "remarks": 0}


def start(item, at=1.0, run="1.1"):
    return {"what": "start", "item": item, "agent": f"a-{item}", "task": item, "run": run, "at": at}


def end(item, at=2.0, run="1.1", ok=True):
    return {"what": "end", "item": item, "ok": ok, "run": run, "at": at, **COUNTS}


def report(**changes):
    return {
        "tasks": {"total": 2, "completed": 1, "dead": 1},
        "agents": {"total": 2},
        "attempts": {"total": 2, "retried": 0, "lost": 0, "late": 0, "cut": 0},
    } | changes


def test_a_swarm_where_one_item_was_done_with_and_one_was_not():
    found = journal.count([start("x"), start("y", 1.5), end("x"), start("y", 4.0)], ["x", "y"])
    assert (found.agents, found.completed, found.unfinished, found.duplicated) == (2, 1, {"y"}, 0)
    assert (found.duration_s, found.lines, found.classes) == (3.0, 10, 1)
    assert found.worked_on == {"x": "a-x", "y": "a-y"}
    assert journal.disagreements(found, report()) == []


def test_what_nobody_began_is_unfinished_and_what_two_runs_began_is_duplicated():
    found = journal.count([start("x"), start("y"), start("y", run="2.1"), end("x")], ["x", "y", "z"])
    assert (found.unfinished, found.duplicated) == ({"y", "z"}, 1)


def test_an_agent_that_takes_its_steps_again_counts_once():
    found = journal.count([start("x"), end("x"), start("x"), end("x")], ["x"])
    assert (found.completed, found.duplicated, found.lines) == (1, 0, 10)


def test_a_file_that_does_not_compile_is_done_with_and_named():
    found = journal.count([start("x"), end("x", ok=False)], ["x"])
    assert (found.completed, found.broken) == (1, {"x"})


def test_agents_that_worked_through_the_kill_are_counted():
    entries = [
        start("x", 1.0, "1.1"), end("x", 2.0, "1.1"), start("y", 1.0, "2.1"), start("z", 1.0, "3.1"),
        {"what": "killed", "pid": 9, "at": 3.0}, end("z", 3.5, "3.1"),
        {"what": "restarted", "pid": 10, "at": 4.0}, end("y", 5.0, "2.1"),
    ]  # fmt: skip
    found = journal.count(entries, ["x", "y", "z"])
    assert (found.restarts, found.outlived) == (1, 1)


def test_an_empty_journal_has_nothing_done(tmp_path):
    assert journal.read(tmp_path / "none") == []
    assert journal.count([], ["x"]).unfinished == {"x"}


def test_the_demos_own_lines_are_read_back(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal.note(path, "killed", 7)
    journal.note(path, "restarted", 8)
    assert [(entry["what"], entry["pid"]) for entry in journal.read(path)] == [
        ("killed", 7),
        ("restarted", 8),
    ]


def test_what_the_report_gives_up_is_named_by_it():
    assert journal.given_up({"failures": [{"item": "x"}]}) == {"x"}
    assert journal.given_up({}) == set()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"tasks": {"total": 2, "completed": 2}},
            "completed tasks: the report says 2, the agents' journal 1",
        ),
        ({"tasks": {"total": 3, "completed": 1, "dead": 1}}, "all tasks: the report says 3"),
        ({"attempts": {"total": 3}}, "runs: the report says 3"),
        ({"attempts": {"total": 2, "lost": 1}}, "lost runs"),
        ({"agents": {"total": 1}}, "agents"),
    ],
)
def test_a_report_that_says_something_else_is_caught(changes, complaint):
    found = journal.count([start("x"), start("y"), end("x")], ["x", "y"])
    assert any(complaint in line for line in journal.disagreements(found, report(**changes)))
