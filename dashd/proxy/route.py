"""Which candidate of a chain a call tries next, and what a failed try means. Pure: the time is an argument.

A candidate gets some tries with growing, jittered pauses; then the next of the chain has its turn. Who is
known to be down, its provider's circuit or its model's own open, and who rests or is frozen is skipped at
once. Nothing here is asked once the first byte has gone to the caller.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from dashd.domain import surrogates
from dashd.domain.circuit import Admission, Blame, Change
from dashd.wire import safe

from .registry import Candidate

TRIES_MAX = 3
"""Of one candidate in one call, while there is a next one."""
LAST_TRIES_MAX = 6
"""Of the last one of a chain."""
BACKOFF_S = 0.25
BACKOFF_S_MAX = 8.0
RETRY_AFTER_S_MAX = 60.0
"""No provider is left alone for longer because it asked to be."""
ELSEWHERE_S = 1.0
"""A longer pause than this is not waited for while another candidate is free."""
BODY_SHOWN_MAX = 300

_TERMINAL = re.compile(
    r"insufficient.?quota|insufficient.?(?:balance|credit|funds)|exceeded your current quota|credit balance"
    r"|billing|payment.?required|out of credits|account.{0,20}(?:suspended|deactivated|disabled)",
    re.IGNORECASE,
)
# OpenAI: "Project `p` does not have access to model `m`", model_not_found. Groq:
# model_permission_blocked_org. Bedrock: "You don't have access to the model with the specified model ID".
_NO_ACCESS = re.compile(
    r"model.?(?:not.?found|permission)|(?:access|permi\w+|authori[sz]ed|allowed|entitled|enabled|blocked)"
    r"[^.;]{0,60}\bmodel\b|\bmodel\b.{0,80}(?:access|permi\w+|not (?:authori[sz]ed|allowed|available|enabled)"
    r"|blocked|denied)",
    re.IGNORECASE,
)
# OpenRouter says 403 of a prompt that its moderation has flagged.
_FLAGGED = re.compile(r"moderation|flagged", re.IGNORECASE)
_RETRIED = frozenset({408, 409, 425, 429})
_KEY_REFUSED = frozenset({401, 402, 403})

What = Literal["retry", "next", "denied", "terminal", "final"]


class Failure(msgspec.Struct, frozen=True):
    """Why a try gave the caller nothing.

    retry: the same candidate may do better later. next: this one never will, another may. denied: the account
    has no access to this model, to others it may. terminal: the account is at its end, and whoever pays it
    has to look. final: the call itself is at fault; its answer is the caller's.
    """

    what: What
    why: str
    status: int | None = None
    retry_after_s: float | None = None
    waited: bool = False
    """It was waited for long enough already: the next of the chain, where there is one, has its turn."""
    reached: bool = True
    """The provider was: an answer began, or there was somebody to send the try to."""

    @property
    def blames(self) -> Blame | None:
        """Whose circuit it counts against; being asked to slow down counts against nobody's."""
        if self.what != "retry" or self.status == 429:
            return None
        return "model" if self.reached else "provider"


