"""Who may call what, as one table; dashd enforces it, whatever a client believes.

The operator may all. An orchestrator (a program that showed an orchestrator's key) may look at what is no
secret, and change what the table names; a method that changes something and is not named is the operator's.
Agents do not come through this door at all: what they may ask is their listener's business.
"""

from fnmatch import fnmatchcase
from typing import Final

from dashd.wire import errors, methods
from dashd.wire.methods.table import Params

from .core import Caller

ORCHESTRATOR_CHANGES: Final = (
    "swarm.*",
    "agent.*",
    "task.*",
    "queue.*",
    "dead.*",
    "message.*",
    "todo.*",
    "session.*",
    "worktree.*",
    "merge.*",
    "escalation.*",
    "hint.*",
    "event.*",
    "budget.extend",  # of swarms, within the money gates, and not what was set by hand
    "approval.resolve",  # of gates that were delegated to it
)
"""What an orchestrator may change."""
OPERATOR_ALONE: Final = (
    "audit.export",
    "key.*",
    "config.*",
    "provider.*",
    "budget.export",
    "session.export",
    "session.archive",
    "model.calls",  # what programs outside said, too
)
"""What an orchestrator may not even look at, and exceptions from the table above."""
OPERATOR_PARAMETERS: Final = {
    ("worktree.cleanup", "give_up"): "leave it out: what is saved whole is removed, the rest stays; or ask"
    " the operator, who alone decides that something is lost: dashctl worktree cleanup {about} --give-up",
}
"""What an orchestrator may not say in a call that it may make, and what to do instead."""


def allows(actor: str, method: str) -> bool:
    """Whether an actor may call a method."""
    if actor == "operator":
        return True
    if actor != "orchestrator" or _named(method, OPERATOR_ALONE):
        return False
    return not methods.METHODS[method].changes or _named(method, ORCHESTRATOR_CHANGES)


def allowed(actor: str) -> list[str]:
    """Every method that an actor may call, in order."""
    return sorted(name for name in methods.METHODS if allows(actor, name))


def check(caller: Caller, method: str, params: Params | None = None) -> None:
    """Raises Forbidden where the caller may not call the method, or not with these parameters."""
    if not allows(caller.actor, method):
        raise errors.Forbidden(
            f"{method} is not for {caller.who}",
            hint="ask the operator to do it; rpc.hello lists what this key may call",
        )
    if caller.actor == "operator":
        return
    for (name, parameter), hint in OPERATOR_PARAMETERS.items():
        if name == method and getattr(params, parameter, None):
            about = getattr(params, "worktree", "") or f"--swarm {getattr(params, 'swarm', '')}"
            raise errors.Forbidden(
                f"{parameter} in {method} is not for {caller.who}", hint=hint.format(about=about)
            )


def _named(method: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(method, pattern) for pattern in patterns)
