"""The tools as one table: what a model sees of each, and what it adds to the wire method of its name.

A tool prepares parameters, calls dashd and shapes the answer; it decides nothing. What it adds is for
models: a working folder, a key that makes a hasty repetition harmless, patience, and what to do next.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from dashd.wire import errors, methods
from dashd.wire.methods import agent, event, session, table

from . import answers, schemas
from .link import Link

REPEAT_WINDOW_S = 60.0
"""Equal parameters within this time of the first call mean the same swarm."""
RECENT_MAX = 100
WAIT_S = 50.0
"""How long event_wait waits by default: less than the shortest limit a client is known to have (60 s)."""
WAIT_S_MAX = {"claude-code": 170.0, "codex": 150.0, "opencode": 150.0}
"""By the beginning of the client's name: how long a call was seen to be waited for (others: WAIT_S)."""
EVENTS_MAX = 50
BATCH_S = 2.0
"""How long failures are gathered after the first: they come in crowds, and an answer costs a model's turn."""
PROGRESS_S = 10.0
"""Between two signs of life to a client that asked for them."""
_ENDED = ("completed", "failed", "destroyed")
_ENDS = tuple(f"swarm.{state}" for state in _ENDED)

Answer = dict[str, Any]


@dataclass
class Session:
    """What one MCP connection remembers; all of it may be lost without harm."""

    link: Link
    cwd: str
    new_key: Callable[[], str]
    now: Callable[[], float] = trio.current_time
    recent: dict[bytes, tuple[str, float]] = field(default_factory=dict)

    def key(self, method: str, params: Mapping[str, Any]) -> str:
        """The idempotency key for these parameters: the same one within REPEAT_WINDOW_S of its first use."""
        now = self.now()
        fresh = {call: seen for call, seen in self.recent.items() if now - seen[1] < REPEAT_WINDOW_S}
        self.recent = dict(list(fresh.items())[-RECENT_MAX:])
        call = msgspec.json.encode([method, params], order="deterministic")
        return self.recent.setdefault(call, (self.new_key(), now))[0]


@dataclass(frozen=True)
class Call:
    """One call of a tool: wire parameters that were checked, and whom it serves."""

    session: Session
    params: dict[str, Any]
    client: str
    report_progress: Callable[[float, float | None, str | None], Awaitable[None]]

    async def ask(self, method: str, params: Any = None) -> Any:  # noqa: ANN401
        """Calls dashd with these parameters, by default those of the tool's call."""
        return await self.session.link.call(method, self.params if params is None else params)


class Waited(table.Result):
    """What event_wait answers; `state` and `tasks` only where a swarm was named."""

    events: list[dict[str, Any]]
    next: int
    timed_out: bool
    more: bool | None
    state: str | None
    tasks: dict[str, int] | None
    hint: str


@dataclass(frozen=True)
class Tool:
    """One row of the table. `patches` changes arguments' schemas by name; `hidden` ones are not offered."""

    run: Callable[[Call], Awaitable[Answer]]
    description: str
    result: type[table.Result] | None = None
    """What it answers, where that is not the method's own result."""
    open_world: bool = False
    patches: schemas.Patches = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """`swarm_create`, from its function."""
        return self.run.__name__

    @property
    def method(self) -> table.Method:
        """The row of the method table that this tool offers."""
        return methods.METHODS[self.name.replace("_", ".", 1)]

    def arguments(self) -> list[schemas.Argument]:
        """What may be passed, in the order of the wire struct."""
        return schemas.arguments(self.method.params, self.patches, self.hidden)


async def swarm_create(call: Call) -> Answer:
    """Creates a swarm, by default in the server's folder; a hasty repetition finds the first one."""
    if "repo" not in call.params:
        call.params.setdefault("cwd", call.session.cwd)
    call.params.setdefault("idempotency_key", call.session.key("swarm.create", call.params))
    created = await call.ask("swarm.create")
    if created.plan is not None:
        return answers.of(created.plan) | {"hint": "Nothing was created. Leave out dry_run to create it."}
    hint = (
        f"Next: event_wait {{swarm: {created.id}, since: {created.cursor}}}, then swarm_report once it ended."
    )
    if created.approval:
        hint = f"It starts when approval {created.approval} is given: tell the operator. {hint}"
    if created.deduplicated:
        hint = (
            "This is the swarm that the same call created before. For another one, pass another name. " + hint
        )
    return answers.of(created) | {"hint": hint}


