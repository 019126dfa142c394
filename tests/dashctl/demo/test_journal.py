"""Counting what agents wrote, and holding Dash's report against it."""

import pytest

from dashctl.demo import journal

COUNTS = {"lines": 10, "functions": 2, "classes": 1, "remarks": 0}


def start(item, at=1.0, pid=1):
    return {"what": "start", "item": item, "agent": f"a-{item}", "task": item, "pid": pid, "at": at}


def end(item, at=2.0, pid=1, ok=True):
    return {"what": "end", "item": item, "ok": ok, "pid": pid, "at": at, **(COUNTS if ok else {})}


def report(**changes):
    return {
        "tasks": {"total": 2, "completed": 1, "dead": 1},
        "agents": {"total": 2},
        "attempts": {"total": 2, "retried": 0, "lost": 0, "late": 0, "cut": 0},
    } | changes


def test_a_swarm_where_every_item_ended_once():
    found = journal.count([start("x"), start("y", 1.5), end("x"), end("y", 4.0, ok=False)], ["x", "y"])
    assert (found.agents, found.completed, found.failed, found.lost, found.duplicated) == (2, 1, 1, 0, 0)
    assert (found.duration_s, found.lines, found.classes) == (3.0, 10, 1)
    assert journal.disagreements(found, report()) == []


def test_an_item_that_never_ended_is_lost_and_one_that_started_again_is_duplicated():
    found = journal.count([start("x"), start("y"), start("y"), end("x")], ["x", "y", "z"])
    assert (found.lost, found.duplicated) == (2, 1)


def test_an_item_that_failed_and_then_succeeded_is_completed():
    found = journal.count([start("x"), end("x", ok=False), start("x"), end("x")], ["x"])
    assert (found.completed, found.failed, found.duplicated) == (1, 0, 1)


def test_agents_that_worked_through_the_kill_are_counted(tmp_path):
    entries = [
        start("x", 1.0, 1), end("x", 2.0, 1), start("y", 1.0, 2), start("z", 1.0, 3),
        {"what": "killed", "pid": 9, "at": 3.0}, end("z", 3.5, 3),
        {"what": "restarted", "pid": 10, "at": 4.0}, end("y", 5.0, 2),
    ]  # fmt: skip
    found = journal.count(entries, ["x", "y", "z"])
    assert (found.restarts, found.outlived) == (1, 1)


def test_an_empty_journal_has_lost_everything(tmp_path):
    assert journal.read(tmp_path / "none") == []
    assert journal.count([], ["x"]).lost == 1


def test_the_demos_own_lines_are_read_back(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal.note(path, "killed", 7)
    journal.note(path, "restarted", 8)
    assert [(entry["what"], entry["pid"]) for entry in journal.read(path)] == [
        ("killed", 7),
        ("restarted", 8),
    ]


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
    found = journal.count([start("x"), start("y"), end("x"), end("y", ok=False)], ["x", "y"])
    assert any(complaint in line for line in journal.disagreements(found, report(**changes)))
