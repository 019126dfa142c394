"""Plain answers of every method that `dashctl` calls, for one swarm and its agents, as wire types."""

from typing import Any

import msgspec

from dashd.wire import errors
from dashd.wire.methods import agent, daemon, event, swarm, task
from tests.fakes import daemon as fake
from tests.fakes.daemon_thread import DaemonThread

AT = "2026-11-20T10:00:00.000Z"
SWARM = fake.ID
AGENT = f"{SWARM}-001"
TASK = f"{SWARM}-t1"


def put_into(dashd: DaemonThread) -> None:
    """Makes `dashd` answer everything; a test overrides what it is about."""
    for method, answer in {
        "daemon.ping": daemon.Pong(version="0.1.0", pid=1),
        "daemon.status": status(),
        "daemon.stop": daemon.Stopping(agents="stop", live=0),
        "swarm.get": _known(fake.a_swarm(), "swarm", SWARM, errors.UnknownSwarm),
        "swarm.list": swarm.SwarmList(items=[fake.a_brief()], next_cursor="", total=1),
        "swarm.pause": _changed("paused"),
        "swarm.resume": _changed("active"),
        "swarm.scale": swarm.SwarmScaled(id=SWARM, agents=25, added=5, removed=0, leaving=0),
        "swarm.destroy": _changed("destroyed"),
        "agent.spawn": agent.AgentSpawned(id=AGENT, swarm=SWARM, task=TASK, state="idle", cursor=5),
        "agent.list": agent.AgentList(items=[fake.an_agent()], next_cursor="", total=1),
        "agent.get": _known(an_agent(), "agent", AGENT, errors.UnknownAgent),
        "agent.why": why(),
        "agent.retry": agent_changed("idle"),
        "agent.logs": logs("hello\n", ended=True),
        "agent.message": agent.MessageSent(agent=AGENT, number=1),
        "agent.result": result(),
        "task.list": task.TaskList(items=[a_task_brief()], next_cursor="", total=1),
        "task.get": a_task(),
        "task.retry": task.TaskChanged(id=TASK, state="ready", changed=True, cursor=5),
        "event.list": event.Events(events=[fake.an_event(5)], cursor=5, more=False),
    }.items():
        dashd.on(method, answer)


def status(**changes: Any) -> daemon.Status:
    made = daemon.Status(
        version="0.1.0",
        pid=1,
        epoch=3,
        started_at=AT,
        uptime_s=75.0,
        state="ready",
        warnings=[],
        socket="/run/s",
        database="/state/dash.db",
        agents_max=100,
        swarms={"active": 1},
        agents={"running": 20},
        tasks={"running": 20},
        last_seq=5,
        adopted=0,
    )
    return msgspec.structs.replace(made, **changes)


def why(**changes: Any) -> agent.Why:
    made = agent.Why(
        agent=AGENT, waits_for="slot", text="it waits for a slot", since=AT, until=None, on=["x"]
    )
    return msgspec.structs.replace(made, **changes)


def an_agent(**changes: Any) -> agent.Agent:
    made = agent.Agent(
        id=AGENT,
        name="agent-1",
        swarm=SWARM,
        parent=None,
        state="running",
        liveness="alive",
        wanted="run",
        driver="command",
        pause="hard",
        pid=77,
        task=TASK,
        task_state="running",
        item="a.py",
        progress="3/5",
        note="reading",
        why=why(),
        attempts=[an_attempt()],
        created_at=AT,
        ended_at=None,
    )
    return msgspec.structs.replace(made, **changes)


def an_attempt(**changes: Any) -> agent.AttemptBrief:
    made = agent.AttemptBrief(
        id="x",
        number=1,
        task=TASK,
        state="failed",
        reason="exit code 1",
        exit_code=1,
        exit_signal=None,
        started_at=AT,
        ended_at=AT,
        active_s=1.5,
        output_dropped=0,
    )
    return msgspec.structs.replace(made, **changes)


def logs(text: str, *, ended: bool = False, **changes: Any) -> agent.Logs:
    made = agent.Logs(agent=AGENT, attempt=1, text=text, next_offset=len(text), ended=ended)
    return msgspec.structs.replace(made, **changes)


def result(**changes: Any) -> agent.AgentResult:
    made = agent.AgentResult(
        agent=AGENT, task=TASK, task_state="completed", result="42\n", truncated=False, cause=""
    )
    return msgspec.structs.replace(made, **changes)


def a_task_brief(**changes: Any) -> task.TaskBrief:
    made = task.TaskBrief(
        id=TASK,
        swarm=SWARM,
        state="dead",
        priority="medium",
        item="a.py",
        agent=AGENT,
        attempts=4,
        cause="exit 1",
    )
    return msgspec.structs.replace(made, **changes)


def a_task(**changes: Any) -> task.Task:
    made = task.Task(
        id=TASK,
        swarm=SWARM,
        state="completed",
        priority="low",
        level="high",
        item="a.py",
        text="lint",
        agent=AGENT,
        cause="",
        result="fine",
        progress="",
        note="",
        after=[],
        retry_at=None,
        attempts=[an_attempt()],
        created_at=AT,
        started_at=AT,
        ended_at=AT,
    )
    return msgspec.structs.replace(made, **changes)


def agent_changed(state: Any, *, wanted: Any = "run", **changes: Any) -> agent.AgentChanged:
    made = agent.AgentChanged(id=AGENT, state=state, wanted=wanted, changed=True, cursor=5)
    return msgspec.structs.replace(made, **changes)


def events(*found: Any) -> event.Events:
    return event.Events(events=list(found), cursor=found[-1].seq if found else 5, more=False)


def _changed(state: Any) -> swarm.SwarmChanged:
    return swarm.SwarmChanged(id=SWARM, state=state, changed=True)


def _known(answer: Any, name: str, known: str, error: type[errors.DashError]) -> Any:
    def find(params: Any) -> Any:
        asked = getattr(params, name)
        return (
            answer
            if asked == known
            else error(f"there is no {name} '{asked}'", hint=f"{name}.list names them")
        )

    return find
