"""One model call, from its body to its settlement: parse, choose, hold, forward, meter, settle.

Each try holds its own worst case before a byte leaves, and settles exactly once, whatever ends it. Tries are
repeated and rerouted only while nothing has gone to the caller; afterwards a fault cuts the stream in band. A
caller that hangs up does not end the try at once: the answer is read on for a little while, because its usage
is cheaper than the whole hold. Knows no sockets: the server hands in a `Reply`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import trio

from dashd import threads
from dashd.domain import dollars
from dashd.domain.budget import NUSD
from dashd.domain.circuit import Admission, Change
from dashd.store import bells
from dashd.store.holds import Settlement
from dashd.wire import errors

from . import pace, worst_case
from .caller import Caller, Gone, Patience, Reply
from .formats.format import Format, ParsedCall
from .held_time import HeldTime
from .ledger import BudgetSpent, Held, Outdated
from .rates import retry_after
from .registry import Candidate
from .relay import Outcome, Try, Whole
from .room import Seat
from .route import Failure, Pause, Route
from .settling import Happened
from .upstream import Request

if TYPE_CHECKING:
    from .bodies import Heard
    from .exchange import Exchange

INLINE_BYTES_MAX = 512 * 1024
"""A larger body is parsed in a thread, so that the others' streams go on."""

PROVIDERS_WORDS = ("next", "denied", "final")
"""Failures that the caller hears of in the provider's words, where nobody else answers."""


class NobodyAnswers(errors.Unavailable):
    """No provider of the chain answers."""


