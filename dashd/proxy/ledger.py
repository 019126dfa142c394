"""The ledger: no byte goes upstream without a hold, and each hold is settled once (invariants 6, 7, 8).

A call that only other calls' holds keep out waits in line: whenever something settles, everybody in line is
looked at in one operation, oldest first, and nobody overtakes an older call that waits for the same budget.
A call of an agent that is held on purpose stands aside, and comes back to its place when that is over.
A call that does not fit brings a budget that it shares to its end only where nobody else could go on there.
Whoever would ask for something else by now is not judged any more: no budget ends by an old price.
"""

import bisect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from dashd.store import holds
from dashd.store.bells import Bell, Ticket
from dashd.store.holds import Settlement
from dashd.store.opening import Store
from dashd.store.transaction import Tx
from dashd.wire import errors

from . import settling, verdict
from .held_time import is_paused
from .settling import Happened
from .verdict import Answer, Ask, BudgetSpent, Held, Least, Payer, Waits

if TYPE_CHECKING:
    from dashd.domain.prices import Price

__all__ = ["Ask", "BudgetSpent", "Held", "Ledger", "Outdated", "Payer"]

LINE_MAX = 1_000
"""Calls that wait for money at once; `room` bounds those of each agent."""
LINE_AGAIN_S = 5.0
AGENTS_MAX = 10_000
"""Whose last call is remembered."""


class Outdated(Exception):
    """The call would ask for something else by now."""


class _Place:
    """One call in line."""

    __slots__ = ("answer", "ask", "outdated", "stand", "turn", "waits")

    def __init__(
        self,
        ask: Ask,
        turn: int,
        outdated: Callable[[], bool],
        stand: Callable[[bool], None],
        waits: Callable[[], None],
    ) -> None:
        self.ask = ask
        self.turn = turn
        self.outdated = outdated
        self.stand = stand
        self.waits = waits
        self.answer: Answer | None = None
        """None until it was looked at for the first time, or again after its agent was held."""


class Ledger:
    """Holds and settles; one for the daemon."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._line: list[_Place] = []
        self._aside: dict[_Place, trio.Event] = {}
        """Calls of agents that are held on purpose. Nobody knows how long that takes, so it costs the others
        nothing: they take no place in the line, and no settlement has them judged.
        """
        self._looking = trio.Lock()
        self._turns = 0
        self._changes = 0
        self._looked = 0
        self._wished = 0
        self.wishes = Bell()
        """Somebody wants something else: that an agent goes on, or that a budget is larger."""
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
        waits: Callable[[], None] = lambda: None,
    ) -> Held:
        """Holds the worst case of a call, or waits in line for it; the caller has the deadline, and is told
        by `stand` whether the agent is paused or waits for a yes. `waits` is called where it was not answered
        at once; what it raises ends the wait.

        Raises Outdated once `outdated`, asked again at each change, says that the call would ask for
        something else by now; BudgetSpent where no settlement could make room, NotFound where the payer has
        no budget, Unavailable where the line is too long. Nothing stays held then, nor where it is cancelled.
        """
        if len(self._line) >= LINE_MAX:
            raise errors.Unavailable(
                f"{LINE_MAX} calls wait for money already; try again when some have ended",
                data={"retry_after_s": LINE_AGAIN_S},
            )
        place = _Place(ask, self.turn() if turn is None else turn, outdated, stand, waits)
        self._join(place)
        try:
            answer = await self._wait(place)
        except BaseException:
            await self._withdraw(place)  # noqa: ASYNC102  # it shields itself, for one commit
            raise
        finally:
            if self._aside.pop(place, None) is None:
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
                settling.settle(tx, late_id, unwritten, models=models)
            return settling.settle(tx, hold_id, settlement, happened, models)

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
                settling.settle(tx, row.id or 0, Settlement(row.held_nusd, row.held_tokens, "crash"))
            return len(found)

        return await self._store.writer.apply(operation)

    async def follow(self) -> None:
        """Looks at held calls, then at the line, whenever somebody wants something else; until cancelled."""
        while True:
            ticket = self._store.bells.agents.ticket()
            await self._let_go_on()
            self.wishes.ring()
            self.changed()
            await ticket.wait()

    def models_changed(self) -> None:
        """Models, providers or prices are not as they were: held calls hear of it too."""
        self._back([each for each in self._aside if each.outdated()])
        self.changed()

    async def _let_go_on(self) -> None:
        """Back to the line with the calls whose agents are not held any more, or have ended."""
        self._wished += 1
        payers = {each.ask.payer for each in self._aside}
        if payers:
            held = await self._store.own.read(
                lambda db: {each for each in payers if verdict.is_held(db, each)}
            )
            self._back([each for each in self._aside if each.ask.payer in payers - held])

    def _back(self, places: Sequence[_Place]) -> None:
        for place in places:
            place.answer = None
            self._join(place)
            self._aside.pop(place).set()

    def changed(self) -> None:
        """Somebody settled, extended or ended: those in line are looked at again."""
        self._changes += 1
        self._changed.ring()
        self._line_moves.ring()

    def ticket(self) -> Ticket:
        """A ticket for the next change, for who was refused and may be admitted later."""
        return self._changed.ticket()

    def waits_on(self, agent_id: str) -> str | None:
        """The budget for which a call of the agent is in line; None where none is, or its agent is paused."""
        found = (each.answer for each in self._line if each.ask.payer.agent_id == agent_id)
        return next((each.on for each in found if isinstance(each, Waits)), None)

    def _join(self, place: _Place) -> None:
        bisect.insort(self._line, place, key=lambda each: each.turn)

    async def _wait(self, place: _Place) -> Held | errors.DashError:
        while not place.outdated():
            ticket = self._line_moves.ticket()
            await self._look(place)
            if not isinstance(place.answer, Waits | None):
                return place.answer
            place.waits()
            if (let_go := self._aside.get(place)) is not None:
                await let_go.wait()
            elif not place.outdated():
                await ticket.wait()
        raise Outdated

    async def _look(self, place: _Place) -> None:
        """One round over the line, unless one has begun since the last change and has seen this call."""
        async with self._looking:
            if self._looked == self._changes and place.answer is not None:
                return
            begun, wished = self._changes, self._wished
            waiting = [
                each for each in self._line if isinstance(each.answer, Waits | None) and not each.outdated()
            ]
            blocked: set[str] = set()
            if self._looked == begun:
                # Nothing has changed for those who were looked at: only newcomers are, behind them.
                seen = [each.answer for each in waiting if isinstance(each.answer, Waits)]
                blocked = {each.on for each in seen if each.on is not None}
                waiting = [each for each in waiting if each.answer is None]
            asks, models = [each.ask for each in waiting], self.offers()
            self._remember(asks)
            try:
                answers = await self._store.writer.apply(
                    lambda tx: verdict.judge(tx, asks, blocked, models, self._leasts)
                )
                for each, answer in zip(waiting, answers, strict=True):
                    each.answer = answer
                    held = isinstance(answer, Waits) and answer.on is None
                    each.stand(held)
                    if held:
                        self._stand_aside(each, sure=wished == self._wished)
                self._looked = begun
            finally:
                if len(waiting) > 1:
                    self._line_moves.ring()  # the others were answered, or must look by themselves

    def _stand_aside(self, place: _Place, *, sure: bool) -> None:
        """Out of the line. Not `sure`: somebody may have let its agent go since
        it was judged, and it is judged again.
        """
        if not sure:
            place.answer = None
            return
        self._line.remove(place)
        self._aside[place] = trio.Event()

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
            elif place not in self._aside:
                self.changed()  # a younger call may have waited behind this one
