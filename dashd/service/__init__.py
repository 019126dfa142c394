"""What the API does: one file per noun; each function checks, decides, writes and returns.

A call records intent in one transaction; `runtime` reads the rows and moves the world. A handler is a plain
function (run inside the connection's read loop: it must not wait) or a coroutine function.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from dashd.wire.methods.table import Result

from . import (
    agents,
    approvals,
    audit,
    budgets,
    costs,
    daemon,
    events,
    gates,
    keys,
    landings,
    logs,
    merges,
    models,
    plans,
    programs,
    providers,
    reports,
    swarms,
    tasks,
    worktrees,
)
from .core import Caller, Core
from .guard import guarded

Handler = Callable[[Core, Caller, Any], Result | Awaitable[Result]]

_HANDLERS: dict[str, Handler] = {
    "daemon.ping": daemon.ping,
    "daemon.status": daemon.status,
    "daemon.stop": daemon.stop,
    "swarm.create": swarms.create,
    "swarm.list": swarms.list_,
    "swarm.get": swarms.get,
    "swarm.pause": swarms.pause,
    "swarm.resume": swarms.resume,
    "swarm.scale": swarms.scale,
    "swarm.destroy": swarms.destroy,
    "swarm.report": reports.report,
    "swarm.land": landings.land,
    "swarm.plan": plans.plan,
    "swarm.costs": costs.costs_,
    "budget.status": budgets.status,
    "budget.set": budgets.set_,
    "budget.extend": budgets.extend,
    "budget.history": budgets.history,
    "budget.export": budgets.export,
    "provider.add": providers.add,
    "provider.list": providers.list_,
    "provider.test": providers.test,
    "provider.remove": providers.remove,
    "program.install": programs.install,
    "program.list": programs.list_,
    "program.check": programs.check,
    "model.list": models.list_,
    "model.get": models.get,
    "model.set": models.set_,
    "model.calls": models.calls,
    "key.create": keys.create,
    "key.list": keys.list_,
    "key.rotate": keys.rotate,
    "key.revoke": keys.revoke,
    "agent.set_model": agents.set_model,
    "agent.spawn": agents.spawn,
    "agent.list": agents.list_,
    "agent.get": agents.get,
    "agent.why": agents.why,
    "agent.pause": agents.pause,
    "agent.resume": agents.resume,
    "agent.kill": agents.kill,
    "agent.retry": agents.retry,
    "agent.logs": logs.logs,
    "agent.message": agents.message,
    "agent.result": agents.result,
    "agent.diff": worktrees.diff,
    "task.list": tasks.list_,
    "task.get": tasks.get,
    "task.cancel": tasks.cancel,
    "task.retry": tasks.retry,
    "event.list": events.list_,
    "event.wait": events.wait,
    "gate.set": gates.set_,
    "gate.list": gates.list_,
    "gate.remove": gates.remove,
    "approval.list": approvals.list_,
    "approval.resolve": approvals.resolve,
    "worktree.list": worktrees.list_,
    "worktree.create": worktrees.create,
    "worktree.cleanup": worktrees.cleanup,
    "worktree.salvage": worktrees.salvage,
    "merge.enqueue": merges.enqueue,
    "merge.list": merges.list_,
    "merge.status": merges.status,
    "merge.cancel": merges.cancel,
    "audit.list": audit.list_,
    "audit.verify": audit.verify,
    "audit.export": audit.export,
}
HANDLERS: dict[str, Handler] = {method: guarded(method, handler) for method, handler in _HANDLERS.items()}
"""By method, for those who may call it; the door itself serves `rpc.*` and subscriptions."""
