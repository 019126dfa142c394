"""Where programs keep their conversations: in the folder of their launch, for an agent to write in.

An attempt whose forerunner was killed goes on in that one's session, so what stands there is what its tools
have done. Nobody else writes it: the forerunner is over before the row of the next attempt is there, and each
attempt's holder has a lock beside the folder for its life, so that dashd's death changes nothing. At the end
of each attempt a copy is kept, and a task that was forked begins with one.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from dashd import threads
from dashd.domain import ids
from dashd.domain.session_tree import NotASession, NothingThere, NotReadInTime
from dashd.drivers.driver import Session, SessionFormat
from dashd.jail.launcher import LaunchFailed
from dashd.jail.view import Folder
from dashd.store import attempts, session_moves, sessions
from dashd.store.queue import Claim
from dashd.store.sessions import CheckpointRow
from dashd.store.transaction import Tx

from .jails import Asked
from .plan import Plan
from .transcripts import NAME
from .workspaces import spoken
from .world import World

log = logging.getLogger(__name__)
LOCK = "session.lock"
TRIES_MAX = 3
"""To read a session that an agent waits for, to go on with it elsewhere: the old one has ended already."""
PROBLEM_CHARACTERS_MAX = 300
"""Of why a session cannot be read, which may quote what its agent has written."""


def planned(world: World, plan: Plan) -> Plan:
    """The plan, with what its program's session holds before it starts; the same whenever it is asked."""
    if plan.gateway or not world.drivers[plan.driver].keeps_session:
        return plan
    session = Session(
        str(_folder(world, plan)),
        forked=plan.seed is not None,
        resumed=plan.session != plan.launch_id,
        compacts=plan.compacts,
        keep=plan.keep,
        broken_off=plan.broken_off,
    )
    return replace(plan, work=replace(plan.work, session=session))


def lock(world: World, plan: Plan) -> str | None:
    """The file that is locked by whoever writes in the attempt's session."""
    return str(_folder(world, plan).with_name(LOCK)) if plan.work.session else None


async def begin(world: World, plan: Plan) -> None:
    """The folder of its program's session is there then, with what it begins from. Raises LaunchFailed."""
    if (found := plan.work.session) is None:
        return
    form = world.drivers[plan.driver].sessions
    try:
        await threads.run(_make, _folder(world, plan))
        if plan.seed is not None and not found.resumed:
            assert form is not None, "there are checkpoints of what can be read alone"
            await _sow(world, plan, plan.seed, form)
    except OSError as error:
        raise LaunchFailed(f"no folder for its session: {error.strerror}") from None
    except NotASession as error:
        raise LaunchFailed(f"its session cannot begin from checkpoint {plan.seed}: {error}") from None


def shown(world: World, plan: Plan, asked: Asked) -> Asked:
    """The walls, and inside them the session's folder, which counts like all that an agent writes."""
    if plan.work.session is None:
        return asked
    return replace(asked, write_too=(*asked.write_too, Folder(str(_folder(world, plan)))))


def opened(tx: Tx, claim: Claim, plan: Plan) -> None:
    """The program of the attempt runs, and has the session from now on."""
    if plan.work.session is None:
        return
    attempt = attempts.get(tx.db, claim.attempt_id)
    row = sessions.find(tx.db, plan.session)
    if row is not None and row.attempt_id == attempt.id:
        return
    is_new = sessions.opened(tx, plan.session, attempt, claim.swarm_id, plan.driver)
    data = {"session": plan.session, "driver": plan.driver, "resumed": not is_new}
    tx.emit("session.opened", swarm=claim.swarm_id, agent=claim.agent_id, task=claim.task_id, data=data)


async def keep(world: World, claim: Claim, plan: Plan) -> Callable[[Tx], None]:
    """Copies the session of an attempt whose program is gone; gives what is to be written down with its end.

    What cannot be read is said, and nothing else comes of it: the work is done, the talk about it is lost.
    """
    form = world.drivers[plan.driver].sessions
    if plan.work.session is None:
        return lambda _tx: None
    row, problem = None, ""
    try:
        row = await _kept(world, plan, form) if form is not None else None
    except NothingThere:
        pass
    except (OSError, NotASession) as error:
        problem = spoken(str(error)[:PROBLEM_CHARACTERS_MAX])  # it may name a file as an agent has named it
        _say_none(plan.session, problem)
    return partial(_ended, world, claim, plan, row, problem)