async def swarm_get(call: Call) -> Answer:
    """Says how a swarm stands, without what its creator knows already."""
    swarm = await call.ask("swarm.get")
    return answers.of(swarm, "task", "argv", "limits", "lease_s", "why_driver")


async def event_wait(call: Call) -> Answer:
    """Waits for events; for those that need attention unless kinds are named, of one swarm if it is named."""
    swarm = call.params.get("swarm")
    wait_s = min(call.params.pop("timeout_s", WAIT_S), longest_wait_s(call.client))
    params = {"limit": EVENTS_MAX, "attention": "kinds" not in call.params} | call.params
    if swarm is not None:
        # An unknown swarm is an error at once, and an ended one is not waited for.
        wait_s = 0.0 if (await call.ask("swarm.get", {"swarm": swarm})).state in _ENDED else wait_s
    elif "since" not in params:
        params["since"] = (await call.ask("daemon.status", {})).last_seq
    found = await _events(call, params, wait_s)
    stands = None if swarm is None else await call.ask("swarm.get", {"swarm": swarm})
    answer: Answer = {
        "events": [answers.suggested(answers.event(each, swarm), in_tool_names) for each in found.events],
        "next": found.cursor,
        "timed_out": found.timed_out,
    }
    if found.more:
        answer["more"] = True
    if stands is not None:
        answer |= {"state": stands.state, "tasks": stands.tasks}
    return answer | {"hint": _after_wait(answer, swarm)}


def longest_wait_s(client: str) -> float:
    """How long one call may take before this client gives it up."""
    return next((wait_s for name, wait_s in WAIT_S_MAX.items() if client.lower().startswith(name)), WAIT_S)


def _after_wait(answer: Answer, swarm: str | None) -> str:
    if answer.get("state") in _ENDED:
        return f"The swarm has ended: call swarm_report {{swarm: {swarm}}}."
    again = f"event_wait {{{f'swarm: {swarm}, ' if swarm else ''}since: {answer['next']}}}"
    ended = [each["swarm"] for each in answer["events"] if each["kind"] in _ENDS and "swarm" in each]
    if ended:
        return f"Ended: {', '.join(ended)}; call swarm_report. Then go on with {again}."
    if not answer["events"]:
        return f"Nothing needs you. Go on waiting with {again}, or do other work first; nothing is missed."
    return f"Go on with {again}."


async def _events(call: Call, params: dict[str, Any], wait_s: float) -> event.Events:
    """What came within `wait_s`; with nothing but failures, also what comes within BATCH_S of the first."""
    if not wait_s:
        listed: event.Events = await call.ask("event.list", params)
        return listed
    found = await _wait(call, params, wait_s)
    until = call.session.now() + BATCH_S
    while params["attention"] and all(each.kind == "task.dead" for each in found.events):
        left_s = until - call.session.now()
        if found.timed_out or len(found.events) >= EVENTS_MAX or left_s <= 0:
            break
        later = await _wait(call, params | {"since": found.cursor}, left_s)
        found = msgspec.structs.replace(
            found, events=found.events + later.events, cursor=later.cursor, more=later.more
        )
        if later.timed_out:
            break
    return found


async def _wait(call: Call, params: dict[str, Any], wait_s: float) -> event.Events:
    """event.wait, with a sign of life now and then for clients that give up silent calls."""
    deadline = call.session.now() + wait_s

    def remaining() -> dict[str, Any]:
        return params | {"timeout_s": round(max(0.001, deadline - call.session.now()), 3)}

    async def report() -> None:
        started = trio.current_time()
        while True:
            await trio.sleep(PROGRESS_S)
            await call.report_progress(round(trio.current_time() - started), wait_s, "waiting for events")

    found: event.Events | None = None
    failure: errors.DashError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report)
        try:
            found = await call.ask("event.wait", remaining)
        except errors.DashError as error:
            failure = error  # Raised outside, for a nursery would wrap it in a group.
        nursery.cancel_scope.cancel(reason="the wait is over")
    if failure:
        raise failure
    assert found is not None
    return found


