"""Plain answers of every method that `dashctl` calls, for one swarm and its agents, as wire types."""

from typing import Any

import msgspec

from dashd.wire import errors
from dashd.wire.methods import agent, budget, daemon, event, swarm, task
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
        "swarm.plan": a_plan(),
        "swarm.costs": costs(),
        "budget.status": budget_status(),
        "budget.set": _budget_changed(0),
        "budget.extend": _budget_changed(2),
        "budget.history": budget.History(
            budget=SWARM,
            changes=[budget.Change(at=AT, kind="extended", from_usd=1.0, to_usd=1.5, why="worth it")],
        ),
        "budget.export": budget.Exported(rows=[a_call()], next=0),
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


def a_node(**changes: Any) -> budget.BudgetNode:
    made = budget.BudgetNode(
        id=SWARM,
        kind="swarm",
        parent="project",
        limit_usd=1.5,
        allotment_usd=None,
        reserve_usd=0.0,
        spent_usd=0.9375,
        unconfirmed_usd=0.0031,
        held_usd=0.25,
        left_usd=0.5625,
        overrun_usd=0.0,
        limit_tokens=None,
        spent_tokens=12_345,
        held_tokens=0,
        live=2,
        frozen=None,
        actions=budget.Actions(),
        reached=75,
    )
    return msgspec.structs.replace(made, **changes)


def budget_status(**changes: Any) -> budget.BudgetStatus:
    made = budget.BudgetStatus(
        budget=a_node(),
        children=[a_node(id=AGENT, kind="agent", parent=SWARM, limit_usd=None, reached=100)],
        forecast=budget.Forecast(
            spent_usd=0.9375,
            projected_usd=2.0,
            low_usd=1.5,
            high_usd=3.0,
            burn_usd_per_min=0.25,
            passes_limit_in_s=180.0,
            text="at this rate you pass the limit in 3 min",
            suggestions=[f"budget.extend {SWARM} 1.5: covers the dearest case"],
        ),
        options=[f"swarm.report {SWARM}: review what there is"],
        prices_date="2026-11-01",
    )
    return msgspec.structs.replace(made, **changes)


def a_call(**changes: Any) -> budget.CallRow:
    made = budget.CallRow(
        id=7, at=AT, swarm=SWARM, agent=AGENT, task=TASK, model="m", provider="p, q", input_tokens=10,
        output_tokens=None, usd=0.00001, basis="usage", confirmed=True,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def a_plan(**changes: Any) -> swarm.SwarmPlan:
    made = swarm.SwarmPlan(
        agents=4, tasks=5, driver="embedded", model="big", calls=60, input_tokens=1, output_tokens=1, usd=2.5,
        task_usd=0.5, start_usd=0.0031, budget_usd=2.0, reserve_usd=0.0, agent_usd=0.5, agent_cap=False,
        enough=False, assumptions=["12 calls a task, 5 tasks"], brief="fix it\n\nItem: a",
        notes=["it is more than the budget leaves"], prices_date="2026-11-01",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def costs(**changes: Any) -> swarm.SwarmCosts:
    def line(key: str, usd: float, share: float, *, top: bool) -> swarm.CostLine:
        return swarm.CostLine(
            key=key, usd=usd, unconfirmed_usd=0.0, calls=3, input_tokens=1_000, output_tokens=10, share=share,
            top=top,
        )  # fmt: skip

    made = swarm.SwarmCosts(
        swarm=SWARM, usd=4.0, unconfirmed_usd=0.5, held_usd=0.25, calls=6, input_tokens=2_000,
        output_tokens=20, agents=[line(AGENT, 3.0, 0.75, top=True), line("", 1.0, 0.25, top=False)],
        models=[line("m", 4.0, 1.0, top=True)], days=[], compute_s=1.5, active_s=60.0,
        queue_waits=[swarm.QueueWait(priority="high", tasks=2, mean_s=3.0, longest_s=5.0)],
        prices_date="2026-11-01",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def _budget_changed(resumed: int) -> budget.BudgetChanged:
    return budget.BudgetChanged(budget=a_node(), resumed=resumed, cursor=5)


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
