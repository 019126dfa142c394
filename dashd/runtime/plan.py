"""An attempt as the rows have it: its work, its walls, how far it had come, and what it was told."""

from dataclasses import dataclass, replace

from dashd.domain import asking, folders, repository
from dashd.domain.attempt import Stop
from dashd.domain.brief import Earlier
from dashd.domain.repository import Terms
from dashd.drivers.driver import Work
from dashd.store import (
    agents,
    approvals,
    attempts,
    gates,
    gateways,
    inputs,
    instances,
    sessions,
    swarms,
    tasks,
    workspaces,
)
from dashd.store.queue import Claim
from dashd.store.rows import Snapshot, SwarmRow

from .jails import Asked, asked_of
from .journal import Journal

EARLIER_MAX = 100
"""Results of earlier tasks that a task is told of."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the rows say about an attempt when it is taken up."""

    work: Work
    """Where there is a workspace already, in that."""
    driver: str
    model: str | None
    launch_id: str
    session: str
    """The launch in whose folder its program's session is, for programs that keep one."""
    seed: str | None
    """The checkpoint that the task's conversation begins from."""
    broken_off: bool
    """What that is a copy of was stopped at its work."""
    lease_s: float
    grace_s: float
    left_s: float
    spool_offset: int
    stop: Stop | None
    hold: bool
    hard: bool
    waits: bool
    asked: Asked
    grade: str | None
    """Of its walls; None where that has not been written down."""
    repo: Terms | None
    cwd: str
    """The swarm's: in the repository itself, where there is one."""
    journal: Journal
    messages: int
    gateway: bool
    """It runs in a gateway of its swarm's."""
    compacts: bool
    """The task is to sum up what it begins from."""
    keep: str
    """What that summary is not to leave out."""
    within: str | None
    """The launch of the gateway that it has begun to run in."""
    place: str | None
    """Which of several places it was given to: the name of an added gateway, or of an instance."""
    place_boot: str | None
    """The start of the added gateway that it has begun to run in."""
    session_boot: str | None
    """The start of the added gateway that its session was begun in."""
    follows_killed: bool
    """An attempt before it was killed at its work."""

    @property
    def begun(self) -> bool:
        """It has been let into a gateway, and may run there."""
        return self.within is not None or self.place_boot is not None


def read_plan(db: Snapshot, claim: Claim, steady_ms: int) -> Plan:
    """What there is to do; `steady_ms` is now, on the clock that goes on over a restart of dashd."""
    attempt = attempts.get(db, claim.attempt_id)
    task = tasks.get(db, attempt.task_id)
    swarm = swarms.get(db, task.swarm_id)
    seat = agents.get(db, attempt.agent_id)
    launch = attempts.launch(db, attempt.launch_id)
    asked = asked_in(db, swarm, seat.id)
    repo = repository.from_json(swarm.repo) if swarm.repo else None
    active_ms = attempt.active_ms
    if attempt.active_since_ms is not None:
        active_ms += max(0, steady_ms - attempt.active_since_ms)
    work = Work(
        argv=swarms.argv(swarm),
        item=task.item,
        task=swarm.goal if task.text is None else task.text,
        cwd=swarm.cwd,
        swarm_id=swarm.id,
        agent_id=seat.id,
        task_id=task.id,
        timeout_s=swarm.timeout_s,
        asks=_asks(swarm, asked, [gate.kind for gate in gates.every(db)]),
        earlier=tuple(Earlier(*each) for each in tasks.earlier(db, task.id, EARLIER_MAX)),
        program=instances.program(db, launch.place) if swarm.driver == instances.DRIVER else "",
    )
    session = sessions.begun_by(db, attempt)
    return Plan(
        work=work_in(work, _cwd(swarm, repo, asked), asked),
        driver=swarm.driver,
        model=swarm.model,
        launch_id=attempt.launch_id,
        session=session.id,
        session_boot=session.place_boot,
        follows_killed=attempts.follows_killed(db, attempt),
        seed=sessions.seed(db, task.id),
        compacts=sessions.compacts(db, task.id),
        keep=sessions.summary_keeps(db, task.id),
        broken_off=sessions.is_broken_off(db, task.id),
        lease_s=swarm.lease_s,
        grace_s=swarm.grace_s,
        left_s=max(0.0, swarm.timeout_s - active_ms / 1_000),
        spool_offset=launch.spool_offset,
        stop=attempt.stop,  # type: ignore[arg-type]  # the table's CHECK is the domain's Literal
        hold=seat.wanted == "pause" or swarm.state == "paused",
        hard=seat.wanted == "pause" and bool(seat.hard),
        waits=approvals.holds(db, seat.id),
        asked=asked,
        repo=repo,
        cwd=swarm.cwd,
        grade=launch.grade,
        journal=Journal(tuple(inputs.of_launch(db, attempt.launch_id))),
        messages=inputs.message_count(db, attempt.id),
        gateway=swarm.mode == gateways.MODE,
        within=launch.within,
        place=launch.place,
        place_boot=launch.place_boot,
    )


def _asks(swarm: SwarmRow, asked: Asked, kinds: list[str]) -> tuple[asking.Kind, ...]:
    found = asking.unheard if swarm.mode == gateways.MODE else asking.kinds
    return found(asked.scope, kinds)


def _cwd(swarm: SwarmRow, repo: Terms | None, asked: Asked) -> str:
    if repo is None or asked.cwd == swarm.cwd:  # it has no workspace yet
        return swarm.cwd
    return repo.inside(swarm.cwd, asked.cwd)


def work_in(work: Work, cwd: str, asked: Asked) -> Work:
    """The work as it is done in a folder and behind these walls, which its agent is told of."""
    write = tuple(folders.absolute(each, asked.cwd) for each in asked.scope.write or ())
    return replace(work, cwd=cwd, write=write if asked.required else None)


def asked_in(db: Snapshot, swarm: SwarmRow, agent_id: str) -> Asked:
    """The walls of one agent; folders are those of its workspace, where there is one already."""
    asked = asked_of(swarm, agents.scope_of(agents.get(db, agent_id), swarm))
    repo = repository.from_json(swarm.repo) if swarm.repo else None
    tree = workspaces.find(db, repo.owner(swarm.id, agent_id)) if repo else None
    return replace(asked, cwd=tree.path) if tree and tree.path else asked