def _say_none(session: str, why: str) -> None:
    log.warning("no checkpoint", extra={"session": session, "why": why})


def _ended(world: World, claim: Claim, plan: Plan, row: CheckpointRow | None, problem: str, tx: Tx) -> None:
    """To be called once the end of the attempt is in the rows."""
    if sessions.find(tx.db, plan.session) is None:
        if row is not None:
            tx.after_commit(partial(world.transcripts.forget, [row.id]))
        return  # nothing of it ever ran
    where = {"swarm": claim.swarm_id, "agent": claim.agent_id, "task": claim.task_id}
    if row is not None:
        needed = session_moves.is_open(tx.db, plan.session)
        gone, full = sessions.keep_newest(tx, row, world.checkpoints_bytes_max, needed=needed)
        if full:
            gone, row, problem = [row.id], None, f"no checkpoint of it was kept: {full}"
            tx.after_commit(partial(_say_none, plan.session, problem))
        tx.after_commit(partial(world.transcripts.forget, gone))
    session_moves.ended(tx, plan.session, row.id if row else None, problem)
    if problem:
        tx.emit("session.error", **where, data={"session": plan.session, "reason": problem})
    if not attempts.leaves_session(attempts.get(tx.db, claim.attempt_id)):
        checkpoint = row.id if row else None
        tx.emit("session.closed", **where, data={"session": plan.session, "checkpoint": checkpoint})


async def _kept(world: World, plan: Plan, form: SessionFormat) -> CheckpointRow | None:
    """A copy of all that is there, as the last step left it."""
    data = await _read(world, plan, form)
    found = await threads.run(form.read, data)
    if (step := found.tree.leaf) is None:
        return None
    checkpoint_id = ids.checkpoint_id(world.clock.token(ids.SWARM_ID_BITS))
    await world.transcripts.keep(checkpoint_id, data)
    return CheckpointRow(
        id=checkpoint_id,
        session_id=plan.session,
        kind=sessions.AUTOMATIC,
        name="",
        step=step,
        steps=len(found.tree.nodes),
        bytes=len(data),
        at_ms=world.clock.now_ms(),
    )


async def _read(world: World, plan: Plan, form: SessionFormat) -> bytes:
    """All that is there; where a new agent waits for it, tried again while the machine is too busy."""
    is_awaited = await world.store.own.read(lambda db: session_moves.is_open(db, plan.session))
    for _ in range(TRIES_MAX - 1 if is_awaited else 0):
        with contextlib.suppress(NotReadInTime):
            return await world.transcripts.live(form, plan.session)
    return await world.transcripts.live(form, plan.session)


async def _sow(world: World, plan: Plan, checkpoint_id: str, form: SessionFormat) -> None:
    """Writes what the session begins from, for the folder that the agent works in.

    Where a tool call is open in it, it begins before that, as a fork does: the call may be at work. An agent
    that is told so begins with it.
    """
    try:
        data = await world.transcripts.kept(checkpoint_id)
    except FileNotFoundError:
        raise NotASession("somebody has removed its file from Dash's state directory") from None
    row = await world.store.own.read(lambda db: sessions.begun_with(db, plan.work.task_id))

    def sow() -> None:
        found = form.read(data)
        leaf = row.step if row and row.step in found.tree.nodes else found.tree.leaf
        if leaf is None:
            raise NotASession("nothing was said in it")
        if not plan.broken_off:
            leaf = found.tree.resumable(leaf).id
        at_ms = world.clock.now_ms()
        seed = found.cut(leaf, session_id=form.session_id, cwd=plan.work.cwd, at_ms=at_ms)
        path = _folder(world, plan) / form.file_name(at_ms)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(seed)

    await threads.run(sow)


def _folder(world: World, plan: Plan) -> Path:
    return world.folder(plan.session) / NAME


def _make(folder: Path) -> None:
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
