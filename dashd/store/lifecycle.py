"""What follows from what: the mutations that callers (`service`) and the world (`runtime`) share.

Each is a synchronous function inside one operation of the writer: a task's end frees its seat, lets its
dependents go or cancels them, and may end the swarm, all in one transaction with the events that say so.
"""

from dashd.domain import attempt as attempt_rules
from dashd.domain import healing
from dashd.domain import swarm as swarm_rules
from dashd.domain import task as task_rules

from . import (
    access_keys,
    agents,
    approvals,
    attempts,
    gateways,
    seats,
    swarms,
    task_budgets,
    tasks,
    workspaces,
)
from .rows import AttemptRow, TaskRow
from .transaction import Tx


def attempt_started(
    tx: Tx,
    attempt_id: str,
    *,
    pid: int | None = None,
    start_time: int | None = None,
    boot_id: str | None = None,
) -> None:
    """The attempt's program runs, or has run so briefly that nobody saw its pid.

    Without effect where that is known already, or the attempt is over.
    """
    attempt = attempts.get(tx.db, attempt_id)
    if attempt.state not in ("claimed", "starting"):
        return
    attempts.set_running(tx, attempt, pid=pid, start_time=start_time, boot_id=boot_id)
    seat = agents.get(tx.db, attempt.agent_id)
    agents.set_state(tx, seat, "running", liveness="alive")
    if approvals.holds(tx.db, seat.id):  # it asked before anybody had seen it run
        count_time(tx, seat.id)
    tx.emit(
        "agent.started",
        swarm=seat.swarm_id,
        agent=seat.id,
        task=attempt.task_id,
        data={"attempt": attempt.number, "pid": pid},
    )
    tx.emit("task.started", swarm=seat.swarm_id, agent=seat.id, task=attempt.task_id)


def attempt_ended(tx: Tx, attempt_id: str, ending: attempt_rules.Ending, *, jitter: float) -> None:
    """The attempt is over: its task goes on or ends, its seat is free.

    For an attempt that had been given up before, a success is accepted where its task is still to be done and
    recorded otherwise (invariant 4); any other late end changes nothing.
    """
    attempt = attempts.get(tx.db, attempt_id)
    task = tasks.get(tx.db, attempt.task_id)
    if attempt.state not in attempt_rules.OPEN:
        _ended_late(tx, attempt, task, ending)
        return
    state = attempt_rules.end_state(ending, attempt.stop)  # type: ignore[arg-type]
    attempts.hold_clock(tx, attempt.id)
    attempts.set_ended(tx, attempt, state, ending)
    approvals.withdraw(tx, agent_id=attempt.agent_id, why="its attempt is over")
    if state != "succeeded" and attempts.launch(tx.db, attempt.launch_id).place is not None:
        tx.ring("failures")
    if state == "succeeded":
        _complete(tx, task, ending)
    elif state in ("failed", "lost"):
        _heal(tx, task, attempt, ending, lost=state == "lost", jitter=jitter)
    elif attempt.stop == "requeue" or (ending.state == "never" and attempt.stop is None):
        _give_back(tx, task, attempt, reason=ending.reason, jitter=jitter)
    else:
        unsaid = "its agent was killed" if attempt.stop == "kill" else "cancelled while it ran"
        cancel_task(tx, task, attempt.stop_cause or unsaid)
    task_budgets.left(tx, attempt.agent_id, task.id)
    seats.free(tx, attempt.agent_id)
    settle_swarm(tx, task.swarm_id)


def make_ready(tx: Tx, task: TaskRow, *, cause: str | None = None) -> None:
    """The task may start: all it wants is a seat and a slot. `cause` is its last failure's."""
    tasks.set_state(tx, task, "ready", cause=cause)
    tx.emit("task.ready", swarm=task.swarm_id, task=task.id)
    tx.ring("queue")


def cancel_task(tx: Tx, task: TaskRow, cause: str) -> None:
    """Cancels an open task that nothing runs any more, and what depends on it."""
    _end_task(tx, task, "cancelled", cause)


