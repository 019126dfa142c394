"""What becomes of a call that asks for money, inside an operation of the store: it is granted a hold, waits,
or is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from dashd.domain import budget as rules
from dashd.domain import standing
from dashd.domain import swarm as swarm_rules
from dashd.store import agents, budgets, holds, standings, swarms, task_budgets, thresholds
from dashd.store.holds import HoldRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors

from .held_time import is_paused
from .settling import Models


class Payer(msgspec.Struct, frozen=True):
    """Whose call it is."""

    budget_id: str
    swarm_id: str | None = None
    agent_id: str | None = None
    task_id: str | None = None
    key_id: str | None = None
    """Of a program outside."""
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one try of a call wants to hold."""

    payer: Payer
    cost: rules.CallCost
    input_tokens: int
    """The most tokens its input can be."""
    model: str
    provider: str
    price_date: str

    @property
    def least(self) -> "Least":
        """(nano-dollars, tokens) that it must hold."""
        return self.cost.least, self.input_tokens + self.cost.least_output


class Held(msgspec.Struct, frozen=True):
    """An open hold; whoever has it settles it."""

    id: int
    nusd: int
    output_tokens: int
    """What the call's output is capped at."""
    tokens: int
    """What it holds in tokens, input included."""


class BudgetSpent(errors.BudgetExceeded):
    """The budget does not cover this call; the text says in its unit what is left and what it must hold."""

    def __init__(self, budget_id: str, action: str, text: str) -> None:
        """`action` is what the budget does at 100 %: under `pause` the call may be held instead of
        answered.
        """
        super().__init__(
            text, hint=f"budget.extend {budget_id}, or finish with what is there", data={"budget": budget_id}
        )
        self.budget_id = budget_id
        self.action = action


class Waits(msgspec.Struct, frozen=True):
    """No answer yet."""

    on: str | None
    """The budget whose holds are in the way; None where the agent is paused."""


Least = tuple[int, int]
Answer = Held | errors.DashError | Waits


def judge(
    tx: Tx, asks: Sequence[Ask], blocked: set[str], models: Models, leasts: Mapping[str, Least] | None = None
) -> list[Answer]:
    """Answers each ask in order; `blocked` are the budgets for which an older call waits, `leasts` what each
    agent's last call had to hold.
    """
    return [_answer(tx, ask, blocked, models, leasts or {}) for ask in asks]


def _answer(tx: Tx, ask: Ask, blocked: set[str], models: Models, leasts: Mapping[str, Least]) -> Answer:
    try:
        path = budgets.path(tx.db, ask.payer.budget_id) or [budgets.get(tx.db, ask.payer.budget_id)]
        path = task_budgets.beside(tx.db, ask.payer.task_id) + path
        _refuse_ended(tx.db, ask.payer)
        if is_paused(tx.db, ask.payer.agent_id):
            return Waits(None)
    except errors.NotFound as error:
        return error  # of this call alone: the others of the round are answered
    for row in path:
        if row.id in blocked:
            return Waits(row.id)
    assert ask.cost.input_tokens == ask.input_tokens, "an ask counts its input twice, differently"
    verdict = rules.decide([budgets.node(tx.db, row) for row in path], ask.cost)
    if isinstance(verdict, rules.Wait):
        blocked.add(verdict.on)
        return Waits(verdict.on)
    if isinstance(verdict, rules.Refuse):
        return _refuse(tx, verdict, ask, models, leasts)
    for row in path:
        if row.need_nusd is not None:
            budgets.set_need(tx, row.id, None, None)
    return _granted(tx, ask, verdict)


def _granted(tx: Tx, ask: Ask, grant: rules.Grant) -> Held:
    row = HoldRow(
        id=None,
        budget_id=ask.payer.budget_id,
        swarm_id=ask.payer.swarm_id,
        agent_id=ask.payer.agent_id,
        task_id=ask.payer.task_id,
        model=ask.model,
        provider=ask.provider,
        state="open",
        held_nusd=grant.amount,
        held_tokens=ask.input_tokens + grant.output_tokens,
        cost_nusd=None,
        tokens=None,
        input_tokens=None,
        output_tokens=None,
        basis=None,
        confirmed=None,
        price_date=ask.price_date,
        started_at_ms=tx.now_ms,
        settled_at_ms=None,
    )
    return Held(holds.insert(tx, row), grant.amount, grant.output_tokens, row.held_tokens)


def is_held(db: Snapshot, payer: Payer) -> bool:
    """Whether its held calls stay aside; those of an ended swarm come back to hear of it. Who is killed while
    it is held makes them no more: they end with its process.
    """
    try:
        _refuse_ended(db, payer)
        killed = payer.agent_id is not None and agents.get(db, payer.agent_id).wanted == "kill"
        return killed or is_paused(db, payer.agent_id)
    except errors.NotFound:
        return False


def _refuse_ended(db: Snapshot, payer: Payer) -> None:
    """A swarm that is to be destroyed pays for nothing more; its keys' doors and agents hear of it later."""
    swarm = None if payer.swarm_id is None else swarms.find(db, payer.swarm_id)
    if swarm is not None and (swarm.wanted == "destroy" or swarm.state in swarm_rules.ENDED):
        raise errors.NotFound(f"swarm {swarm.id} has ended or is being destroyed, and pays for no more calls")


def _refuse(
    tx: Tx, verdict: rules.Refuse, ask: Ask, models: Models, leasts: Mapping[str, Least]
) -> BudgetSpent:
    row = budgets.get(tx.db, verdict.node)
    if verdict.reason == "frozen":
        text = f"budget {row.id} is frozen: {row.frozen}; budget.set {row.id} --thaw lets its calls go on"
        return BudgetSpent(row.id, row.action_100, text)
    need, need_tokens = ask.least
    node = budgets.node(tx.db, row)
    if _is_its_end(tx, node, ask.payer, leasts):
        if (row.need_nusd, row.need_tokens) != ask.least:
            budgets.set_need(tx, row.id, need, need_tokens)
        thresholds.stop(tx, row.id, models)
    says = standing.blocked(replace(node, need=need, need_tokens=need_tokens))
    assert says is not None, "a call was refused that fits"
    return BudgetSpent(row.id, row.action_100, f"budget {row.id}: {says.text}")


def _is_its_end(tx: Tx, node: rules.Node, payer: Payer, leasts: Mapping[str, Least]) -> bool:
    """Whether a budget that has refused a call is at its end. The payer's own is; one that others share is
    not by a call from outside, nor while another agent works whose last call would still fit.
    """
    if node.id in (payer.budget_id, payer.task_id):
        return True
    if payer.agent_id is None:
        return False
    others = [each for each in standings.at_work(tx.db, node.id) if each != payer.agent_id]
    swarm_id = payer.swarm_id or ""
    lasts = (leasts.get(each) or holds.last(tx.db, swarm_id, each) for each in others)
    return not any(last is not None and rules.fits(node, *last) for last in lasts)
