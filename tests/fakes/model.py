"""Dash as plain dicts: what swarms, seats, tasks and attempts look like after each thing that can happen.

It is written from the design and the drawings in `domain/`, shares no code with them, and is slow and obvious
on purpose. tests/model compares the real store with it, step by step.
"""

from dataclasses import dataclass

TASK_ENDED = ("completed", "dead", "cancelled")
SEAT_ENDED = ("completed", "failed", "killed")
SWARM_ENDED = ("completed", "failed", "destroyed")
ATTEMPT_OPEN = ("claimed", "running")
WORKING = ("spawning", "running", "paused")
LOST_MAX = 10


class Refusal(Exception):
    """The name of the error that a call must be answered with."""


@dataclass
class Swarm:
    id: str
    retries: int
    agents_max: int
    level: int
    state: str = "active"
    wanted: str = "run"
    outcome: str | None = None


@dataclass
class Seat:
    id: str
    swarm: str
    number: int
    state: str = "idle"
    wanted: str = "run"
    task: str | None = None


@dataclass
class Task:
    id: str
    swarm: str
    number: int
    level: int
    born: int
    """Running number over all swarms: its age."""
    after: tuple[str, ...] = ()
    state: str = "ready"
    pinned: str | None = None
    seat: str | None = None
    failed: int = 0
    lost: int = 0
    due_ms: int | None = None


@dataclass
class Attempt:
    id: str
    task: str
    seat: str
    number: int
    state: str = "claimed"
    stop: str | None = None
    late: bool = False


