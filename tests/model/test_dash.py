"""Any order of calls and events, in the real store and in plain dicts: after each step both must look alike.

The rules of the machine are everything that callers may ask and that may happen to a process. `DASH_TORTURE`
sets how many runs there are; without it the same ones are made each time. `DASH_SHRINK=1` looks for the
shortest run that fails.
"""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dashd.domain.attempt import Ending
from dashd.service import agents as agent_service
from dashd.service import swarms as swarm_service
from dashd.service import tasks as task_service
from dashd.store import agents, attempts, daemons, database, lifecycle, migrations, queue, stops
from dashd.wire.methods import agent as agent_wire
from dashd.wire.methods import swarm as swarm_wire
from dashd.wire.methods import task as task_wire
from dashd.wire.methods.table import PRIORITIES, Limits
from tests.fakes import model
from tests.fakes.clock import FixedClock
from tests.fakes.here import Here
from tests.model import invariants
from tests.model.real import MACHINES, Real

RUNS = int(os.environ.get("DASH_TORTURE", "100"))
STEPS = 80
LOOK_EVERY = 4
"""Steps from one look at the reports to the next, because each costs more than a step."""
ROUNDS_MAX = 6
SLOTS = 3
OPEN_MAX = 3
UNUSED = {"attempt a", "swarm a"}
"""Arrows that no part of this build takes: nothing is prepared before it runs, and swarms are born active."""

reached: Counter[str] = Counter()
template = Path(tempfile.mkdtemp(prefix="dash-model-"))


def setup_module() -> None:
    connection = database.connect(template / "empty.db")
    migrations.migrate(connection, template / "empty.db", FixedClock())
    database.close(connection, checkpoint=True)


def teardown_module() -> None:
    shutil.rmtree(template)


