"""The ledger: no byte goes upstream without a hold, and each hold is settled once (invariants 6, 7, 8).

A call that only other calls' holds keep out waits in line: whenever something settles, everybody in line is
looked at in one operation, oldest first, and nobody overtakes an older call that waits for the same budget.
A call that does not fit brings a budget that it shares to its end only where nobody else could go on there.
Whoever would ask for something else by now is not judged any more: no budget ends by an old price.
"""

import bisect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import trio

from dashd.domain import budget as rules
from dashd.domain import standing
from dashd.domain import swarm as swarm_rules
from dashd.domain.prices import Price
from dashd.store import budgets, holds, situations, standings, swarms, task_budgets, thresholds
from dashd.store.bells import Bell, Ticket
from dashd.store.holds import HoldRow, Settlement
from dashd.store.opening import Store
from dashd.store.transaction import Tx
from dashd.wire import errors

from .held_time import is_paused

LINE_MAX = 1_000
"""Calls that wait for money at once."""
AGENTS_MAX = 10_000
"""Whose last call is remembered."""


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


class Outdated(Exception):
    """The call would ask for something else by now."""


class Happened(msgspec.Struct, frozen=True):
    """An event that is written together with a settlement; whose it is, the hold says."""

    kind: str
    data: dict[str, Any]


class _Waits(msgspec.Struct, frozen=True):
    """No answer yet."""

    on: str | None
    """The budget whose holds are in the way; None where the agent is paused."""


Least = tuple[int, int]
_Models = Sequence[tuple[str, Price]]
_Answer = Held | errors.DashError | _Waits


class _Place:
    """One call in line."""

    __slots__ = ("answer", "ask", "outdated", "stand", "turn")

    def __init__(
        self, ask: Ask, turn: int, outdated: Callable[[], bool], stand: Callable[[bool], None]
    ) -> None:
        self.ask = ask
        self.turn = turn
        self.outdated = outdated
        self.stand = stand
        self.answer: _Answer | None = None
        """None until it was looked at for the first time."""