class Dash:
    """Everything there is."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.swarms: dict[str, Swarm] = {}
        self.seats: dict[str, Seat] = {}
        self.tasks: dict[str, Task] = {}
        self.attempts: dict[str, Attempt] = {}

    # --- looking ------------------------------------------------------------------------------------------

    def seats_of(self, swarm: str, *states: str) -> list[Seat]:
        return [s for s in self.seats.values() if s.swarm == swarm and (not states or s.state in states)]

    def open_seats(self, swarm: str) -> list[Seat]:
        return self.seats_of(swarm, "idle", *WORKING)

    def tasks_of(self, swarm: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.swarm == swarm]

    def open_attempts(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.state in ATTEMPT_OPEN]

    def run_of(self, *, task: str | None = None, seat: str | None = None) -> Attempt | None:
        found = [run for run in self.open_attempts() if task in (None, run.task) and seat in (None, run.seat)]
        assert len(found) <= 1
        return found[0] if found else None

    def startable(self) -> list[tuple[Task, str]]:
        """Ready tasks that a seat may take now, each with the seat that would, in the order of the queue."""
        found = []
        for task in self.tasks.values():
            swarm = self.swarms[task.swarm]
            free = sorted(
                (s for s in self.seats_of(task.swarm, "idle") if s.wanted == "run"), key=lambda s: s.number
            )
            if task.pinned:
                free = [s for s in free if s.id == task.pinned]
            elif again := [s for s in free if s.id == task.seat]:
                free = again
            if task.state == "ready" and (swarm.state, swarm.wanted) == ("active", "run") and free:
                found.append((task, free[0].id))
        return sorted(found, key=lambda each: (each[0].level, each[0].born))

    # --- the queue and the world --------------------------------------------------------------------------

    def claim(self, now_ms: int) -> list[str]:
        """Wakes what is due and fills the free slots; the attempts made, in order."""
        for task in self.tasks.values():
            if task.state == "retrying" and task.due_ms is not None and task.due_ms <= now_ms:
                task.state, task.due_ms = "ready", None
        made = []
        while len(self.open_attempts()) < self.slots and (found := self.startable()):
            task, seat = found[0]
            number = 1 + sum(run.task == task.id for run in self.attempts.values())
            run = Attempt(f"{task.id}.{number}", task.id, seat, number)
            self.attempts[run.id] = run
            task.state, task.seat, task.due_ms = "running", seat, None
            self.seats[seat].state, self.seats[seat].task = "spawning", task.id
            made.append(run.id)
        return made

    def start(self, attempt: str) -> None:
        run = self.attempts[attempt]
        if run.state == "claimed":
            run.state = "running"
            self.seats[run.seat].state = "running"

    def stopped(self, attempt: str, paused: bool) -> None:
        """The kernel has stopped the tree, or let it go on."""
        seat = self.seats[self.attempts[attempt].seat]
        if self.attempts[attempt].state in ATTEMPT_OPEN and seat.state == ("running" if paused else "paused"):
            seat.state = "paused" if paused else "running"

    def over_time(self, attempt: str) -> None:
        run = self.attempts[attempt]
        run.stop = run.stop or "timeout"

    def end(self, attempt: str, how: str, now_ms: int) -> None:
        """`how` is succeeded, failed, lost or never."""
        run = self.attempts[attempt]
        task = self.tasks[run.task]
        if run.state not in ATTEMPT_OPEN:
            self._end_late(run, task, how)
            return
        stopped = run.stop in ("cancel", "kill", "requeue")
        if how == "succeeded":
            run.state = "succeeded"
            self._end_task(task, "completed")
        elif how == "never" or stopped:
            run.state = "cancelled"
            self._after_stop(run, task, now_ms)
        else:
            run.state = "lost" if how == "lost" and run.stop is None else "failed"
            self._after_failure(run, task, now_ms)
        self._free(self.seats[run.seat])
        self._settle(task.swarm)

    def _after_stop(self, run: Attempt, task: Task, now_ms: int) -> None:
        if run.stop in ("cancel", "kill"):
            self._end_task(task, "cancelled")
            return
        unasked = [
            each for each in self.attempts.values()
            if each.task == task.id and each.state == "cancelled" and each.stop is None
        ]  # fmt: skip
        task.state = "ready"
        if run.stop is None and len(unasked) > 1:
            task.state, task.due_ms = "retrying", now_ms + delay_ms(len(unasked) - 1, 600.0)

    def _after_failure(self, run: Attempt, task: Task, now_ms: int) -> None:
        task.failed += run.state == "failed"
        task.lost += run.state == "lost"
        if task.failed > self.swarms[task.swarm].retries or task.lost > LOST_MAX:
            self._end_task(task, "dead")
        else:
            task.state, task.due_ms = "retrying", now_ms + delay_ms(task.failed + task.lost)

    def _end_late(self, run: Attempt, task: Task, how: str) -> None:
        if run.state == "lost" and how == "succeeded" and not run.late:
            run.late = True
            if task.state in ("ready", "retrying"):
                run.state = "succeeded"
                self._end_task(task, "completed")
                self._settle(task.swarm)

    def _end_task(self, task: Task, state: str) -> None:
        task.state, task.due_ms = state, None
        for other in self.tasks.values():
            if task.id in other.after and other.state == "waiting":
                if state != "completed":
                    self._end_task(other, "cancelled")
                elif all(self.tasks[before].state == "completed" for before in other.after):
                    other.state = "ready"

    def _free(self, seat: Seat) -> None:
        swarm = self.swarms[seat.swarm]
        waits = [t for t in self.tasks_of(swarm.id) if t.state in ("waiting", "ready", "retrying")]
        if seat.wanted == "kill" or swarm.wanted == "destroy":
            self._leave(seat, killed=True)
        elif not waits or len(self.open_seats(swarm.id)) > swarm.agents_max:
            self._leave(seat)
        else:
            seat.state = "idle"

    def _leave(self, seat: Seat, *, killed: bool = False) -> None:
        failed = seat.task is not None and self.tasks[seat.task].state == "dead"
        seat.state = "killed" if killed else "failed" if failed else "completed"
        for task in self.tasks.values():
            if task.pinned == seat.id:
                task.pinned = None

    def _settle(self, id_: str) -> None:
        swarm = self.swarms[id_]
        busy = [run for run in self.open_attempts() if self.seats[run.seat].swarm == id_]
        if swarm.state in SWARM_ENDED or busy:
            return
        states = [task.state for task in self.tasks_of(id_)]
        if any(state not in TASK_ENDED for state in states):
            self._ensure_one(id_)
            return
        done = states.count("completed")
        swarm.outcome = "none" if not done else "complete" if done == len(states) else "partial"
        swarm.state = "completed" if done else "failed"
        if swarm.wanted == "destroy":
            swarm.state = "destroyed"
        for seat in self.open_seats(id_):
            self._leave(seat, killed=swarm.wanted == "destroy")

    # --- calls --------------------------------------------------------------------------------------------

    def create(self, id_: str, strategy: str, count: int, *, agents: int, retries: int, level: int) -> None:
        self.swarms[id_] = Swarm(id_, retries, agents, level)
        names = [f"{id_}-t{number}" for number in range(1, count + 1)]
        for index, name in enumerate(names):
            after: tuple[str, ...] = ()
            if strategy == "pipeline" and index:
                after = (names[index - 1],)
            if strategy == "map-reduce" and index == count - 1:
                after = tuple(names[:-1])
            self._add_task(
                Task(name, id_, index + 1, level, len(self.tasks), after, "waiting" if after else "ready")
            )
        for _ in range(min(agents, count)):
            self._add_seat(id_)

    def spawn(self, id_: str, level: int | None) -> None:
        swarm = self._open_swarm(id_)
        seat = self._add_seat(id_)
        if len(self.open_seats(id_)) > swarm.agents_max:
            swarm.agents_max += 1
        number = len(self.tasks_of(id_)) + 1
        task = Task(f"{id_}-t{number}", id_, number, swarm.level if level is None else level, len(self.tasks))
        task.pinned = seat.id
        self._add_task(task)

    def pause_swarm(self, id_: str, paused: bool) -> None:
        swarm = self.swarms[id_]
        state = "paused" if paused else "active"
        if swarm.state != state:
            self._open_swarm(id_).state = state

    def scale(self, id_: str, agents: int) -> None:
        swarm = self._open_swarm(id_)
        swarm.agents_max = agents
        staying = [seat for seat in self.open_seats(id_) if seat.wanted != "kill"]
        for _ in range(agents - len(staying)):
            self._add_seat(id_)
        idle = [seat for seat in staying if seat.state == "idle"]
        for seat in idle[::-1][: max(0, len(staying) - agents)]:
            self._leave(seat)

    def destroy(self, id_: str) -> None:
        swarm = self.swarms[id_]
        if swarm.state in SWARM_ENDED or swarm.wanted == "destroy":
            return
        swarm.wanted = "destroy"
        for task in self.tasks_of(id_):
            self._cancel(task)
        self._settle(id_)

    def pause_agent(self, id_: str, paused: bool) -> None:
        seat = self.seats[id_]
        if seat.state in SEAT_ENDED or seat.wanted == "kill":
            raise Refusal("IllegalTransition")
        if not paused and seat.wanted == "run" and self.swarms[seat.swarm].state == "paused":
            raise Refusal("Conflict")
        seat.wanted = "pause" if paused else "run"

    def kill(self, id_: str, requeue: bool) -> None:
        seat = self.seats[id_]
        if seat.state in SEAT_ENDED or seat.wanted == "kill":
            return
        seat.wanted = "kill"
        if not requeue:
            for task in list(self.tasks.values()):
                mine = task.id == seat.task and task.seat == id_ and task.state in ("ready", "retrying")
                pinned = task.pinned == id_ and task.state in ("waiting", "ready", "retrying")
                if mine or pinned:
                    self._end_task(task, "cancelled")
        if run := self.run_of(seat=id_):
            ask(run, "requeue" if requeue else "kill")
        else:
            self._leave(seat, killed=True)
        self._settle(seat.swarm)

    def cancel(self, id_: str) -> None:
        self._cancel(self.tasks[id_])
        self._settle(self.tasks[id_].swarm)

    def retry(self, id_: str, seat_id: str | None = None) -> None:
        task = self.tasks[id_]
        self._open_swarm(task.swarm)
        if task.state not in ("dead", "cancelled", "retrying"):
            raise Refusal("IllegalTransition")
        if task.state != "retrying":
            if any(self.tasks[before].state != "completed" for before in task.after):
                raise Refusal("Conflict")
            task.failed, task.lost, task.pinned = 0, 0, None
        task.state, task.due_ms = "ready", None
        seat = self.seats.get(seat_id or task.seat or "")
        if (
            seat
            and seat.state in SEAT_ENDED
            and len(self.open_seats(task.swarm)) < self.swarms[task.swarm].agents_max
        ):
            seat.state, seat.wanted = "idle", "run"
        self._refill(task.swarm)
        self._ensure_one(task.swarm)

    def retry_agent(self, id_: str) -> None:
        task = self.seats[id_].task
        if task is None:
            raise Refusal("Conflict")
        self.retry(task, id_)

    def requeue_all(self) -> None:
        for run in self.open_attempts():
            ask(run, "requeue")

    def _cancel(self, task: Task) -> None:
        if task.state in TASK_ENDED:
            return
        if run := self.run_of(task=task.id):
            ask(run, "cancel")
        else:
            self._end_task(task, "cancelled")

    def _open_swarm(self, id_: str) -> Swarm:
        swarm = self.swarms[id_]
        if swarm.state in SWARM_ENDED or swarm.wanted == "destroy":
            raise Refusal("SwarmEnded")
        return swarm

    def _refill(self, swarm: str) -> None:
        """Seats that ended as nothing was left for them come back, for as many tasks as there are."""
        tasks = sum(task.state not in TASK_ENDED for task in self.tasks_of(swarm))
        wanted = min(self.swarms[swarm].agents_max, tasks) - len(self.open_seats(swarm))
        ended = [each for each in self.seats_of(swarm) if each.state in ("completed", "failed")]
        for seat in [each for each in ended if each.wanted == "run"][: max(0, wanted)]:
            seat.state = "idle"

    def _ensure_one(self, swarm: str) -> None:
        if not self.open_seats(swarm):
            self._add_seat(swarm)

    def _add_seat(self, swarm: str) -> Seat:
        number = len(self.seats_of(swarm)) + 1
        seat = Seat(f"{swarm}-{number:03d}", swarm, number)
        self.seats[seat.id] = seat
        return seat

    def _add_task(self, task: Task) -> None:
        self.tasks[task.id] = task


def ask(run: Attempt, stop: str) -> None:
    """The first reason stands, but an end for good overrides a run given back or over time."""
    if run.stop is None or (run.stop in ("requeue", "timeout") and stop in ("cancel", "kill")):
        run.stop = stop


def delay_ms(number: int, s_max: float = 30.0) -> int:
    """Half of 1 s x 2^n, at most so long: the random half is left out in the model tests."""
    return int(min(s_max, 2.0 ** (number - 1)) * 500)