class DashMachine(RuleBasedStateMachine):
    """One run: a real store and a model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(shutil.copy(template / "empty.db", template / "run.db"))
        self.real = Real(self.path)
        self.model = model.Dash(SLOTS)
        self.steps = 0
        self.shrunk: set[str] = set()

    def teardown(self) -> None:
        reached.update(self.real.letters)
        self.real.close()
        for path in template.glob("run.db*"):
            path.unlink()

    # --- both sides ---------------------------------------------------------------------------------------

    def both(self, function: Any, params: Any, expected: Any) -> None:
        """The call, and what the model does; both refuse alike."""
        refusal = None
        try:
            expected()
        except model.Refusal as refused:
            refusal = str(refused)
        answer = self.real.call(function, params)
        assert (answer if isinstance(answer, str) else None) == refusal, f"{function.__name__}: {answer}"

    def pick(self, data: Any, found: Any, rather: Any = ()) -> Any:
        """One of those found; mostly one of `rather`, with which something would happen."""
        chosen = rather if rather and data.draw(strategies.integers(0, 3)) else found
        return data.draw(strategies.sampled_from(sorted(chosen)))

    def repairable(self) -> list[model.Task]:
        """Tasks that a retry would make ready."""
        found = [task for task in self.model.tasks.values() if task.state in ("dead", "cancelled")]
        return [task for task in found if self.model.swarms[task.swarm].state not in model.SWARM_ENDED]

    def some_runs(self, *states: str) -> list[str]:
        return [run.id for run in self.model.attempts.values() if run.state in states]

    # --- calls --------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.create_swarm("parallel", 3, 2, 1, 2)

    @precondition(
        lambda self: sum(s.state not in model.SWARM_ENDED for s in self.model.swarms.values()) < OPEN_MAX
    )
    @rule(
        strategy=strategies.sampled_from(["parallel", "pipeline", "map-reduce"]),
        count=strategies.integers(1, 4),
        agents=strategies.integers(1, 3),
        retries=strategies.integers(0, 2),
        level=strategies.integers(0, 3),
    )
    def create_swarm(self, strategy: str, count: int, agents: int, retries: int, level: int) -> None:
        created = self.real.call(
            swarm_service.create,
            swarm_wire.CreateSwarm(
                task="t",
                items=[str(number) for number in range(count)],
                agents=agents,
                strategy=strategy,  # type: ignore[arg-type]
                priority=PRIORITIES[level],
                limits=Limits(retries=retries),
            ),
        )
        assert isinstance(created, swarm_wire.SwarmCreated)
        self.model.create(created.id, strategy, count, agents=agents, retries=retries, level=level)

    @rule(data=strategies.data(), level=strategies.sampled_from([None, 0, 3]))
    def spawn(self, data: Any, level: int | None) -> None:
        id_ = self.pick(data, self.model.swarms)
        chosen = {} if level is None else {"priority": PRIORITIES[level]}
        params = agent_wire.SpawnAgent(task="t", swarm=id_, **chosen)  # type: ignore[arg-type]
        self.both(agent_service.spawn, params, lambda: self.model.spawn(id_, level))

    @rule(data=strategies.data(), paused=strategies.booleans())
    def pause_swarm(self, data: Any, paused: bool) -> None:
        id_ = self.pick(data, self.model.swarms)
        function = swarm_service.pause if paused else swarm_service.resume
        params = swarm_wire.PauseSwarm(swarm=id_) if paused else swarm_wire.ResumeSwarm(swarm=id_)
        self.both(function, params, lambda: self.model.pause_swarm(id_, paused))

    @rule(data=strategies.data(), count=strategies.integers(1, 4))
    def scale(self, data: Any, count: int) -> None:
        id_ = self.pick(data, self.model.swarms)
        params = swarm_wire.ScaleSwarm(swarm=id_, agents=count)
        self.shrunk |= {id_} if count < self.model.swarms[id_].agents_max else set()
        self.both(swarm_service.scale, params, lambda: self.model.scale(id_, count))

    @rule(data=strategies.data(), sure=strategies.integers(0, 5))
    def destroy(self, data: Any, sure: int) -> None:
        if sure == 5:
            id_ = self.pick(data, self.model.swarms)
            self.both(
                swarm_service.destroy, swarm_wire.DestroySwarm(swarm=id_), lambda: self.model.destroy(id_)
            )

    @rule(data=strategies.data(), paused=strategies.booleans())
    def pause_agent(self, data: Any, paused: bool) -> None:
        id_ = self.pick(data, self.model.seats)
        function = agent_service.pause if paused else agent_service.resume
        params = agent_wire.PauseAgent(agent=id_) if paused else agent_wire.ResumeAgent(agent=id_)
        self.both(function, params, lambda: self.model.pause_agent(id_, paused))

    @rule(data=strategies.data(), requeue=strategies.booleans())
    def kill(self, data: Any, requeue: bool) -> None:
        self._kill(
            self.pick(data, self.model.seats, [run.seat for run in self.model.open_attempts()]), requeue
        )

    def _kill(self, id_: str, requeue: bool) -> None:
        params = agent_wire.KillAgent(agent=id_, requeue=requeue)
        self.both(agent_service.kill, params, lambda: self.model.kill(id_, requeue))

    @rule(data=strategies.data())
    def retry_agent(self, data: Any) -> None:
        broken = {task.id for task in self.repairable()}
        rather = [s.id for s in self.model.seats.values() if s.state in model.SEAT_ENDED and s.task in broken]
        self._retry_agent(self.pick(data, self.model.seats, rather))

    def _retry_agent(self, id_: str) -> None:
        self.both(agent_service.retry, agent_wire.RetryAgent(agent=id_), lambda: self.model.retry_agent(id_))

    @rule(data=strategies.data())
    def cancel(self, data: Any) -> None:
        id_ = self.pick(data, self.model.tasks)
        self.both(task_service.cancel, task_wire.CancelTask(task=id_), lambda: self.model.cancel(id_))

    @rule(data=strategies.data())
    def retry(self, data: Any) -> None:
        id_ = self.pick(data, self.model.tasks, [task.id for task in self.repairable()])
        self.both(task_service.retry, task_wire.RetryTask(task=id_), lambda: self.model.retry(id_))

    # --- what happens -------------------------------------------------------------------------------------

    @rule(wait_ms=strategies.sampled_from([0, 0, 500, 1_000, 4_000, 40_000]))
    def claim(self, wait_ms: int) -> None:
        self._claim(wait_ms)

    def _claim(self, wait_ms: int) -> None:
        self.real.clock.advance(wait_ms)
        expected = self.model.claim(self.real.clock.now_ms())
        claimed = self.real.do(lambda tx: queue.claim(tx, SLOTS, Here()))
        assert [claim.attempt_id for claim in claimed.claims] == expected
        for claim in claimed.claims:
            run = self.model.attempts[claim.attempt_id]
            assert (claim.task_id, claim.agent_id) == (run.task, run.seat)
        due = [task.due_ms for task in self.model.tasks.values() if task.due_ms is not None]
        assert claimed.next_due_ms == min(due, default=None)

    @precondition(lambda self: self.some_runs("claimed"))
    @rule(data=strategies.data())
    def start(self, data: Any) -> None:
        self._start(self.pick(data, self.some_runs("claimed")))

    @rule(data=strategies.data(), how=strategies.sampled_from(["succeeded", "succeeded", "failed"]))
    def work(self, data: Any, how: str) -> None:
        """What mostly happens: everybody starts, and one of them ends."""
        self._claim(1_000)
        for id_ in self.some_runs("claimed"):
            self._start(id_)
        if running := self.some_runs("running"):
            self._end(self.pick(data, running), how)

    def _start(self, id_: str) -> None:
        self.real.do(lambda tx: lifecycle.attempt_started(tx, id_, pid=7, start_time=7, boot_id="b"))
        self.model.start(id_)

    @precondition(lambda self: self.model.open_attempts())
    @rule(data=strategies.data(), how=strategies.sampled_from(["succeeded", "failed", "lost", "never"]))
    def end(self, data: Any, how: str) -> None:
        if found := self.some_runs("claimed") if how == "never" else self.some_runs("claimed", "running"):
            self._end(self.pick(data, found), how)

    def _end(self, id_: str, how: str) -> None:
        ending = Ending(how, f"it {how}", result="r" if how == "succeeded" else "")  # type: ignore[arg-type]
        self.real.do(lambda tx: lifecycle.attempt_ended(tx, id_, ending, jitter=0.0))
        self.model.end(id_, how, self.real.clock.now_ms())

    @precondition(lambda self: self.some_runs("lost", "failed", "cancelled", "succeeded"))
    @rule(data=strategies.data(), how=strategies.sampled_from(["succeeded", "succeeded", "failed", "lost"]))
    def end_late(self, data: Any, how: str) -> None:
        tasks, runs = self.model.tasks, self.model.attempts
        lost = [id_ for id_ in self.some_runs("lost") if tasks[runs[id_].task].state in ("ready", "retrying")]
        self._end(self.pick(data, self.some_runs("lost", "failed", "cancelled", "succeeded"), lost), how)

    @precondition(lambda self: self.some_runs("running"))
    @rule(data=strategies.data(), again=strategies.booleans())
    def lost_and_found(self, data: Any, again: bool) -> None:
        """Given up, and its success comes to light before the retry is due."""
        id_ = self.pick(data, self.some_runs("running"))
        for how in ["lost", "succeeded", *(["succeeded"] if again else [])]:
            self._end(id_, how)

    @precondition(lambda self: self.some_runs("running"))
    @rule(data=strategies.data())
    def killed_and_regretted(self, data: Any) -> None:
        """An agent is killed, and once it has ended somebody wants it back."""
        id_ = self.pick(data, self.some_runs("running"))
        seat = self.model.attempts[id_].seat
        self._kill(seat, requeue=False)
        self._end(id_, "failed")
        self._retry_agent(seat)

    @precondition(lambda self: self.some_runs("running"))
    @rule(data=strategies.data())
    def over_time(self, data: Any) -> None:
        id_ = self.pick(data, self.some_runs("running"))
        self.real.do(lambda tx: attempts.ask_stop(tx, id_, "timeout"))
        self.model.over_time(id_)

    @precondition(lambda self: self.some_runs("running"))
    @rule(
        data=strategies.data(), news=strategies.sampled_from([[True], [False], [True, False], [True, True]])
    )
    def tree_stops_or_goes_on(self, data: Any, news: list[bool]) -> None:
        state = "running" if news[0] else "paused"
        runs = {run.id: self.model.seats[run.seat].state for run in self.model.open_attempts()}
        id_ = self.pick(data, runs, [id_ for id_, found in runs.items() if found == state])
        for paused in news:
            self.real.do(lambda tx, paused=paused: lifecycle.set_paused(tx, id_, paused=paused))
            self.model.stopped(id_, paused)

    @rule(sure=strategies.integers(0, 5))
    def stop_all_agents(self, sure: int) -> None:
        if sure == 5:
            self.real.do(stops.requeue_all)
            self.model.requeue_all()

    @rule(data=strategies.data())
    def restart(self, data: Any) -> None:
        """Every open attempt is looked at: what lives is adopted, what does not has ended somehow."""
        self.real.do(agents.doubt_all)
        self.real.do(daemons.raise_epoch)
        for id_ in self.some_runs("claimed", "running"):
            known = ["adopt", "adopt", "succeeded", "failed", "lost"]
            how = data.draw(
                strategies.sampled_from([*known, "never"] if id_ in self.some_runs("claimed") else known)
            )
            if how == "adopt":
                self._start(id_)
                self.real.do(
                    lambda tx, id_=id_: agents.set_liveness(tx, self.model.attempts[id_].seat, "alive")
                )
            else:
                self._end(id_, how)

    @invariant()
    def holds(self) -> None:
        """One rule for all invariants, so that a failure is printed as the steps alone."""
        invariants.alike(self.real, self.model)
        invariants.seats_and_attempts_and_tasks_agree(self.real, self.model)
        invariants.events_tell_the_state(self.real, self.model)
        invariants.nothing_is_stranded(self.model)
        invariants.nobody_works_beyond_the_size_of_the_swarm(self.model, self.shrunk)
        self.steps += 1
        if self.steps % LOOK_EVERY == 0:
            invariants.reports_add_up(self.real, self.model)
            invariants.agents_can_say_why(self.real, self.model)


def chosen(*, repeated: bool) -> settings:
    """`repeated`: the same runs each time."""
    return settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        derandomize=repeated,
        phases=[Phase.generate, *([Phase.shrink] if "DASH_SHRINK" in os.environ else [])],
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


TestDash = pytest.mark.slow(DashMachine.TestCase)
TestDash.settings = chosen(repeated="DASH_TORTURE" not in os.environ)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_every_arrow_of_every_machine_is_taken() -> None:
    """By the runs above, or by a few more of them where chance has left an arrow out."""
    drawn = {f"{noun} {letter}" for noun, machine in MACHINES.items() for letter in machine.arrows}
    for number in range(ROUNDS_MAX):
        if drawn - set(reached) == UNUSED:
            break
        run_state_machine_as_test(seed(number)(DashMachine), settings=chosen(repeated=False))
    assert drawn - set(reached) == UNUSED
