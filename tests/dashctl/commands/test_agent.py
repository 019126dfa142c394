"""`dashctl agent …` against a scripted dashd."""

import json

import pytest

from dashctl import commands
from dashd.wire import errors
from dashd.wire.methods import agent
from tests.dashctl import answers
from tests.fakes import daemon as fake

A = answers.AGENT
S = answers.SWARM


def becomes(dashd, kind: str, *agents: str) -> None:
    """The events that say that it is so."""
    found = [fake.an_event(6 + at, kind, agent=name) for at, name in enumerate(agents)]
    dashd.on(
        "event.wait", lambda params: answers.events(*[event for event in found if event.seq > params.since])
    )


def test_spawn_into_a_swarm_and_alone(dashd, ctl):
    ran = ctl("agent", "spawn", "fix it", "--swarm", S, "--item", "a.py", "--name", "n", "--priority", "high")
    assert ran.out == f"Agent '{A}' spawned in swarm '{S}' for task '{answers.TASK}'\n"
    sent = dashd.asked("agent.spawn")[0]
    assert sent.pop("idempotency_key")
    assert sent == {"task": "fix it", "swarm": S, "item": "a.py", "name": "n", "priority": "high"}
    assert ctl("agent", "spawn", "x", "-q", "--key", "k", "--retries", "1", "--", "true").out == f"{A}\n"
    sent = dashd.asked("agent.spawn")[1]
    assert (sent["argv"], sent["limits"], sent["idempotency_key"]) == (["true"], {"retries": 1}, "k")
    assert json.loads(ctl("agent", "spawn", "x", "--json", "--", "true").out)["id"] == A


def test_a_list_shows_what_keeps_a_running_agent(dashd, ctl):
    kept = [("running", "budget"), ("running", "nothing"), ("paused", "budget"), ("spawning", "start")]
    items = [fake.an_agent(id=f"{S}-{n}", state=state, waits_for=why) for n, (state, why) in enumerate(kept)]
    dashd.on("agent.list", agent.AgentList(items=items, next_cursor="", total=4))
    rows = ctl("agent", "list").out.splitlines()
    states = [row.split(f"{S}-{n}  ")[1].split("  ")[0] for n, row in enumerate(rows[1:5])]
    assert states == ["running: budget", "running", "paused", "spawning"]


def test_spawn_into_a_swarm_takes_no_command(dashd, ctl):
    ran = ctl("agent", "spawn", "x", "--swarm", S, "--", "true")
    assert ran.code == 2
    assert "leave out --swarm" in ran.err
    assert not dashd.asked("agent.spawn")


def test_a_child_is_spawned_with_what_narrows_it(dashd, ctl):
    narrow = ("--scope", "src", "--read", "docs", "--depth", "1", "--budget", "2")
    assert ctl("agent", "spawn", "x", "--parent", A, *narrow).code == 0
    sent = dashd.asked("agent.spawn")[0]
    assert sent.pop("idempotency_key")
    assert sent == {"task": "x", "parent": A, "scope": ["src"], "read": ["docs"], "depth": 1, "budget": 2.0}
    for words in (("--parent", A, "--driver", "pi"), ("--scope", "src"), ("--swarm", S, "--read-only")):
        ran = ctl("agent", "spawn", "x", *words)
        assert ran.code == 2
        assert "--parent" in ran.err
    assert len(dashd.asked("agent.spawn")) == 1


def test_a_child_that_waits_for_a_yes_is_said_to(dashd, ctl):
    waits = agent.AgentSpawned(id="", swarm=S, task="", state="idle", cursor=1, approval="ap7")
    dashd.on("agent.spawn", waits)
    assert (
        ctl("agent", "spawn", "x", "--parent", A).out == "It waits for approval ap7: dashctl approval list\n"
    )