class Ledger:
    """Holds and settles; one for the daemon."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._line: list[_Place] = []
        self._looking = trio.Lock()
        self._turns = 0
        self._changes = 0
        self._looked = 0
        self._changed = Bell()
        self._line_moves = Bell()
        self._leasts: OrderedDict[str, Least] = OrderedDict()
        """What the last call of each agent had to hold."""
        self._late: list[tuple[int, Settlement]] = []
        self.offers: Callable[[], Sequence[tuple[str, Price]]] = tuple
        """Models that could be called instead, for what is suggested at a threshold."""

    def turn(self) -> int:
        """A place in the order of age: who asks anew with it is as old as when it was taken."""
        self._turns += 1
        return self._turns

    async def is_paused(self, payer: Payer) -> bool:
        """Whether its agent's next call would be held for that alone, whatever there is of money."""
        try:
            return await self._store.own.read(partial(is_paused, agent_id=payer.agent_id))
        except errors.NotFound:
            return False

    async def hold(
        self,
        ask: Ask,
        turn: int | None = None,
        outdated: Callable[[], bool] = lambda: False,
        stand: Callable[[bool], None] = lambda _: None,
    ) -> Held:
        """Holds the worst case of a call, or waits in line for it; the caller has the deadline, and is told
        by `stand` whether the agent is paused or waits for a yes.

        Raises Outdated once `outdated`, asked again at each change, says that the call would ask for
        something else by now; BudgetSpent where no settlement could make room, NotFound where the payer has
        no budget, RateLimited where the line is too long. Nothing stays held then, nor where it is cancelled.
        """
        if len(self._line) >= LINE_MAX:
            raise errors.RateLimited(
                f"{LINE_MAX} calls wait for money already", hint="try again when some have ended"
            )
        place = _Place(ask, self.turn() if turn is None else turn, outdated, stand)
        bisect.insort(self._line, place, key=lambda each: each.turn)
        try:
            answer = await self._wait(place)
        except BaseException:
            await self._withdraw(place)  # noqa: ASYNC102  # it shields itself, for one commit
            raise
        finally:
            self._line.remove(place)
        if isinstance(answer, errors.DashError):
            raise answer
        return answer

    async def settle(self, hold_id: int, settlement: Settlement, happened: Sequence[Happened] = ()) -> bool:
        """Settles a hold, once; False where it was settled before. Never cancelled half-way.

        On a full disk, or a lock, it is kept and written with the next settlement that can be; until then the
        money stays held, and a crash before that charges the hold in full. Other faults of it are raised.
        """

        late, models = list(self._late), self.offers()

        def operation(tx: Tx) -> bool:
            for late_id, unwritten in late:
                _settle(tx, late_id, unwritten, models=models)
            return _settle(tx, hold_id, settlement, happened, models)

        with trio.CancelScope(shield=True):  # bounded by one commit
            try:
                done = await self._store.writer.apply(operation)
            except errors.StoreClosed:
                raise
            except errors.Unavailable:
                self._late.append((hold_id, settlement))
                return True
        self._late = [each for each in self._late if each not in late]
        self.changed()
        return done

    async def recover(self) -> int:
        """At a start: charges every open hold in full, as unconfirmed; returns how many there were."""

        def operation(tx: Tx) -> int:
            found = holds.open_holds(tx.db)
            for row in found:
                _settle(tx, row.id or 0, Settlement(row.held_nusd, row.held_tokens, "crash"))
            return len(found)

        return await self._store.writer.apply(operation)

    def changed(self) -> None:
        """Somebody settled, extended, resumed or ended: those in line are looked at again."""
        self._changes += 1
        self._changed.ring()
        self._line_moves.ring()

    def ticket(self) -> Ticket:
        """A ticket for the next change, for who was refused and may be admitted later."""
        return self._changed.ticket()

    def waits_on(self, agent_id: str) -> str | None:
        """The budget for which a call of the agent is in line; None where none is, or its agent is paused."""
        found = (each.answer for each in self._line if each.ask.payer.agent_id == agent_id)
        return next((each.on for each in found if isinstance(each, _Waits)), None)

    async def _wait(self, place: _Place) -> Held | errors.DashError:
        while not place.outdated():
            ticket = self._line_moves.ticket()
            await self._look(place)
            if not isinstance(place.answer, _Waits | None):
                return place.answer
            if not place.outdated():
                await ticket.wait()
        raise Outdated

    async def _look(self, place: _Place) -> None:
        """One round over the line, unless one has begun since the last change and has seen this call."""
        async with self._looking:
            if self._looked == self._changes and place.answer is not None:
                return
            begun = self._changes
            waiting = [
                each for each in self._line if isinstance(each.answer, _Waits | None) and not each.outdated()
            ]
            blocked: set[str] = set()
            if self._looked == begun:
                # Nothing has changed for those who were looked at: only newcomers are, behind them.
                seen = [each.answer for each in waiting if isinstance(each.answer, _Waits)]
                blocked = {each.on for each in seen if each.on is not None}
                waiting = [each for each in waiting if each.answer is None]
            asks, models = [each.ask for each in waiting], self.offers()
            self._remember(asks)
            try:
                answers = await self._store.writer.apply(
                    lambda tx: _round(tx, asks, blocked, models, self._leasts)
                )
                for each, answer in zip(waiting, answers, strict=True):
                    each.answer = answer
                    each.stand(isinstance(answer, _Waits) and answer.on is None)
                self._looked = begun
            finally:
                if len(waiting) > 1:
                    self._line_moves.ring()  # the others were answered, or must look by themselves

    def _remember(self, asks: Sequence[Ask]) -> None:
        for agent_id, least in ((each.payer.agent_id, each.least) for each in asks):
            if agent_id is not None:
                self._leasts[agent_id] = least
                self._leasts.move_to_end(agent_id)
        while len(self._leasts) > AGENTS_MAX:
            self._leasts.popitem(last=False)

    async def _withdraw(self, place: _Place) -> None:
        """Whoever gave up, or asks anew, while its hold was being granted: nothing was sent, so nothing is
        owed.
        """
        with trio.CancelScope(shield=True):  # a round under way is one commit
            async with self._looking:
                pass
            if isinstance(place.answer, Held):
                await self.settle(place.answer.id, Settlement(0, 0, "unsent"))
            else:
                self.changed()  # a younger call may have waited behind this one


