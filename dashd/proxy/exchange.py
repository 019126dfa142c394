"""Answers model calls, each with an answer or a refusal: what all calls of a daemon share.

A refusal that means "later" (the line did not move, no provider answers) is a 503 in every style: OpenClaw
disables a provider at 402, 403 and 429 but only repeats a 5xx, Pi repeats it if its own retries are on. A
budget's refusal is a 402, which each style puts so that its reader stops.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dashd import clock as clocks
from dashd.domain.budget import USEFUL_OUTPUT_TOKENS
from dashd.wire import errors

from .call import Call
from .caller import Caller, Patience, Reply
from .formats.format import CallRefused, Format
from .ledger import BudgetSpent, Ledger
from .offers import Offers
from .registry import OFFLINE, Candidate, Registry
from .reports import Reports
from .room import Room
from .upstream import Upstream
from .waits import Wait, Waits

if TYPE_CHECKING:
    from .bodies import Bodies


class Exchange:
    """Answers calls; one for the daemon."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        *,
        http: Upstream,
        offline: Upstream,
        clock: clocks.Clock,
        patience: Patience | None = None,
        useful_tokens: int = USEFUL_OUTPUT_TOKENS,
    ) -> None:
        self.ledger = ledger
        self.registry = registry
        self.patience = patience or Patience()
        self.reports = Reports()
        self.waits = Waits(clock)
        self.room = Room(self.waits)
        ledger.offers = Offers(registry).known
        registry.told = ledger.models_changed
        self.useful_tokens = useful_tokens
        self.bodies: Bodies | None = None
        """Keeps what was said, where the operator wants that."""
        self._http = http
        self._offline = offline
        self._clock = clock

    async def answer(
        self, form: Format, caller: Caller, body: bytes, headers: Mapping[str, str], reply: Reply
    ) -> None:
        """Answers one call, with an answer or a refusal; `headers` are the caller's, in lower case.

        Returns when all has been sent, also when the caller has left; cancelled, the try under way is settled
        first. Raises StoreBroken and StoreClosed.
        """
        call = Call(self, form, caller, body, headers, reply)
        try:
            await call.run()
        except CallRefused as refused:
            await call.refuse(refused.status, refused.kind, refused.text)
        except BudgetSpent as spent:
            await call.refuse(402, "budget_exceeded", spent.message)
        except errors.InvalidParams as unknown:
            await call.refuse(404, "unknown_model", f"{unknown.message}; {unknown.hint}")
        except errors.RateLimited as fast:
            await call.refuse(429, "rate_limited", fast.message, fast.data)
        except errors.NotFound as gone:
            await call.refuse(403, "not_admitted", gone.message)
        except (errors.DeadlinePassed, errors.Unavailable) as later:
            await call.refuse(503, "unavailable", later.message, later.data)

    def upstream(self, candidate: Candidate) -> Upstream:
        """The way to a candidate's provider."""
        return self._offline if candidate.provider.format == OFFLINE else self._http

    def waiting(self, agent_id: str) -> Wait | None:
        """What a call of the agent waits for; None where none does."""
        found = self.waits.of(agent_id)
        if found is None or found.what != "line":
            return found
        on = self.ledger.waits_on(agent_id)  # most calls are through the line at once
        return None if on is None else dataclasses.replace(found, on=on)

    def chance(self) -> float:
        """A number in [0, 1)."""
        return self._clock.token(24) / 2**24
