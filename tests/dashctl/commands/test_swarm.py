"""`dashctl swarm …` against a scripted dashd."""

import json
import os

import pytest

from dashctl import commands
from dashd.wire import errors
from dashd.wire.methods import swarm
from tests.dashctl import answers
from tests.fakes import daemon as fake

S = answers.SWARM


def test_create_sends_what_was_given_and_says_what_came_of_it(dashd, ctl, tmp_path):
    items = tmp_path / "items"
    items.write_text("b.py\n\n日本.py\n")
    ran = ctl(
        "swarm",
        "create",
        "lint it",
        "--agents",
        "20",
        "--item",
        "a.py",
        "--items-from",
        str(items),
        "--name",
        "n",
        "--strategy",
        "pipeline",
        "--driver",
        "command",
        "--cwd",
        str(tmp_path),
        "--priority",
        "high",
        "--timeout",
        "5m",
        "--retries",
        "0",
        "--grace",
        "2s",
        "--memory-mb",
        "64",
        "--processes",
        "4",
        "--disk-mb",
        "1",
        "--cpu-s",
        "9",
        "--lease",
        "0",
        "--key",
        "k",
        "--",
        "lint",
        "{item}",
    )
    assert ran.code == 0
    assert ran.out == "Swarm '7k2m9q' created with 20 agents\n"
    bounds = {"memory_mb": 64, "processes": 4, "disk_mb": 1, "cpu_s": 9}
    assert dashd.asked("swarm.create") == [
        {
            "task": "lint it",
            "agents": 20,
            "items": ["a.py", "b.py", "日本.py"],
            "name": "n",
            "strategy": "pipeline",
            "driver": "command",
            "cwd": str(tmp_path),
            "priority": "high",
            "argv": ["lint", "{item}"],
            "lease_s": 0.0,
            "limits": {"timeout_s": 300.0, "retries": 0, "grace_s": 2.0, **bounds},
            "idempotency_key": "k",
        }
    ]


def test_create_leaves_everything_else_to_dashd(dashd, ctl):
    ctl("swarm", "create", "x", "--", "true")
    sent = dashd.asked("swarm.create")[0]
    assert set(sent) == {"task", "argv", "cwd", "idempotency_key"}
    assert sent["cwd"] == os.getcwd()


def test_create_in_other_words(dashd, ctl):
    dashd.on("swarm.create", fake.created(agents=1, tasks=3, notes=["3 tasks queue"], deduplicated=True))
    ran = ctl("swarm", "create", "x", "--", "true")
    assert ran.out == "Swarm '7k2m9q' exists already with 1 agent for 3 tasks\n"
    assert "note: 3 tasks queue" in ran.err
    assert ctl("swarm", "create", "x", "-q", "--", "true").out == f"{S}\n"
    assert json.loads(ctl("swarm", "create", "x", "--json", "--", "true").out)["id"] == S


def test_items_come_from_stdin(dashd, ctl):
    ctl("swarm", "create", "x", "--items-from", "-", "--", "true", typed="a\nb\n")
    assert dashd.asked("swarm.create")[0]["items"] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"\n \n", "has no items"), (b"\xff", "not UTF-8")]
)
def test_items_that_cannot_be_read(dashd, ctl, tmp_path, content, said: str):
    if content is not None:
        (tmp_path / "items").write_bytes(content)
    ran = ctl("swarm", "create", "x", "--items-from", str(tmp_path / "items"), "--", "true")
    assert ran.code == 2
    assert said in ran.err
    assert not dashd.asked("swarm.create")


@pytest.mark.parametrize(("outcome", "code"), [("complete", 0), ("partial", 1), ("none", 1)])
def test_wait_ends_with_the_report_and_its_verdict(dashd, ctl, outcome, code: int):
    dashd.on("event.wait", answers.events(fake.an_event(6, "swarm.completed")))
    dashd.on("swarm.report", fake.report(outcome=outcome))
    ran = ctl("swarm", "create", "x", "--wait", "--", "true")
    assert ran.code == code
    assert ran.out.splitlines()[0] == "Swarm '7k2m9q' created with 20 agents"
    assert "tasks     19 completed, 1 dead" in ran.out
    assert dashd.asked("event.wait")[0]["since"] == fake.created().cursor
    shown = ctl("swarm", "create", "x", "--wait", "--json", "--", "true")
    assert json.loads(shown.out)["outcome"] == outcome
    assert ctl("swarm", "create", "x", "--wait", "-q", "--", "true").out == f"{S}\n"


def test_report(dashd, ctl):
    assert "tasks     19 completed, 1 dead" in ctl("swarm", "report", S).out
    assert ctl("swarm", "report", S).code == 0
    ctl("swarm", "report", S, "--full")
    assert [params.get("detail") for params in dashd.asked("swarm.report")] == [None, None, "full"]


def test_report_waits_from_where_the_swarm_is_now(dashd, ctl):
    dashd.on("event.wait", answers.events(fake.an_event(9, "swarm.failed")))
    assert ctl("swarm", "report", S, "--wait").code == 1
    assert dashd.asked("event.wait")[0]["since"] == fake.a_swarm().cursor
    dashd.on("swarm.get", fake.a_swarm(state="completed", outcome="partial"))
    assert ctl("swarm", "report", S, "--wait").code == 1
    assert len(dashd.asked("event.wait")) == 1


def test_get_and_list(dashd, ctl):
    dashd.on("swarm.get", fake.a_swarm(name="evil\x1b[2J", ending=True))
    ran = ctl("swarm", "get", S)
    assert ran.out.splitlines()[0] == "Swarm 7k2m9q evil: active (ending: its last processes are going)"
    assert "\x1b" not in ran.out
    assert json.loads(ctl("swarm", "get", S, "--json").out)["name"] == "evil\x1b[2J"
    assert ctl("swarm", "list").out.splitlines()[1].split()[:3] == [S, "active", "3/20"]
    ctl("swarm", "list", "--status", "paused", "--status", "active")
    assert dashd.asked("swarm.list")[-1]["states"] == ["paused", "active"]


