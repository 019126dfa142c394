"""What a forecast means for a limit, in words, and what could be done about it, with figures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from . import dollars, prices
from .forecast import Projection

MODELS_MAX = 2
"""Cheaper models that are suggested at once."""
_NEAR = 3
"""From three quarters of a limit on something is suggested, though nobody can tell where it ends."""
_WORTH = 0.9
"""A model is worth naming from a tenth cheaper on."""
_NOTHING = prices.Usage(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Situation:
    """A swarm and its tightest limit, in nano-dollars."""

    swarm: str
    budget: str
    """The node that has the least left, the swarm's own or one above it."""
    spent: int
    left: int | None
    """Until that node's limit; None where nothing is limited."""
    burn_per_min: int
    projection: Projection | None
    agents: int
    """That work now."""
    not_begun: int
    """Tasks."""
    model: str = ""
    """The one that has cost most so far."""
    usage: prices.Usage = _NOTHING
    """Of all calls of that model so far: the mix by which others are compared with it."""
    calls: int = 1
    """How many these were."""
    blocked: str = ""
    """What keeps its next call out, whatever the share that is spent; then nothing runs into a limit."""


class Outlook(msgspec.Struct, frozen=True):
    """What is told."""

    passes_in_s: float | None
    text: str
    suggestions: list[str]


def look(now: Situation, models: Sequence[tuple[str, prices.Price]] = ()) -> Outlook:
    """The text and the suggestions; `models` are those that could be used, with what they cost."""
    rest = None if now.projection is None else now.projection.total - now.spent
    most = None if now.projection is None else now.projection.high - now.spent
    if now.left is None and not now.blocked:
        return Outlook(None, _figures(now) or "nothing is limited, and too little has ended to tell", [])
    left = now.left or 0
    passes = rest is None or rest > left
    may_pass = most is None or most > left
    going = passes and now.burn_per_min > 0 and not now.blocked
    in_s = left / now.burn_per_min * 60 if going else None
    text = _text(now, left, in_s, passes=passes, may_pass=may_pass)
    near = bool(now.blocked) or now.spent >= _NEAR * left
    if not may_pass or (rest is None and not near):
        return Outlook(in_s, text, [])
    return Outlook(in_s, text, _suggestions(now, left, rest or 0, most or 0, in_s, models))


def span(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 5 min`."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _figures(now: Situation) -> str:
    if now.projection is None:
        return ""
    found = now.projection
    low, high = dollars.text(found.low), dollars.text(found.high)
    return f"all tasks together come to about {dollars.text(found.total)} ({low} to {high})"


def _text(now: Situation, left: int, in_s: float | None, *, passes: bool, may_pass: bool) -> str:
    figures = _figures(now)
    of = "the limit" if now.budget == now.swarm else f"the limit of {now.budget}"
    if now.blocked or left <= 0:
        return (now.blocked or f"{of} is reached") + (f"; {figures}" if figures else "")
    if not figures:
        if in_s is None:
            return "nothing was spent lately, and too little has ended to tell"
        return f"at this rate you pass {of} in {span(in_s)}; too little has ended to tell where it ends"
    if passes:
        when = f"at this rate you pass {of} in {span(in_s)}" if in_s is not None else f"you will pass {of}"
        return f"{when}; {figures}"
    if may_pass:
        return f"{figures}; {of} may be passed, {dollars.text(left)} is left"
    return f"{figures}, within {of}"


def _suggestions(
    now: Situation,
    left: int,
    rest: int,
    most: int,
    in_s: float | None,
    models: Sequence[tuple[str, prices.Price]],
) -> list[str]:
    found = []
    if most > left and not now.blocked:  # where it has stopped, the options say what lets it go on
        enough = f", {dollars.typed(rest - left)} the likely one" if rest > left else ""
        found.append(
            f"budget.extend {now.budget} {dollars.typed(most - left)}: covers the dearest case{enough}"
        )
    found += _cheaper(now, left, rest, models)
    if in_s and now.agents > 1:
        fewer = max(1, now.agents // 2)
        slower = span(in_s * now.agents / fewer)
        found.append(
            f"swarm.scale {now.swarm} {fewer}: slower, not cheaper: {fewer} instead of {now.agents} agents"
            f" take {slower} to pass it"
        )
    if now.projection is not None and now.projection.each > 0 and now.not_begun:
        running = rest - now.projection.each * now.not_begun
        affordable = max(0, min(now.not_begun, (left - running) // now.projection.each))
        if affordable < now.not_begun:
            drop = now.not_begun - affordable
            found.append(
                f"task.cancel {drop} of the {now.not_begun} tasks that have not begun:"
                f" what is left covers about {affordable}"
            )
    return found


def _cheaper(now: Situation, left: int, rest: int, models: Sequence[tuple[str, prices.Price]]) -> list[str]:
    """The dearest model with which what is left to do would fit, and the cheapest, with what they save.

    Both by the tokens that the swarm has really used; among models the dearer one is taken for the better.
    """
    own = next((price for name, price in models if name == now.model), None)
    paid = _cost(now, own) if own is not None and now.usage.tokens else 0
    if paid <= 0:
        return []
    shares = sorted(
        (_cost(now, price) / paid, name) for name, price in models if name != now.model and price.output
    )
    able = [each for each in shares if each[0] <= _WORTH]
    fit = [each for each in able if rest * each[0] <= left]
    picked = dict.fromkeys([*fit[-1:], *able[:1]])
    return [_saving(now, rest, share, name) for share, name in picked][:MODELS_MAX]


def _saving(now: Situation, rest: int, share: float, name: str) -> str:
    if rest > 0:
        saves = f"saves about {dollars.text(int(rest * (1 - share)))}"
    else:
        so_far = dollars.text(int(now.spent * share))
        saves = f"{dollars.text(now.spent)} so far would have been about {so_far}"
    return (
        f"model {name} for what is left: {share:.0%} of the price of {now.model}, {saves} (agent.set_model)"
    )


def _cost(now: Situation, price: prices.Price) -> int:
    return prices.cost(now.usage, price, max(1, now.calls))
