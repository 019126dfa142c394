"""Keeps a call's thinking budget below the output it was granted, whichever field names the budget.

Thinking is billed as output and counts against the output limit, so a provider refuses a budget that does
not fit.
"""

from typing import Any

THINKING_TOKENS_MIN = 1_024
"""Providers take no smaller budget; below it thinking is turned off."""


def fit(budget: int, output_tokens: int) -> int | None:
    """The budget that fits: at most three quarters, so that an answer has room; None where none does."""
    most = min(budget, output_tokens * 3 // 4)
    return most if most >= THINKING_TOKENS_MIN else None


def lower(body: dict[str, Any], output_tokens: int) -> None:
    """Lowers the budget in `thinking`, `reasoning` or `thinking_budget`; changes `body`, not its insides."""
    thinking, reasoning, plain = (body.get(name) for name in ("thinking", "reasoning", "thinking_budget"))
    if isinstance(thinking, dict) and type(thinking.get("budget_tokens")) is int:
        budget = fit(thinking["budget_tokens"], output_tokens)
        body["thinking"] = {**thinking, "budget_tokens": budget} if budget else {"type": "disabled"}
    if isinstance(reasoning, dict) and type(reasoning.get("max_tokens")) is int:
        budget = fit(reasoning["max_tokens"], output_tokens)
        body["reasoning"] = {**reasoning, "max_tokens": budget} if budget else {"enabled": False}
    if type(plain) is int:
        budget = fit(plain, output_tokens)
        body |= {"thinking_budget": budget} if budget else {"enable_thinking": False}
        if not budget:
            del body["thinking_budget"]