async def agent_spawn(call: Call) -> Answer:
    """Adds an agent; without a swarm it gets one of its own, in the server's folder unless told otherwise."""
    if call.params.keys().isdisjoint({"swarm", "parent"}):
        call.params.setdefault("cwd", call.session.cwd)
    # A key of its own: two equal agents may well be meant, but one lost answer must not make two.
    call.params.setdefault("idempotency_key", call.session.new_key())
    spawned = await call.ask("agent.spawn")
    return answers.of(spawned) | {"hint": _next(spawned)}


async def session_fork(call: Call) -> Answer:
    """Begins an agent with a copy of another one's conversation."""
    call.params.setdefault("idempotency_key", call.session.new_key())
    forked = await call.ask("session.fork")
    return answers.of(forked) | {"hint": _next(forked)}


def _next(begun: agent.AgentSpawned | session.SessionForked) -> str:
    hint = f"Next: event_wait {{swarm: {begun.swarm}, since: {begun.cursor}}}."
    if begun.approval:
        hint = f"It starts when approval {begun.approval} is given: tell the operator. {hint}"
    return hint


async def agent_kill(call: Call) -> Answer:
    """Ends an agent."""
    return answers.of(await call.ask("agent.kill"))


async def budget_status(call: Call) -> Answer:
    """How a budget stands, with its forecast; what could be done is told in tool names."""
    status = await call.ask("budget.status")
    answer = answers.of(status)
    for holder, name in ((answer, "options"), (answer.get("forecast", {}), "suggestions")):
        if found := holder.get(name):
            holder[name] = [text for text in map(in_tool_names, found) if "." not in text.split()[0]]
    return answer


async def budget_extend(call: Call) -> Answer:
    """Adds to a budget; a hasty repetition of the same call adds nothing."""
    call.params.setdefault("idempotency_key", call.session.key("budget.extend", call.params))
    changed = await call.ask("budget.extend")
    hint = f"{changed.resumed} that had stopped go on." if changed.resumed else "Nothing had stopped for it."
    if changed.approval:
        hint = f"Nothing was added yet: it waits for approval {changed.approval}. Tell the operator."
    if changed.deduplicated:
        hint = (
            "This is what the same call did before; nothing was added again. To add more, give another why."
        )
    return answers.of(changed) | {"hint": hint}


async def approval_resolve(call: Call) -> Answer:
    """Decides about requests that were delegated to this orchestrator."""
    return answers.of(await call.ask("approval.resolve"))


async def swarm_report(call: Call) -> Answer:
    """The account of a swarm, cut to what clients pass on to a model."""
    report = await call.ask("swarm.report")
    offered = [text for text in map(in_tool_names, report.follow_ups) if "." not in text.split()[0]]
    report = msgspec.structs.replace(report, follow_ups=offered)
    chars_max = answers.REPORT_CHARS_MAX[call.params.get("detail", "concise")]
    return answers.fitted(answers.of(report), chars_max)