def _round(
    tx: Tx, asks: Sequence[Ask], blocked: set[str], models: _Models, leasts: Mapping[str, Least] | None = None
) -> list[_Answer]:
    """Answers each ask in order; `blocked` are the budgets for which an older call waits, `leasts` what each
    agent's last call had to hold.
    """
    return [_answer(tx, ask, blocked, models, leasts or {}) for ask in asks]


def _answer(tx: Tx, ask: Ask, blocked: set[str], models: _Models, leasts: Mapping[str, Least]) -> _Answer:
    try:
        path = budgets.path(tx.db, ask.payer.budget_id) or [budgets.get(tx.db, ask.payer.budget_id)]
        path = task_budgets.beside(tx.db, ask.payer.task_id) + path
        _refuse_ended(tx, ask.payer)
        if is_paused(tx.db, ask.payer.agent_id):
            return _Waits(None)
    except errors.NotFound as error:
        return error  # of this call alone: the others of the round are answered
    for row in path:
        if row.id in blocked:
            return _Waits(row.id)
    assert ask.cost.input_tokens == ask.input_tokens, "an ask counts its input twice, differently"
    verdict = rules.decide([budgets.node(tx.db, row) for row in path], ask.cost)
    if isinstance(verdict, rules.Wait):
        blocked.add(verdict.on)
        return _Waits(verdict.on)
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


def _refuse_ended(tx: Tx, payer: Payer) -> None:
    """A swarm that is to be destroyed pays for nothing more; its keys' doors and agents hear of it later."""
    swarm = None if payer.swarm_id is None else swarms.find(tx.db, payer.swarm_id)
    if swarm is not None and (swarm.wanted == "destroy" or swarm.state in swarm_rules.ENDED):
        raise errors.NotFound(f"swarm {swarm.id} has ended or is being destroyed, and pays for no more calls")


def _refuse(
    tx: Tx, verdict: rules.Refuse, ask: Ask, models: _Models, leasts: Mapping[str, Least]
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


def _settle(
    tx: Tx, hold_id: int, settlement: Settlement, happened: Sequence[Happened] = (), models: _Models = ()
) -> bool:
    row = holds.settle(tx, hold_id, settlement)
    if row is None:
        return False
    if settlement.cost_nusd > row.held_nusd or _over_in_tokens(tx, row, settlement):
        _overrun(tx, row, settlement)
    thresholds.look(tx, row.budget_id, row.task_id, models)
    for event in happened:
        tx.emit(event.kind, swarm=row.swarm_id, agent=row.agent_id, task=row.task_id, data=event.data)
    return True


def _over_in_tokens(tx: Tx, row: HoldRow, settlement: Settlement) -> bool:
    """Cheap tokens (cached ones) may be more than the worst case and cost less; it counts where a budget
    limits tokens, since only there could a limit be passed by it.
    """
    if settlement.tokens <= row.held_tokens:
        return False
    path = task_budgets.beside(tx.db, row.task_id) + budgets.path(tx.db, row.budget_id)
    return any(each.limit_tokens is not None for each in path)


def _overrun(tx: Tx, row: HoldRow, settlement: Settlement) -> None:
    """The provider billed more than the worst case: the node is frozen until a person has looked."""
    over, tokens = settlement.cost_nusd - row.held_nusd, settlement.tokens - row.held_tokens
    why = f"{row.model} cost ${over / rules.NUSD:.6f} more than its worst case; its price is wrong"
    if over <= 0:
        why = f"{row.model} used {tokens:,} tokens more than its worst case, by what its provider says"
    budgets.set_frozen(tx, row.budget_id, why)
    budgets.change(tx, row.budget_id, "overrun", row.held_nusd, settlement.cost_nusd, why)
    tx.emit(
        "budget.overrun",
        swarm=row.swarm_id,
        agent=row.agent_id,
        task=row.task_id,
        data={
            "budget": row.budget_id,
            "held": row.held_nusd / rules.NUSD,
            "cost": settlement.cost_nusd / rules.NUSD,
            "text": f"budget {row.budget_id} is frozen: {why}",
            "options": situations.options(tx.db, budgets.get(tx.db, row.budget_id), tx.now_ms),
        },
    )
