"""An agent asks before it acts: answered from the rows, at once or when somebody has decided.

The reference of a request is attempt, call and what is asked, so an agent that asks again after a restart
of dashd finds its request, or the answer. The name of a call is not enough: a program may take it from its
model, and some number the calls of each answer from zero. While a request is open its agent is held: its time
does not run, and the proxy holds its next model call. Whoever could decide is out of an agent's reach: it has
no way to that door.
"""

import hashlib
from functools import partial

from dashd.domain import asking
from dashd.domain.asking import Answer, Ask, Needs
from dashd.domain.attempt import OPEN
from dashd.store import approvals, attempts, decisions, gates, swarms
from dashd.store.decisions import Asked, Question
from dashd.store.queue import Claim
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx

from . import approvals as waiting
from .plan import asked_in
from .world import World

OPEN_MAX = 8
"""Requests of one agent that are open at once, over all its connections."""
REF_DIGITS = 32
"""Of the digest of what is asked."""


class Asks:
    """Answers agents, each known by its claim."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, claim: Claim, ask: Ask) -> Answer:
        """Whether it may. Cancellable; the request stays, until its attempt ends."""
        found = await self._world.store.own.read(partial(_judge, claim, ask))
        if isinstance(found, Needs):
            found = await self._world.commit(partial(_request, claim, ask))
        if isinstance(found, Asked):
            found = _told(ask, await waiting.settle(self._world, found))
        return found


def _judge(claim: Claim, ask: Ask, db: Snapshot) -> Answer | Asked | Needs:
    attempt = attempts.get(db, claim.attempt_id)
    if attempt.state not in OPEN or attempt.stop is not None:
        return Answer("deny", "this attempt is over")
    if (known := approvals.of_ref(db, _ref(claim, ask))) is not None:
        return decisions.standing(known)
    swarm = swarms.get(db, claim.swarm_id)
    walls = asked_in(db, swarm, claim.agent_id)
    return asking.judge(walls.scope, walls.cwd, ask, gates.of_kind(db, ask.kind))


def _request(claim: Claim, ask: Ask, tx: Tx) -> Answer | Asked:
    """Judged anew: what was read before the transaction decides nothing."""
    found = _judge(claim, ask, tx.db)
    if not isinstance(found, Needs):
        return found
    if len(approvals.open_of_agent(tx.db, claim.agent_id)) >= OPEN_MAX:
        return Answer("deny", f"{OPEN_MAX} of your requests wait for an approval already")
    question = Question(
        kind=ask.kind,
        what=ask.what,
        text=found.text,
        asked_by=claim.agent_id,
        swarm=claim.swarm_id,
        agent=claim.agent_id,
        context={"task": claim.task_id, "attempt": claim.attempt_id},
        ref=_ref(claim, ask),
    )
    return Asked("wait", found.gate.name, decisions.request(tx, found.gate, question))


def _ref(claim: Claim, ask: Ask) -> str:
    said = hashlib.sha256(f"{ask.kind}\0{ask.text}".encode()).hexdigest()
    return f"{claim.attempt_id}/{ask.call}/{said[:REF_DIGITS]}"


def _told(ask: Ask, asked: Asked) -> Answer:
    row = asked.approval
    assert row is not None, "only a request is waited for"
    note = f": {row.note}" if row.note else ""
    if asked.verdict == "allow":
        return Answer("allow", f"approval {row.id} was given{note}")
    return Answer("deny", f"not allowed: {ask.what[:500]}; approval {row.id} was refused{note}")