class Call:
    """One call of one caller; used once."""

    def __init__(
        self,
        exchange: "Exchange",
        form: Format,
        caller: Caller,
        body: bytes,
        headers: Mapping[str, str],
        reply: Reply,
    ) -> None:
        self._x = exchange
        self._form = form
        self._caller = caller
        self._payer = caller.payer
        self._body = body
        self._headers = headers
        self._reply = reply
        self._patience = exchange.patience
        self._scope = trio.CancelScope()
        self._try: Try | None = None
        self._left = False
        self._heard: Heard | None = None
        self._unsure_nusd = 0
        self._model = caller.model
        """The caller's when the chain was made: who swaps it meanwhile is obeyed by the next try."""
        self._turn = exchange.ledger.turn()
        self._edition = exchange.registry.edition
        """The registry's then: who sets a price meanwhile is obeyed too."""
        is_agent = self._payer.agent_id is not None
        patience_s = (caller.held_s or self._patience.held_s) if is_agent else self._patience.line_s
        self._held = HeldTime(patience_s)
        self._seat = Seat(exchange.room, self._payer.agent_id, len(body))

    async def run(self) -> None:
        self._reply.watch(self._caller_left)
        try:
            await self._answer()
        finally:
            self._seat.leave()

    async def _answer(self) -> None:
        with self._scope:
            call = await self._parsed()
            await self._x.registry.prepare()
            route = self._route(call)
            rates, tokens = self._caller.rates, worst_case.tokens_max(call, route.chain)
            if rates is not None:
                await pace.slow_down(rates, tokens, self._payer, self._seat, self._held, self._x.ledger)
            try:
                await self._serve(call, route)
            finally:
                if rates is not None:
                    rates.end(tokens)

    async def refuse(self, status: int, kind: str, message: str, data: object = None) -> None:
        """Says no, in the caller's format and style: as an answer of its own, or in band."""
        style = self._caller.style
        if self._left:
            return
        try:
            if self._reply.started:
                await self._reply.send(self._form.refusal_in_stream(status, kind, message, style=style))
                return
            said, body = self._form.refusal(status, kind, message, style=style)
            headers = {"content-type": "application/json"}
            if said in (429, 503) and isinstance(data, dict) and "retry_after_s" in data:
                headers["retry-after"] = retry_after(data["retry_after_s"])
            await self._reply.start(said, headers, length=len(body))
            await self._reply.send(body)
        except Gone:
            return

    # --- before a try -------------------------------------------------------------------------------------

    async def _parsed(self) -> ParsedCall:
        if len(self._body) <= INLINE_BYTES_MAX:
            return self._form.parse(self._body)
        return await threads.run(self._form.parse, self._body)

    def _route(self, call: ParsedCall) -> Route:
        """The way that the call has now."""
        return Route(self._chain(call), self._x.chance)

    def _outdated(self) -> bool:
        """Whether the chain may be another one by now, or cost something else."""
        return self._caller.model != self._model or self._x.registry.edition != self._edition

    def _chain(self, call: ParsedCall) -> list[Candidate]:
        self._model, self._edition = self._caller.model, self._x.registry.edition
        asked = call.model if self._model is None else self._model
        found = self._x.registry.chain(asked, worst_case.input_tokens_max(call), (call.format,))
        chain = [each for each in found if each.serves(call.format)]
        if not chain:
            speaks = ", ".join(sorted({str(each.provider.format) for each in found}))
            raise errors.InvalidParams(
                f"the model is served, but not in the format {call.format}", hint=f"call it as {speaks}"
            )
        return chain

    def _caller_left(self) -> None:
        self._left = True
        trying = self._try
        if trying is None or not trying.request.sent or trying.meter.finished:
            self._scope.cancel(reason="the caller has left")
        else:
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + self._patience.drain_s)

    # --- tries --------------------------------------------------------------------------------------------

    async def _serve(self, call: ParsedCall, route: Route) -> None:
        give_up_at = float("inf")
        words: Whole | None = None
        while not self._left:
            if self._outdated():
                await self._x.registry.prepare()
                again = await self._rerouted(call, route)
                if again is None:
                    break
                route, give_up_at, words = again, float("inf"), None
            now = trio.current_time()
            turn = route.choose(now, give_up_at)
            if turn is None:
                again = await self._parked(call, route)
                if again is None:
                    break
                route, give_up_at, words = again, float("inf"), None
                continue
            if isinstance(turn, Pause):
                give_up_at = min(give_up_at, now + self._patience.retry_s)
                if turn.until <= give_up_at:
                    why = route.last.why if route.last else "it is left alone after its failures"
                    text = f"does not answer just now: {why}{self._charged}"
                    with self._waits_for_provider(route, text, turn.until - now):
                        await self._pause(turn.until)
                continue  # past that, whoever is free has their turn, or nobody
            stood_s = self._held.stood_s
            outcome = await self._attempt(call, route, turn)
            self._held.stand(False)
            give_up_at += self._held.stood_s - stood_s
            if outcome is None:
                continue
            if outcome.failure is None:
                if outcome.whole is not None:
                    await self._pass_on(outcome.whole)
                return
            if self._reply.started:
                raise NobodyAnswers(f"the answer broke off: {outcome.failure.why}")
            give_up_at = min(give_up_at, trio.current_time() + self._patience.retry_s)
            if outcome.failure.what in PROVIDERS_WORDS:
                words = outcome.whole
            if outcome.failure.what == "final":
                break
        if not self._left:
            await self._give_up(route, words)

    @property
    def _charged(self) -> str:
        """What its tries have cost though nobody knows what was billed, for whoever asks why it waits."""
        spent = dollars.text(self._unsure_nusd)
        return f"; its tries so far are charged in full, {spent}, unconfirmed" if self._unsure_nusd else ""

    async def _give_up(self, route: Route, words: Whole | None) -> None:
        if words is not None and route.last is not None and route.last.what in PROVIDERS_WORDS:
            await self._pass_on(words)
            return
        data = {"retry_after_s": max(1.0, (route.last and route.last.retry_after_s) or 1.0)}
        why = route.frozen or (route.last.why if route.last else "every provider rests after its failures")
        raise NobodyAnswers(f"no provider answers; the last said: {why}", data=data)

    async def _pause(self, until: float) -> None:
        """Sleeps; whoever changes something of models or providers ends it."""
        self._seat.take()
        with trio.move_on_at(until):
            await self._x.registry.changes.ticket().wait()

    async def _parked(self, call: ParsedCall, route: Route) -> Route | None:
        """Waits while all of the chain are frozen; then the way that there is by now, with all tries again.
        None where frozen providers are not what is missing, or it took too long.
        """
        if not route.frozen or self._payer.agent_id is None:
            return None

        async def thawed() -> Route | None:
            while True:
                ticket = self._x.registry.changes.ticket()
                await self._x.registry.prepare()
                again = await self._rerouted(call, route)
                if again is None or not again.frozen:
                    return again
                self._seat.take()
                await ticket.wait()

        with self._waits_for_provider(route, f"takes no more calls: {route.frozen}"):
            return await self._patiently(thawed)

    async def _rerouted(self, call: ParsedCall, route: Route) -> Route | None:
        """The way that there is by now. What was taken away is perhaps about to be added anew, so an agent's
        call waits for it, unless the agent's model was swapped; None where it waited in vain.
        """
        model = self._model

        async def found() -> Route:
            while True:
                try:
                    return self._route(call)
                except errors.InvalidParams:
                    if self._payer.agent_id is None or self._model != model:
                        raise
                self._seat.take()
                await self._x.registry.changes.ticket().wait()
                await self._x.registry.prepare()

        with self._waits_for_provider(route, "was taken away, and nobody else serves its model"):
            return await self._patiently(found)

    async def _patiently(self, find: Callable[[], Awaitable[Route | None]]) -> Route | None:
        """What it finds; None where that takes too long. While its agent is paused nothing does."""
        while True:
            with self._held.limit():
                return await find()
            if not await self._x.ledger.is_paused(self._payer):
                return None
            self._held.again()

    def _waits_for_provider(
        self, route: Route, text: str, for_s: float | None = None
    ) -> AbstractContextManager[None]:
        name = route.chain[0].provider.name
        return self._x.waits.during(
            self._payer.agent_id, "provider", name, f"provider {name} {text[:200]}", for_s
        )

    async def _attempt(self, call: ParsedCall, route: Route, candidate: Candidate) -> Outcome | None:
        """One try; None where it was not made because another call probes the provider, the caller left, or
        model or price were changed while the hold was waited for: it was for what they had been.
        """
        held = await self._hold(call, candidate)
        if held is None:
            return None
        began = trio.current_time()
        settlement = Settlement(0, 0, "unsent")
        happened: list[Happened] = []
        entered: Admission | None = None
        try:
            if self._outdated():
                return None
            entered = route.enter(candidate, began)
            if entered is None or self._left:
                return None
            if left := route.left_for(candidate):
                happened += self._x.reports.failover(began, self._payer, left[0], candidate, left[1])
            self._try = self._prepared(call, candidate, held, self._patience_for(candidate, entered))
            self._heard = self._x.bodies.listener(stream=call.stream) if self._x.bodies else None
            outcome = await self._try.run(
                self._x.upstream(candidate),
                self._begin,
                self._forward,
                lambda: self._answered(route, candidate, began, happened),
            )
            if outcome.whole is not None and self._heard is not None:
                self._heard.feed(outcome.whole.body)
            if outcome.failure is not None:
                self._failed(route, candidate, outcome.failure, happened)
                entered = None
            return outcome
        finally:
            trying, self._try = self._try, None
            if entered and (trying is None or trying.first_byte_at is None):
                route.withdrew(candidate)
            if trying is not None and trying.request.sent:
                settlement = trying.settlement
                took_s = trio.current_time() - began
                happened += self._x.reports.call(
                    trio.current_time(), self._payer, candidate, settlement, took_s
                )
                self._keep(held, trying, took_s)
                self._unsure_nusd += 0 if settlement.confirmed else settlement.cost_nusd
                for event in happened:
                    if event.kind == "circuit.opened" and self._unsure_nusd:
                        event.data["unconfirmed_usd"] = self._unsure_nusd / NUSD
            await self._settle(held, settlement, happened)  # noqa: ASYNC102  # it shields itself, for one commit

    async def _settle(self, held: Held, settlement: Settlement, happened: list[Happened]) -> None:
        with trio.CancelScope(shield=True):  # bounded by one commit
            await self._x.ledger.settle(held.id, settlement, happened)
        if self._caller.rates is not None:
            self._caller.rates.used(trio.current_time(), settlement.tokens)

    async def _hold(self, call: ParsedCall, candidate: Candidate) -> Held | None:
        """The hold of a try. An agent's call that a spent budget keeps out is held here, unanswered; None
        once it would ask for something else by now.
        """
        ask = worst_case.ask(call, candidate, self._payer, self._x.useful_tokens)
        self._held.at_least(self._patience.line_s)  # the first try may have used up all of the call's
        with self._held.limit():
            while not self._outdated():
                tickets = self._x.ledger.wishes.ticket(), self._x.registry.changes.ticket()
                try:
                    with self._x.waits.during(
                        self._payer.agent_id, "line", "", "calls under way hold what is left of the budget"
                    ):
                        held = await self._x.ledger.hold(
                            ask, self._turn, self._outdated, self._held.stand, self._seat.take
                        )
                    self._seat.leave()
                    return held
                except Outdated:
                    return None
                except BudgetSpent as refused:
                    if self._outdated():
                        return None
                    if refused.action != "pause" or self._payer.agent_id is None:
                        raise
                    on, why = refused.budget_id, refused.message
                self._held.stand(True)
                with self._seat.during("budget", on, why):
                    await bells.either(*tickets)
                self._held.stand(False)
            return None
        raise errors.DeadlinePassed("calls under way hold what is left of the budget; try again")

    def _patience_for(self, candidate: Candidate, entered: Admission) -> Patience:
        if entered == "call":
            return self._patience
        usual_s = (self._x.registry.latency_ms(candidate.name) or 0.0) / 1_000
        return self._patience.of_probe(candidate.provider.circuits, candidate.model, usual_s)

    def _prepared(self, call: ParsedCall, candidate: Candidate, held: Held, patience: Patience) -> Try:
        provider = candidate.provider
        request = Request(
            provider=provider.name,
            format=call.format,
            url=provider.url.rstrip("/") + self._form.upstream_path,
            headers=self._form.headers(provider.secret, dict(self._headers)),
            body=self._form.outgoing(call, model=candidate.model, output_tokens=held.output_tokens),
            stream=call.stream,
        )
        meter = self._form.meter(candidate.price, held.nusd, held.output_tokens, held.tokens)
        return Try(candidate, held, request, meter, patience)

    # --- what a try tells ---------------------------------------------------------------------------------

    def _answered(self, route: Route, candidate: Candidate, began: float, happened: list[Happened]) -> None:
        now = trio.current_time()
        self._x.registry.measured(candidate, now - began)
        happened += [_told(candidate, change) for change in route.succeeded(candidate)]

    def _failed(self, route: Route, candidate: Candidate, failure: Failure, happened: list[Happened]) -> None:
        changes = route.failed(candidate, failure, trio.current_time())
        happened += [_told(candidate, change, failure.why[:200]) for change in changes]
        if failure.what == "terminal":
            text = f"provider {candidate.provider.name} takes no more calls: {failure.why[:200]}"
            happened.append(Happened("system.alert", {"provider": candidate.provider.name, "text": text}))

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        if not self._left:
            try:
                await self._reply.start(status, headers, length=None)
            except Gone:
                self._caller_left()

    def _keep(self, held: Held, trying: Try, took_s: float) -> None:
        """What this try said, where that is kept."""
        heard, self._heard = self._heard, None
        if self._x.bodies is not None and heard is not None:
            meta = {
                "format": self._form.name,
                "stream": trying.request.stream,
                "took_ms": round(took_s * 1_000),
            }
            self._x.bodies.keep(held.id, self._body, heard, meta)

    async def _forward(self, data: bytes) -> None:
        if self._heard is not None:
            self._heard.feed(data)
        if not self._left:
            try:
                await self._reply.send(data)
            except Gone:
                self._caller_left()

    async def _pass_on(self, whole: Whole) -> None:
        try:
            await self._reply.start(whole.status, whole.headers, length=len(whole.body))
            await self._reply.send(whole.body)
        except Gone:
            self._caller_left()


def _told(candidate: Candidate, change: Change, why: str | None = None) -> Happened:
    """The event of a circuit: the provider's, or that of one of its models."""
    model = {"model": change.model} if change.model is not None else {}
    reason = {"why": why} if why is not None else {}
    return Happened(f"circuit.{change.to}", {"provider": candidate.provider.name} | model | reason)