_KEY = {"description": "Same key: never done twice."}
_RUN_LIMITS: dict[str, dict[str, Any]] = {
    "timeout_s": {"description": "Of one attempt."},
    "retries": {"description": "After a failed attempt."},
    "cwd": {"description": "Absolute path; default: your folder."},
    "idempotency_key": _KEY,
}
_REACH: dict[str, dict[str, Any]] = {
    "repo": {"description": "Git repository: a clone each."},
    "scope": {"description": "Folders to write; default all."},
    "hosts": {"description": "Internet hosts, or npm, pypi."},
}
_RARE = frozenset({"grace_s", "memory_mb", "processes", "disk_mb", "cpu_s"})
"""Limits that a person may want; a model would only pay for reading of them."""
_OF_CHILDREN = frozenset({"scope", "read", "hosts", "allow_commands", "deny_commands", "depth", "budget"})
"""What narrows an agent's child: the listing has no room for it, and without it a child has its parent's."""
_TREES = frozenset({"base", "begin_from", "workspace", "cleanup", "shared", "isolated"})
"""What a swarm begins with, and how it works on a repository: the defaults are right for nearly all."""
_PLACES = frozenset({"policy", "capabilities", "region", "version"})
"""Which of several places it works in."""
_MONEY: dict[str, dict[str, Any]] = {
    "agent_budget": {"type": ["number", "string"]},
    "dry_run": {"description": "Only price it."},
}
_WORK: dict[str, dict[str, Any]] = {
    "items": {"description": "One task each; more than `agents` queue up."},
    "strategy": {"description": "pipeline: one after the other; map-reduce: the last after all others."},
}

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            swarm_create,
            "Starts a swarm of 1 to 100 agents on a task and returns its id at once. "
            "One task per item, else per agent. Not for seeing how it goes.",
            open_world=True,
            patches=_RUN_LIMITS | _MONEY | _REACH | _WORK,
            hidden=_RARE
            | _TREES
            | {"lease_s", "agent_budgets", "reserve", "read", "unsafe_no_jail", "label", "mode"}
            | _PLACES
            | {"allow_commands", "deny_commands"},
        ),
        Tool(
            swarm_get,
            "Says how a swarm stands: its state, its tasks and agents by state. "
            "To wait for it, use event_wait instead.",
        ),
        Tool(
            event_wait,
            "Waits until something needs you: a swarm ended, a task failed for good, a budget, an approval. "
            "Returns `events`, `next` (pass it as `since`: nothing is missed) and the swarm's state.",
            patches={
                "since": {"description": "`cursor` of swarm_create, then `next`. Default: all of the swarm."},
                "swarm": {"description": "Default: all swarms, from now on."},
                "kinds": {"description": "Instead of what needs attention: `task.completed`, `task.*`, `*`."},
                "timeout_s": {
                    "description": "Your client may allow less.",
                    "default": int(WAIT_S),
                    "maximum": int(max(WAIT_S_MAX.values())),
                },
            },
            hidden=frozenset({"attention", "limit"}),
            result=Waited,
        ),
        Tool(
            agent_spawn,
            "Adds one agent with one task to a swarm, or starts a swarm of one.",
            open_world=True,
            patches={name: _RUN_LIMITS[name] for name in ("timeout_s", "cwd")}
            | {"argv": {"description": "This to timeout_s only without `swarm`."}, "parent": schemas.UNTOLD},
            hidden=_RARE | _OF_CHILDREN | {"begin_from", "retries", "priority", "idempotency_key"},
        ),
        Tool(
            session_fork,
            "Adds an agent that knows what a session's agent knew at a step.",
            open_world=True,
            patches={
                "session": {"description": "Or its agent's id."},
                "at": {"description": "Default: its last step."},
            },
            hidden=frozenset({"swarm", "name", "idempotency_key"}),
        ),
        Tool(
            agent_kill,
            "Ends an agent and its processes. Its task is cancelled, or with `requeue` done by another.",
        ),
        Tool(
            budget_status,
            "What a budget has spent, holds and has left, and what a swarm will come to. "
            "`budget`: a swarm's or agent's id, or `project`.",
        ),
        Tool(
            budget_extend,
            "Adds to a budget; what had stopped for it goes on. Only when whoever pays agrees.",
            patches={"idempotency_key": _KEY},
        ),
        Tool(
            approval_resolve,
            "Answers `approval.requested` where its `who` is orchestrator.",
            patches={"note": {"description": "Why."}},
        ),
        Tool(
            swarm_report,
            "The account of a swarm: outcome, counts, failures with their last lines, results. "
            "Once the swarm ended it is final; before, it is an interim report.",
            patches={"detail": {"description": "concise: the first 20 results, shortened."}},
        ),
    )
}
"""Every tool by name, in the order a model reads them."""


def in_tool_names(text: str) -> str:
    """The text with methods called as their tools: `swarm.report` is `swarm_report` where there is one."""
    for tool in TOOLS.values():
        text = text.replace(tool.method.name, tool.name)
    return text
