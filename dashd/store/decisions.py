"""Asking for a yes, giving it, and what follows from it: one place for callers and for the world.

To use a gate from anywhere inside an operation: `asked = decisions.ask(tx, Question(...))`, and go by
`asked.verdict`. Where it is `wait`, either name in `act` what is to follow (a row of ACTS below, done in the
very transaction of the decision), or wait for `approval.resolved` (`runtime.approvals.ask` does).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from dashd.domain import gates as rules
from dashd.domain.gates import Gate
from dashd.wire import errors
from dashd.wire.events import iso

from . import approvals, budgets, children, gates, landings, lifecycle, limits, stops, swarms, tasks
from .approvals import ApprovalRow
from .rows import Snapshot
from .transaction import Tx

DEADLINE: Final = "deadline"
"""Who decided, where nobody did in time."""
TEXT_CHARS_MAX: Final = 2_000


class Question(msgspec.Struct, frozen=True):
    """What somebody is about to do."""

    kind: rules.Kind
    what: str
    """A sentence for who decides; for command, path, tool and landing also what the pattern is matched with,
    unless `text` is given."""
    asked_by: str
    """Such as `orchestrator:claude`, or an agent's id."""
    text: str = ""
    amount: int = 0
    """Nano-dollars, or levels."""
    swarm: str | None = None
    agent: str | None = None
    context: dict[str, Any] = msgspec.field(default_factory=dict)
    ref: str = ""
    """Asked again under it (after a crash), the same question has the same answer, and is there once."""
    act: str = ""
    args: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """How it stands: go on, do not, or wait for `approval`."""

    verdict: Literal["allow", "deny", "wait"]
    gate: str = ""
    approval: ApprovalRow | None = None


def ask(tx: Tx, question: Question) -> Asked:
    """Whether it may be done; where a gate wants a yes for it, the request is there from now on."""
    if question.ref and (known := approvals.of_ref(tx.db, question.ref)) is not None:
        return standing(known)
    gate = judge(tx.db, question)
    if gate is None or gate.verdict == "allow":
        return Asked("allow", gate.name if gate else "")
    if gate.verdict == "deny":
        return Asked("deny", gate.name)
    return Asked("wait", gate.name, request(tx, gate, question))


def judge(db: Snapshot, question: Question) -> Gate | None:
    """The gate that decides about it; an operator's own act needs no yes, unless two must agree."""
    found = gates.of_kind(db, question.kind)
    gate = rules.judge(found, question.kind, question.text or question.what, question.amount)
    own = question.asked_by.startswith("operator:")
    return None if gate and own and gate.verdict == "ask" and not gate.two_person else gate


def standing(row: ApprovalRow) -> Asked:
    """What a request has come to."""
    verdicts: dict[str, Literal["allow", "deny", "wait"]] = {"open": "wait", "allowed": "allow"}
    return Asked(verdicts.get(row.state, "deny"), row.gate, row)


def request(tx: Tx, gate: Gate, question: Question) -> ApprovalRow:
    """Adds the request and tells whoever may decide."""
    assert question.act in ACTS, question.act
    row = approvals.insert(
        tx,
        ApprovalRow(
            number=None,
            gate=gate.name,
            kind=question.kind,
            what=question.what[:TEXT_CHARS_MAX],
            swarm_id=question.swarm,
            agent_id=question.agent,
            asked_by=question.asked_by,
            context=msgspec.json.encode(question.context).decode(),
            ref=question.ref,
            act=question.act,
            args=msgspec.json.encode(question.args).decode(),
            state="open",
            who=gate.who,
            two_person=int(gate.two_person),
            at_deadline=gate.at_deadline,
            deadline_at_ms=tx.now_ms + round(gate.deadline_s * 1_000),
            decided_by="",
            note="",
            asked_at_ms=tx.now_ms,
            decided_at_ms=None,
        ),
    )
    tx.emit("approval.requested", swarm=row.swarm_id, agent=row.agent_id, data=_told(row, question.context))
    tx.ring("approvals")
    _hold_or_let_go(tx, row)
    return row