def test_pause_resume_and_scale(dashd, ctl):
    assert ctl("swarm", "pause", S, "other").out == f"Swarm '{S}' paused\n" * 2
    dashd.on("swarm.resume", swarm.SwarmChanged(id=S, state="active", changed=False))
    assert ctl("swarm", "resume", S).out == f"Swarm '{S}' is already active\n"
    assert ctl("swarm", "scale", S, "25").out == f"Swarm '{S}' has 25 agents (5 added)\n"
    assert dashd.asked("swarm.scale") == [{"swarm": S, "agents": 25}]
    dashd.on("swarm.scale", swarm.SwarmScaled(id=S, agents=1, added=0, removed=2, leaving=3))
    assert "1 agent (2 removed, 3 leave after their task)" in ctl("swarm", "scale", S, "1").out


def test_destroy_asks_a_person_with_the_count(dashd, ctl):
    ran = ctl("swarm", "destroy", S, columns=80, typed="n\n")
    assert ran.code == 1
    assert "Destroy 1 swarm with 20 live agents (7k2m9q)? [y/N]" in ran.err
    assert not dashd.asked("swarm.destroy")
    assert ctl("swarm", "destroy", S, columns=80, typed="y\n").code == 0


def test_destroy_wants_yes_from_a_script(dashd, ctl):
    ran = ctl("swarm", "destroy", S)
    assert ran.code == 2
    assert "this would destroy 1 swarm with 20 live agents" in ran.err
    assert f"hint: dashctl swarm destroy {S} --yes" in ran.err
    assert not dashd.asked("swarm.destroy")


def test_destroy_waits_until_the_processes_are_gone(dashd, ctl):
    dashd.on("swarm.destroy", swarm.SwarmChanged(id=S, state="active", changed=True))
    dashd.on("event.wait", answers.events(fake.an_event(8, "swarm.destroyed")))
    assert ctl("swarm", "destroy", S, "--yes").out == f"Swarm '{S}' destroyed\n"
    assert dashd.asked("event.wait")[0]["since"] == fake.a_swarm().cursor
    assert ctl("swarm", "destroy", S, "--yes", "--no-wait").out == f"Swarm '{S}' is being destroyed\n"
    dashd.on("swarm.destroy", swarm.SwarmChanged(id=S, state="completed", changed=True))
    removed = f"Swarm '{S}' had ended (completed); what its agents printed is removed, its results are kept\n"
    assert ctl("swarm", "destroy", S, "--yes").out == removed
    dashd.on("swarm.destroy", swarm.SwarmChanged(id=S, state="completed", changed=False))
    assert ctl("swarm", "destroy", S, "--yes").out == f"Swarm '{S}' has ended already: completed\n"


def test_destroying_what_is_not_there_needs_no_question(dashd, ctl):
    dashd.on("swarm.destroy", errors.UnknownSwarm("there is no swarm 'x'"))
    ran = ctl("swarm", "destroy", "x")
    assert (ran.code, ran.err) == (3, "error: there is no swarm 'x'\n")


def test_create_sends_what_may_be_spent(dashd, ctl):
    ctl(
        "swarm", "create", "x", "--model", "big -> small", "--budget", "50", "--agent-budget", "even",
        "--agent-budgets", "a:10,b:5", "--reserve", "60%",
    )  # fmt: skip
    sent = dashd.asked("swarm.create")[0]
    assert {name: sent[name] for name in ("model", "budget", "agent_budget", "agent_budgets", "reserve")} == {
        "model": "big -> small",
        "budget": 50.0,
        "agent_budget": "even",
        "agent_budgets": {"a": 10.0, "b": 5.0},
        "reserve": 60.0,
    }


@pytest.mark.parametrize("words", [("swarm", "plan", "x"), ("swarm", "create", "x", "--dry-run")])
def test_a_plan_creates_nothing(dashd, ctl, words):
    ran = ctl(*words, "--budget", "2")
    assert ran.code == 0
    assert "estimate   $2.50 ($0.50 a task)" in ran.out
    assert "budget     $2.00, not enough" in ran.out
    assert "to start   $0.0031" in ran.out
    assert ran.out.endswith("One agent is told:\n  fix it\n  \n  Item: a\n")
    assert ran.err == "assumed: 12 calls a task, 5 tasks\nnote: it is more than the budget leaves\n"
    assert not dashd.asked("swarm.create")
    assert dashd.asked("swarm.plan")[0]["budget"] == 2.0


def test_costs_by_agent_and_model(dashd, ctl):
    ran = ctl("swarm", "costs", S)
    assert ran.code == 0
    assert "spent        $4.00, $0.25 held for calls under way" in ran.out
    assert "unconfirmed  $0.50" in ran.out
    lines = ran.out.splitlines()
    assert [line.split() for line in lines if line.startswith(answers.AGENT)] == [
        [answers.AGENT, "$3.00", "75%", "3", "1,000", "10", "top"]
    ]
    assert any(line.startswith("(no agent)") for line in lines)
    assert any(line.split() == ["high", "2", "3", "s", "5", "s"] for line in lines)
    assert json.loads(ctl("swarm", "costs", S, "--json").out)["usd"] == 4.0


def test_every_command_of_the_module_is_tried_here():
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    # `land` is tried in test_trees.py, where it lives.
    assert all(f'"swarm", "{verb}"' in text for verb in commands.of_module("swarm") if verb != "land")
