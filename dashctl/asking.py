"""What is said and asked before something that runs is ended.

A person at a terminal is asked, with the count; a script has to say --yes. Ending agents that were named
one by one is not asked about, as with `docker kill` and `kubectl delete pod`: naming them is the consent.
"""

from __future__ import annotations

from dashctl import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from dashctl.terminal import Output

LIVE_STATES = ("spawning", "running", "paused")


def confirm(out: Output, question: str, *, yes: bool, refusal: str, hint: str) -> None:
    """Returns where the person agrees, by --yes or at the terminal. Raises calling.Failure."""
    if yes:
        return
    if not (out.stdin.isatty() and out.notes_on_terminal):
        raise calling.UsageError(f"{refusal}; without a terminal that needs --yes", hint=hint)
    if not out.ask(question):
        raise calling.Failure("nothing was changed, as you did not say yes", kind="Declined")


def live_agents(by_state: Mapping[str, int]) -> int:
    """How many agents have a process now."""
    return sum(by_state.get(state, 0) for state in LIVE_STATES)


def plural(count: int, noun: str) -> str:
    """`1 agent`, `20 agents`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