class Pause(msgspec.Struct, frozen=True):
    """Nobody can be tried before `until`."""

    until: float


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What an answer with an error status means; `headers` have lower-case names."""
    said = _said(body)
    why = f"HTTP {status} {said}".strip()
    if status == 403 and not _TERMINAL.search(said):
        if _FLAGGED.search(said):
            return Failure("final", why, status)
        if _NO_ACCESS.search(said):
            return Failure("denied", why, status)
    if status in _KEY_REFUSED or (400 <= status < 500 and _TERMINAL.search(said)):
        return Failure("terminal", why, status)
    if status in _RETRIED or status >= 500:
        return Failure("retry", why, status, retry_after_s(headers))
    if status == 404:
        return Failure("next", why, status)
    return Failure("final", why, status)


def judge_in_band(kind: str) -> Failure:
    """What an error inside an answer of status 200 means, before anything of it was passed on."""
    if _TERMINAL.search(kind):
        return Failure("terminal", kind)
    return Failure("retry", kind, 429 if "rate_limit" in kind else None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds for which the provider asks to be left alone; None where it says nothing, or a date."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return min(seconds, RETRY_AFTER_S_MAX)
    return None


class Route:
    """The way of one call along its chain."""

    def __init__(self, chain: Sequence[Candidate], chance: Callable[[], float]) -> None:
        """`chance` gives numbers in [0, 1), for the jitter."""
        self.chain = chain
        self.last: Failure | None = None
        self.tried: Candidate | None = None
        """Who was called last."""
        self._chance = chance
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._given_up: set[str] = set()

    def choose(self, now: float, until: float = math.inf) -> Candidate | Pause | None:
        """Whose turn it is, how long to pause, or None where nobody is left. Nobody is paused for beyond
        `until`: whoever is free has their turn instead. It takes nothing: see `enter`.
        """
        soonest: float | None = None
        for each in self.chain:
            if each.provider.frozen is not None or each.name in self._given_up:
                continue
            circuits = each.provider.circuits
            at = max(self._not_before.get(each.name, now), circuits.admits_at(each.model, now))
            if at <= now:
                return each
            if at > until:
                continue
            soonest = at if soonest is None else min(soonest, at)
            if circuits.state(now, each.model) == "closed" and at - now <= ELSEWHERE_S:
                break  # Worth a short pause: the earlier ones of a chain are there for a reason.
        return None if soonest is None else Pause(soonest)

    def enter(self, candidate: Candidate, now: float) -> Admission | None:
        """Takes the candidate's turn, right before it is called; None where somebody else probes it by now.

        Whoever was let in says how it went: `succeeded`, `failed` or `withdrew`.
        """
        if candidate.provider.frozen is not None:
            return None
        return candidate.provider.circuits.admits(candidate.model, now)

    def left_for(self, candidate: Candidate) -> tuple[Candidate, str] | None:
        """(who would have had the turn, why they have not), right before the candidate is called; None where
        it is nobody else's.
        """
        before, self.tried = self.tried or self.chain[0], candidate
        if before == candidate:
            return None
        rests = before.provider.frozen or f"{before.provider.name} is left alone after failures"
        return before, self.last.why if self.last else rests

    @property
    def frozen(self) -> str | None:
        """Why nobody can be tried, where all of the chain are frozen."""
        whys = [each.provider.frozen for each in self.chain]
        return next(iter(whys), None) if all(whys) else None

    def succeeded(self, candidate: Candidate) -> list[Change]:
        """The candidate answers; returns what that made of its circuits."""
        return candidate.provider.circuits.succeeded(candidate.model)

    def withdrew(self, candidate: Candidate) -> None:
        """The try ended without telling anything of the candidate."""
        candidate.provider.circuits.withdrew(candidate.model)

    def failed(self, candidate: Candidate, failure: Failure, now: float) -> list[Change]:
        """The try failed; returns what that made of the candidate's circuits."""
        self.last = failure
        name, circuits = candidate.name, candidate.provider.circuits
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        if failure.what == "terminal":
            candidate.provider.frozen = failure.why
        tries_max = LAST_TRIES_MAX if candidate == self.chain[-1] else TRIES_MAX
        moves_on = failure.waited and candidate != self.chain[-1]
        if failure.what != "retry" or tries >= tries_max or moves_on:
            self._given_up.add(name)
        backoff = min(BACKOFF_S_MAX, BACKOFF_S * 2 ** (tries - 1)) * (0.5 + self._chance() / 2)
        if failure.retry_after_s is not None:
            # Who asks to slow down speaks for the account; who is in trouble, for the model that was asked.
            circuits.rest(candidate.model, failure.blames or "provider", now + failure.retry_after_s)
            backoff = max(backoff, failure.retry_after_s)
        self._not_before[name] = now + backoff
        if failure.blames is not None:
            return circuits.failed(candidate.model, failure.blames, now)
        if failure.what == "final":
            return circuits.succeeded(candidate.model)
        if failure.what == "denied":
            return circuits.denied(candidate.model, now)
        circuits.withdrew(candidate.model)
        return circuits.answered() if failure.what == "next" else []


def _said(body: bytes) -> str:
    """What an error body says: its type, code and message, short and printable."""
    try:
        whole = surrogates.decode(body)
    except (ValueError, RecursionError):
        whole = None
    error = whole.get("error", whole) if isinstance(whole, dict) else None
    if isinstance(error, dict):
        parts = [str(error[name]) for name in ("type", "code", "message") if error.get(name)]
        text = " ".join(dict.fromkeys(parts))
    else:
        text = error if isinstance(error, str) else body[:BODY_SHOWN_MAX].decode("utf-8", "replace")
    return safe.line(text[:BODY_SHOWN_MAX])