def settle_swarm(tx: Tx, swarm_id: str) -> None:
    """Ends the swarm where nothing of it is left to do, once its last process is gone."""
    swarm = swarms.get(tx.db, swarm_id)
    if swarm.state not in swarm_rules.OPEN:
        return
    if tasks.any_open(tx.db, swarm_id):
        if (cause := seats.ended_by_budget(tx, swarm_id)) is not None:
            _leave(tx, swarm_id, cause)
        else:
            seats.ensure_one(tx, swarm)
            return
    if attempts.open_in_swarm(tx.db, swarm_id):
        return
    if gateways.open_of(tx.db, swarm_id) is not None:
        tx.ring("swarms")  # its keeper ends it now, and comes back here
        return
    state, outcome = swarm_rules.verdict(tasks.counts(tx.db, swarm_id))
    if swarm.wanted == "destroy":
        state = "destroyed"
    for seat in agents.open_seats(tx.db, swarm_id):
        seats.end(tx, seat, killed=swarm.wanted == "destroy")
    swarms.set_state(tx, swarm, state, outcome=outcome)
    approvals.withdraw(tx, swarm_id=swarm_id, why=f"its swarm is {state}")
    access_keys.revoke_of_swarm(tx, swarm_id)
    done = agents.completed(tx.db, swarm_id) | (frozenset([swarm_id] if outcome == "complete" else []))
    workspaces.swarm_ended(tx, swarm, done, destroyed=state == "destroyed")
    if state == "destroyed":
        swarms.drop_output(tx, swarm_id)
    tx.ring("swarms")
    tx.emit(
        f"swarm.{state}",
        swarm=swarm_id,
        data={
            "outcome": outcome,
            "tasks": tasks.counts(tx.db, swarm_id),
            "agents": agents.counts(tx.db, swarm_id),
        },
    )


def set_paused(tx: Tx, attempt_id: str, *, paused: bool) -> None:
    """The kernel has stopped the attempt's tree, or let it go on. Without effect where that is known."""
    attempt = attempts.get(tx.db, attempt_id)
    seat = agents.get(tx.db, attempt.agent_id)
    if attempt.state not in attempt_rules.OPEN or seat.state != ("running" if paused else "paused"):
        return
    agents.set_state(tx, seat, "paused" if paused else "running", liveness="alive")
    count_time(tx, seat.id)
    kind = "agent.paused" if paused else "agent.resumed"
    tx.emit(kind, swarm=seat.swarm_id, agent=seat.id, task=attempt.task_id)


def count_time(tx: Tx, agent_id: str) -> None:
    """The time of the agent's run counts while it is neither paused nor waits for a yes."""
    attempt = attempts.open_of_agent(tx.db, agent_id)
    if attempt is None or attempt.state != "running":
        return
    if agents.get(tx.db, agent_id).state == "paused" or approvals.holds(tx.db, agent_id):
        attempts.hold_clock(tx, attempt.id)
    else:
        attempts.run_clock(tx, attempt.id)


def _leave(tx: Tx, swarm_id: str, cause: str) -> None:
    """A budget has ended the last seat: another one would spend what this one was not to. So nobody does
    what is left.
    """
    for task in tasks.open_tasks(tx.db, swarm_id):
        if tasks.get(tx.db, task.id).state in task_rules.OPEN:  # not ended with one that it needs
            cancel_task(tx, task, cause)