def test_what_a_child_reaches_is_shown(dashd, ctl):
    dashd.on("agent.get", answers.an_agent(parent=A, write=["src"], hosts=[], read=["src", "docs"]))
    assert "writes src, reads src, docs, reaches no host" in ctl("agent", "get", A).out
    dashd.on("agent.get", answers.an_agent(parent=A, write=[], hosts=[], read=["src"], history=True))
    told = "writes nothing, reads src and, by git, all that its repository has committed, reaches no host"
    assert told in " ".join(ctl("agent", "get", A).out.split())


def test_list_get_and_why(dashd, ctl):
    brief = fake.an_agent(item="\x1b]0;t\x07a.py", note="half\x9b done", progress="3/5")
    dashd.on("agent.list", agent.AgentList(items=[brief], next_cursor="", total=1))
    ran = ctl("agent", "list", "--swarm", S, "--status", "running")
    assert ran.out.splitlines()[1].split()[:2] == [A, "running"]
    assert not set(ran.out) & set("\x1b\x07\x9b")
    asked = dashd.asked("agent.list")[0]
    assert (asked["swarm"], asked["states"]) == (S, ["running"])
    ran = ctl("agent", "get", A)
    assert ran.out.splitlines()[0] == f"Agent {A} agent-1: running (alive)"
    assert "progress  3/5 reading" in ran.out
    assert "exit code 1" in ran.out
    assert json.loads(ctl("agent", "get", A, "--json").out)["pid"] == 77
    assert ctl("agent", "why", A).out.splitlines()[0] == f"{A}: it waits for a slot"
    assert json.loads(ctl("agent", "why", A, "--json").out)["waits_for"] == "slot"


def test_what_is_wanted_is_said_where_the_world_has_not_followed(dashd, ctl):
    dashd.on("agent.get", answers.an_agent(wanted="kill"))
    assert "running (alive, to be killed)" in ctl("agent", "get", A).out


def test_logs(dashd, ctl):
    assert ctl("agent", "logs", A).out == "hello\n"


def test_kill_waits_until_it_is_so(dashd, ctl):
    dashd.on("agent.kill", answers.agent_changed("running", wanted="kill"))
    becomes(dashd, "agent.killed", A)
    ran = ctl("agent", "kill", A)
    assert (ran.code, ran.out) == (0, f"{A} killed\n")
    assert dashd.asked("event.wait")[0]["since"] == 5
    ctl("agent", "kill", A, "--requeue")
    assert dashd.asked("agent.kill") == [{"agent": A}, {"agent": A, "requeue": True}]


def test_kill_need_not_wait(dashd, ctl):
    dashd.on("agent.kill", answers.agent_changed("running", wanted="kill"))
    assert ctl("agent", "kill", A, "--no-wait").out == f"{A} is running, to be killed\n"
    assert not dashd.asked("event.wait")


def test_kill_of_named_agents_asks_nobody(dashd, ctl):
    dashd.on("agent.kill", answers.agent_changed("killed"))
    ran = ctl("agent", "kill", A, columns=80, typed="n\n")
    assert (ran.code, ran.out) == (0, f"{A} killed\n")


def test_an_agent_that_ended_first_is_said_to_have_ended(dashd, ctl):
    dashd.on("agent.kill", answers.agent_changed("running", wanted="kill"))
    becomes(dashd, "agent.completed", A)
    assert ctl("agent", "kill", A).out == f"{A} completed\n"
    dashd.on("agent.kill", answers.agent_changed("failed", changed=False))
    assert ctl("agent", "kill", A).out == f"{A} is failed already\n"


def test_some_of_many_may_fail(dashd, ctl):
    def kill(params: agent.KillAgent):
        if params.agent == "nope":
            return errors.UnknownAgent("there is no agent 'nope'", hint="agent.list names them")
        return answers.agent_changed("running", id=params.agent, wanted="kill")

    dashd.on("agent.kill", kill)
    becomes(dashd, "agent.killed", "a", "b")
    ran = ctl("agent", "kill", "a", "nope", "b")
    assert (ran.code, ran.out) == (1, "a killed\nb killed\n")
    assert ran.err == "error: there is no agent 'nope'\nhint: dashctl agent list names them\n"
    results = json.loads(ctl("agent", "kill", "a", "nope", "--json").out)
    assert [(result["id"], result["ok"]) for result in results] == [("a", True), ("nope", False)]
    assert ctl("agent", "kill", "nope").code == 3


