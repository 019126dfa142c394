"""`dashctl task …` against a scripted dashd."""

import json

from dashd.wire import errors
from dashd.wire.methods import task
from tests.dashctl import answers
from tests.fakes import daemon as fake

T = answers.TASK


def test_list(dashd, ctl):
    ran = ctl("task", "list", "-s", answers.SWARM, "--status", "dead")
    assert ran.out.splitlines()[1].split() == [T, "dead", "medium", answers.AGENT, "4", "a.py", "exit", "1"]
    asked = dashd.asked("task.list")[0]
    assert (asked["swarm"], asked["states"]) == (answers.SWARM, ["dead"])
    assert json.loads(ctl("task", "list", "--json").out)[0]["id"] == T


def test_get(dashd, ctl):
    ran = ctl("task", "get", T)
    assert ran.out.splitlines()[0] == f"Task {T}: completed"
    assert "priority  low (served as high)" in ran.out
    assert ran.out.endswith("Result\n  fine\n")
    assert json.loads(ctl("task", "get", T, "--json").out)["result"] == "fine"
    dashd.on("task.get", answers.a_task(result="\x1b]52;c;x\x07evil", text="\u202e"))
    assert not set(ctl("task", "get", T).out) & set("\x1b\x07\u202e")


def test_cancel_waits_until_what_runs_has_ended(dashd, ctl):
    dashd.on("task.cancel", task.TaskChanged(id=T, state="running", changed=True, cursor=5))
    dashd.on("event.wait", answers.events(fake.an_event(6, "task.cancelled", task=T)))
    assert ctl("task", "cancel", T).out == f"{T} cancelled\n"
    assert ctl("task", "cancel", T, "--no-wait").out == f"{T} running\n"
    dashd.on("task.cancel", task.TaskChanged(id=T, state="cancelled", changed=False, cursor=5))
    assert ctl("task", "cancel", T).out == f"{T} is cancelled already\n"


def test_retry(dashd, ctl):
    assert ctl("task", "retry", T).out == f"{T} is ready\n"
    dashd.on("task.retry", errors.SwarmEnded("the swarm has ended", hint="swarm.create"))
    assert ctl("task", "retry", T).code == 4