def _give_back(tx: Tx, task: TaskRow, attempt: AttemptRow, *, reason: str, jitter: float) -> None:
    """A run that does not count: the task is ready again, or soon where its launch never begins."""
    delay_s = 0.0
    if attempt.stop is None:
        unlaunched = reason == attempt_rules.UNLAUNCHED
        never = attempts.never_count(tx.db, task.id, unlaunched=unlaunched)
        delay_s = healing.never_delay_s(never, jitter, unlaunched=unlaunched)
    data = {"delay_s": round(delay_s, 3), "reason": reason, "counted": False}
    tx.emit("task.retrying", swarm=task.swarm_id, agent=attempt.agent_id, task=task.id, data=data)
    if delay_s:
        retry_at_ms = tx.now_ms + round(delay_s * 1_000)
        tasks.set_state(tx, task, "retrying", cause=reason, retry_at_ms=retry_at_ms)
        tx.ring("queue")
    else:
        make_ready(tx, task)


def _complete(tx: Tx, task: TaskRow, ending: attempt_rules.Ending) -> None:
    tasks.set_result(tx, task.id, ending.result, cut=ending.result_cut)
    _end_task(tx, task, "completed", None)


def _heal(
    tx: Tx, task: TaskRow, attempt: AttemptRow, ending: attempt_rules.Ending, *, lost: bool, jitter: float
) -> None:
    """A failed attempt: the task is tried again later, or it is dead."""
    reason = ending.reason
    swarm = swarms.get(tx.db, task.swarm_id)
    failed = task.attempts if lost else tasks.count_attempt(tx, task.id)
    verdict = healing.after_failure(
        failed=failed,
        lost=tasks.count_lost(tx, task.id) if lost else task.lost,
        retries=swarm.retries,
        reason=reason,
        jitter=jitter,
    )
    where = {"swarm": task.swarm_id, "agent": attempt.agent_id, "task": task.id}
    if lost and swarm.mode == gateways.MODE:
        tasks.pin(tx, task.id, attempt.agent_id)  # the gateway's next start has its session, as that agent's
    if lost:
        tx.emit("agent.lost", **where, data={"attempt": attempt.number, "reason": reason})
    else:
        tx.emit("task.failed", **where, data={"attempt": attempt.number, "reason": reason})
    if isinstance(verdict, healing.GiveUp) or not ending.retry:
        _end_task(tx, task, "dead", verdict.cause if isinstance(verdict, healing.GiveUp) else reason)
        return
    retry_at_ms = tx.now_ms + round(verdict.delay_s * 1_000)
    tasks.set_state(tx, task, "retrying", cause=reason, retry_at_ms=retry_at_ms)
    tx.emit("task.retrying", **where, data={"delay_s": round(verdict.delay_s, 3), "reason": reason})
    tx.ring("queue")


def _end_task(tx: Tx, task: TaskRow, state: str, cause: str | None) -> None:
    """Ends a task and lets its dependents go; where it did not complete, all that needs it is cancelled."""
    left: list[tuple[TaskRow, str, str | None]] = [(task, state, cause)]
    while left:  # not a recursion: a pipeline may have 10,000 stages
        ended, state, cause = left.pop()
        tasks.set_state(tx, ended, state, cause=cause)
        data = {"cause": cause} if cause else {}
        tx.emit(f"task.{state}", swarm=ended.swarm_id, agent=ended.agent_id, task=ended.id, data=data)
        if state == "completed":
            for dependent in tasks.release(tx, ended.id):
                make_ready(tx, dependent)
            continue
        why = f"it needs task {ended.id}, which is {state}"
        left += [(each, "cancelled", why) for each in reversed(tasks.waiting_dependents(tx.db, ended.id))]


def _ended_late(tx: Tx, attempt: AttemptRow, task: TaskRow, ending: attempt_rules.Ending) -> None:
    if attempt.state != "lost" or attempt.late or ending.state != "succeeded":
        return
    attempts.set_late(tx, attempt.id)
    accepted = task.state in ("retrying", "ready")
    data = {"attempt": attempt.number, "late": True, "accepted": accepted}
    tx.emit("agent.status", swarm=task.swarm_id, agent=attempt.agent_id, task=task.id, data=data)
    if accepted:
        attempts.set_ended(tx, attempt, "succeeded", ending)
        _complete(tx, task, ending)
        settle_swarm(tx, task.swarm_id)