@pytest.mark.parametrize(
    ("verb", "now", "kind", "said"),
    [("pause", "running", "agent.paused", "paused"), ("resume", "paused", "agent.resumed", "running")],
)
def test_pause_and_resume_wait_until_it_is_so(dashd, ctl, verb: str, now, kind: str, said: str):
    dashd.on(f"agent.{verb}", answers.agent_changed(now))
    becomes(dashd, kind, A)
    assert ctl("agent", verb, A).out == f"{A} {said}\n"


def test_an_idle_agent_has_nothing_to_stop(dashd, ctl):
    dashd.on("agent.pause", answers.agent_changed("idle", wanted="pause"))
    assert ctl("agent", "pause", A).code == 0
    assert not dashd.asked("event.wait")
    dashd.on("agent.resume", answers.agent_changed("idle"))
    assert ctl("agent", "resume", A).code == 0


def test_what_does_not_become_so_in_time_is_a_timeout(dashd, ctl):
    dashd.on("agent.pause", answers.agent_changed("running", wanted="pause"))
    dashd.on("event.wait", lambda params: answers.events())
    assert ctl("agent", "pause", A, "--hard", "--no-wait").code == 0
    assert dashd.asked("agent.pause")[-1] == {"agent": A, "hard": True}
    ran = ctl("agent", "pause", A, "--within", "20ms")
    assert ran.code == 6
    assert f"hint: dashctl agent why {A}" in ran.err


def test_retry_message_and_result(dashd, ctl):
    assert ctl("agent", "retry", A).out == f"{A} has its last task again (agent idle)\n"
    assert ctl("agent", "message", A, "hello").out == f"{A} gets message 1 with its next step\n"
    ctl("agent", "message", A, "-", typed="from a pipe\n")
    assert [params["text"] for params in dashd.asked("agent.message")] == ["hello", "from a pipe\n"]
    assert ctl("agent", "message", A, "stop", "--now").out == f"{A} gets message 1 at once\n"
    assert ctl("agent", "message", A, "then", "--after").out == f"{A} gets message 1 after what it is at\n"
    assert [params.get("when") for params in dashd.asked("agent.message")] == [None, None, "now", "after"]
    ran = ctl("agent", "result", A)
    assert (ran.code, ran.out, ran.err) == (0, "42\n", "")
    assert json.loads(ctl("agent", "result", A, "--json").out)["result"] == "42\n"


def test_a_result_that_is_none_is_an_exit_code(dashd, ctl):
    dashd.on(
        "agent.result",
        answers.result(task_state="dead", result="half\x1b[2J", cause="exit code 1", truncated=True),
    )
    ran = ctl("agent", "result", A)
    assert (ran.code, ran.out) == (1, "half\n")
    assert f"task {answers.TASK} is dead: exit code 1" in ran.err
    dashd.on("agent.result", answers.result(task=None, task_state=None, result=""))
    assert ctl("agent", "result", A).code == 1


def test_set_model(dashd, ctl):
    swapped = agent.AgentModel(agent=A, model="fast", first="m-1", provider="one", changed=True)
    dashd.on("agent.set_model", swapped)
    ran = ctl("agent", "set-model", A, "fast")
    assert ran.out == f"{A} calls m-1 of one from its next call on\n"
    ctl("agent", "set-model", A, "--swarms", "--json")
    assert [asked["model"] for asked in dashd.asked("agent.set_model")] == ["fast", None]
    assert ctl("agent", "set-model", A).code == ctl("agent", "set-model", A, "fast", "--swarms").code == 2


def test_every_command_of_the_module_is_tried_here():
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    tried = {verb for verb in commands.of_module("agent") if f'"agent", "{verb}"' in text}
    # `diff` is tried in test_trees.py, where it lives.
    assert tried | {"pause", "resume", "diff"} == set(commands.of_module("agent"))
