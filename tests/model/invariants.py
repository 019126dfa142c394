"""What must hold after every step, in the words of the design, for the real store and for the model."""

import json
from collections import Counter

from dashd.service import agents as agent_service
from dashd.service import reports
from dashd.wire.methods import agent as agent_wire
from dashd.wire.methods import swarm as swarm_wire
from tests.fakes import model, telling
from tests.model.real import Real


def alike(real: Real, dash: model.Dash) -> None:
    """The rows and the model."""
    assert real.rows("SELECT id, state, wanted, outcome, agents_max FROM swarm") == [
        (s.id, s.state, s.wanted, s.outcome, s.agents_max) for s in dash.swarms.values()
    ]
    found = {
        row[0]: row for row in real.rows("SELECT id, swarm_id, number, state, wanted, task_id FROM agent")
    }
    assert found == {s.id: (s.id, s.swarm, s.number, s.state, s.wanted, s.task) for s in dash.seats.values()}
    columns = "id, state, level, pinned_to, agent_id, attempts, lost, retry_at_ms"
    found = {row[0]: row for row in real.rows(f"SELECT {columns} FROM task")}
    assert found == {
        t.id: (t.id, t.state, t.level, t.pinned, t.seat, t.failed, t.lost, t.due_ms)
        for t in dash.tasks.values()
    }
    found = {row[0]: row for row in real.rows("SELECT id, task_id, agent_id, state, stop, late FROM attempt")}
    assert found == {
        r.id: (r.id, r.task, r.seat, r.state, r.stop, int(r.late)) for r in dash.attempts.values()
    }
    real.take_moves()


def seats_and_attempts_and_tasks_agree(real: Real, dash: model.Dash) -> None:
    """Invariant 4: a task has one open attempt, exactly while it runs; a seat, exactly while it works."""
    query = "SELECT {} FROM attempt WHERE state IN ('claimed', 'starting', 'running') ORDER BY 1"
    running = real.rows("SELECT id FROM task WHERE state = 'running' ORDER BY 1")
    working = real.rows("SELECT id FROM agent WHERE state IN ('spawning', 'running', 'paused') ORDER BY 1")
    assert real.rows(query.format("task_id")) == running
    assert real.rows(query.format("agent_id")) == working
    assert len(running) <= dash.slots
    assert real.rows("SELECT count(*) FROM launch WHERE ended = 0") == [(len(running),)]
    assert not real.rows("SELECT id FROM agent WHERE state IN ('running', 'paused') AND liveness != 'alive'")
    assert not real.rows(
        "SELECT id FROM agent WHERE liveness = 'alive' AND state NOT IN ('running', 'paused')"
    )


def nothing_is_stranded(dash: model.Dash) -> None:
    """An open swarm has work that runs, that a seat can take or that is due later, or is held."""
    for swarm in dash.swarms.values():
        tasks = Counter(task.state for task in dash.tasks_of(swarm.id))
        seats = dash.open_seats(swarm.id)
        if swarm.state in model.SWARM_ENDED:
            assert not seats
            assert not tasks.keys() - set(model.TASK_ENDED)
            continue
        assert tasks.keys() - set(model.TASK_ENDED), f"{swarm} has nothing left to do and does not end"
        held = swarm.state == "paused" or any(seat.wanted == "pause" for seat in seats)
        able = [seat for seat in seats if seat.wanted == "run" or seat.state in model.WORKING]
        assert able or held, f"{swarm} has no seat that will ever take {tasks}"
        assert tasks["running"] or tasks["ready"] or tasks["retrying"], f"{swarm} only waits: {tasks}"
        if tasks["ready"] and not tasks["running"] and not held:
            assert any(task.swarm == swarm.id for task, _ in dash.startable())


def nobody_works_beyond_the_size_of_the_swarm(dash: model.Dash, shrunk: set[str]) -> None:
    """`shrunk` were made smaller once: there, agents above the size finish what they run."""
    for swarm in dash.swarms.values():
        if swarm.id in shrunk:
            continue
        open_seats = [seat for seat in dash.open_seats(swarm.id) if seat.wanted != "kill"]
        idle = [seat for seat in open_seats if seat.state == "idle"]
        assert not idle or len(open_seats) <= swarm.agents_max, f"{len(open_seats)} seats in {swarm}"


def reports_add_up(real: Real, dash: model.Dash) -> None:
    """Tasks and agents apart, and every list complete."""
    for swarm in dash.swarms.values():
        report = real.call(reports.report, swarm_wire.ReportSwarm(swarm=swarm.id))
        assert isinstance(report, swarm_wire.Report)
        tasks = Counter(task.state for task in dash.tasks_of(swarm.id))
        assert report.tasks == {"total": tasks.total(), **tasks}
        assert report.agents == {
            "total": len(dash.seats_of(swarm.id)),
            **Counter(seat.state for seat in dash.seats_of(swarm.id)),
        }
        never_began = "SELECT id FROM attempt WHERE state = 'cancelled' AND started_at_ms IS NULL"
        nothing = {row[0] for row in real.rows(never_began)}
        ours = [run for run in dash.attempts.values() if dash.tasks[run.task].swarm == swarm.id]
        runs = [run for run in ours if run.id not in nothing]
        counted = {
            "total": len(runs),
            "retried": len(runs) - len({run.task for run in runs}),
            "lost": sum(run.state == "lost" for run in runs),
            "late": sum(run.late for run in runs),
            "cut": 0,
        }
        assert counted.items() <= report.attempts.items()
        assert len(report.results) == tasks["completed"]
        assert len(report.failures) == tasks["dead"] + tasks["cancelled"]
        assert report.final is (swarm.state in model.SWARM_ENDED)


def agents_can_say_why(real: Real, dash: model.Dash) -> None:
    """Whoever does not work waits for something that has a name."""
    for id_, seat in dash.seats.items():
        why = real.call(agent_service.why, agent_wire.GetAgent(agent=id_))
        assert isinstance(why, agent_wire.Why), why
        if seat.state in model.SEAT_ENDED:
            assert why.waits_for == "nothing"
        if seat.state == "idle":
            assert why.waits_for not in ("nothing", "end")


def events_tell_the_state(real: Real, dash: model.Dash) -> None:
    """Invariant 2: no gap, and whoever only listens knows every state; a task completes at most once."""
    events = [json.loads(body) for (body,) in real.rows(f"SELECT body FROM event WHERE seq > {real.heard}")]
    assert [event["seq"] for event in events] == list(range(real.heard + 1, real.heard + 1 + len(events)))
    real.heard += len(events)
    real.told |= telling.states(events)
    rows = {**dash.swarms, **dash.seats, **dash.tasks}
    assert set(real.told) == set(rows)
    for id_, states in real.told.items():
        assert rows[id_].state in states, f"{id_} is {rows[id_].state}, but events say {states}"
    for event in events:
        if event["kind"] == "task.completed":
            assert event["task"] not in real.completed, f"{event['task']} has completed twice"
            real.completed.add(event["task"])