def decide(tx: Tx, row: ApprovalRow, decision: str, by: str, note: str) -> ApprovalRow:
    """Closes an open request and does what follows, in one transaction."""
    closed = approvals.close(tx, row, "allowed" if decision == "allow" else "denied", by, note)
    ACTS[row.act](tx, closed)
    _hold_or_let_go(tx, row)
    return closed


def expire(tx: Tx) -> int | None:
    """Decides what nobody decided in time; gives the instant of the next deadline."""
    for row in approvals.due(tx.db, tx.now_ms):
        decide(tx, row, row.at_deadline, DEADLINE, "nobody decided in time")
    return approvals.next_due_ms(tx.db)


def _hold_or_let_go(tx: Tx, row: ApprovalRow) -> None:
    """An agent is held while a request of its own is open."""
    if row.agent_id is not None and not row.act:
        lifecycle.count_time(tx, row.agent_id)
        tx.ring("agents")


def _told(row: ApprovalRow, context: dict[str, Any]) -> dict[str, Any]:
    ways = f"approval.resolve {{approvals: [{row.id}], decision: allow}}, or deny"
    mine = f"{ways}, with a note that says why"
    theirs = f"tell the operator: dashctl approval resolve {row.id} allow (or deny)"
    return {
        "approval": row.id,
        "gate": row.gate,
        "kind": row.kind,
        "what": row.what,
        "context": context,
        "asked_by": row.asked_by,
        "who": row.who,
        "two_person": bool(row.two_person),
        "deadline": iso(row.deadline_at_ms),
        "at_deadline": row.at_deadline,
        "suggestion": mine if row.who == "orchestrator" else theirs,
    }


# --- what follows ------------------------------------------------------------------------------------------


def _nothing(_tx: Tx, _row: ApprovalRow) -> None:
    """Whoever waits for it goes on by itself."""


def _start_swarm(tx: Tx, row: ApprovalRow) -> None:
    """The swarm starts, or is over before it began."""
    swarm = swarms.find(tx.db, row.swarm_id or "")
    if swarm is None or swarm.state != "creating":
        return
    if row.state == "allowed":
        swarms.set_state(tx, swarm, "active")
        tx.emit("swarm.resumed", swarm=swarm.id, data={"by": "approval", "approval": row.id})
        tx.ring("queue")
        return
    swarms.want_destroyed(tx, swarm.id)
    why = f": {row.note}" if row.note else ""
    for task in tasks.open_tasks(tx.db, swarm.id):
        stops.cancel(tx, task, f"approval {row.id} was denied by {row.decided_by}{why}")
    lifecycle.settle_swarm(tx, swarm.id)


def _extend_budget(tx: Tx, row: ApprovalRow) -> None:
    """The budget is extended as it was asked, by what it is then."""
    if row.state != "allowed":
        return
    told = row.told
    before = budgets.find(tx.db, told["budget"])
    if before is not None:
        more = limits.fitting(before, limits.More(told["nusd"], told.get("tokens", 0)))
        limits.extend(tx, before, more, told["why"])


def _land(tx: Tx, row: ApprovalRow) -> None:
    """The runtime lands it, or it was asked for in vain."""
    landing = landings.get(tx.db, row.told["landing"])
    if landing.state != "waiting":
        return
    if row.state == "allowed":
        landings.queue(tx, row.told["landing"])
    else:
        landings.refused(tx, landing, f"approval {row.id} was {row.state} by {row.decided_by}")


def _spawn_child(tx: Tx, row: ApprovalRow) -> None:
    """The child is made as it was asked for, out of what its parent has by then."""
    if row.state == "allowed":
        children.allowed(tx, row.told)


ACTS: Final[dict[str, Callable[[Tx, ApprovalRow], None]]] = {
    "": _nothing,
    "swarm.start": _start_swarm,
    "budget.extend": _extend_budget,
    "swarm.land": _land,
    "agent.spawn": _spawn_child,
}
"""What follows from a decision, by the name that the request was stored with."""


def refusal(asked: Asked, what: str) -> errors.Forbidden:
    """The error for something that a gate forbids."""
    return errors.Forbidden(
        f"gate {asked.gate} forbids it: {what}", hint="gate.list shows the rules there are"
    )
