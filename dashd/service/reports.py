"""`swarm.report`: the account of a swarm. Tasks and agents are counted apart, partial is called partial."""

from dashd.domain import dollars, outlook, surrogates
from dashd.domain import swarm as rules
from dashd.store import agents, attempts, budgets, holds, situations, swarms, tasks, thresholds, workspaces
from dashd.store.rows import Snapshot, SwarmRow, TaskRow
from dashd.store.workspaces import WorkspaceRow
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import budget as budget_wire
from dashd.wire.methods import swarm as wire
from dashd.wire.methods import worktree as worktree_wire

from . import views
from .core import Caller, Core

_CUTS = {"concise": (20, 400), "full": (200, 4_000)}
"""By detail: (entries of each list at most, characters of each result at most)."""
_LAST_LINES_BYTES_MAX = 1_000
_LAST_LINES_MAX = 12
_REPORTED = "@dash "
"""How a line begins that an agent prints for Dash."""
STDERR = 2
"""The stream of a spool that it is in."""
_REMOVED = "(what it printed has been removed)"


async def report(core: Core, _caller: Caller, params: wire.ReportSwarm) -> wire.Report:
    """The account, in one snapshot; the last lines of failed tasks are read from their spools after it."""
    entries_max, characters_max = _CUTS[params.detail]
    now_ms = core.clock.now_ms()
    models = [(offer.name, offer.price) for offer in await core.models.offers()]

    def query(db: Snapshot) -> tuple[wire.Report, dict[str, str], str]:
        row = swarms.get(db, params.swarm)
        return *_account(db, row, entries_max, characters_max, now_ms, models), row.driver

    account, launches, driver = await core.store.reader.read(query)
    # Who takes messages speaks a protocol on stdout, which has no words for people.
    stream = STDERR if core.drivers.abilities(driver).message else None
    for failure in account.failures:
        if launch_id := launches.get(failure.task):
            failure.last_lines = await _last_lines(core, launch_id, stream)
    return account


async def _last_lines(core: Core, launch_id: str, stream: int | None) -> str:
    try:
        chunk = await core.spools.read(launch_id, None, _LAST_LINES_BYTES_MAX, stream)
    except errors.InvalidParams as error:  # one damaged file is no reason to withhold the report
        return f"({error.message})"
    text = chunk.output.decode("utf-8", "replace")
    if len(chunk.output) >= _LAST_LINES_BYTES_MAX:  # it begins somewhere in a line
        text = text.partition("\n")[2] or text
    return _plain(text)


def _plain(text: str) -> str:
    """The last lines as a person reads them: of what is for Dash only the notes, and one of equal lines."""
    found: list[str] = []
    for line in text.splitlines(keepends=True):
        shown = line
        if line.startswith(_REPORTED):
            note = _note(line.removeprefix(_REPORTED))
            shown = f"note: {note}\n" if note else ""
        if shown and found[-1:] != [shown]:
            found.append(shown)
    return "".join(found[-_LAST_LINES_MAX:])


def _note(said: str) -> str:
    """The note of a report; empty where it has none, or is none."""
    try:
        fields = surrogates.decode(said)
    except surrogates.UNREADABLE:
        return ""
    note = fields.get("note") if isinstance(fields, dict) else None
    return " ".join(note.split()) if isinstance(note, str) else ""


def _account(
    db: Snapshot, row: SwarmRow, entries_max: int, characters_max: int, now_ms: int, models: thresholds.Models
) -> tuple[wire.Report, dict[str, str]]:
    by_state = tasks.counts(db, row.id)
    total, lost, late, cpu_ms, retried, cut = attempts.sums(db, row.id)
    failed = tasks.ended_badly(db, row.id, entries_max)
    completed = tasks.completed(db, row.id, entries_max)
    shown = len(failed) + len(completed)
    ended = sum(by_state.get(state, 0) for state in ("completed", "dead", "cancelled"))
    account = wire.Report(
        id=row.id,
        name=row.name,
        state=row.state,  # type: ignore[arg-type]
        outcome=row.outcome,  # type: ignore[arg-type]
        final=row.state in rules.ENDED,
        summary=_summary(row, by_state, views.duration_s(row, now_ms)),
        tasks={"total": sum(by_state.values()), **by_state},
        agents={"total": sum(agents.counts(db, row.id).values()), **agents.counts(db, row.id)},
        attempts={"total": total, "retried": retried, "lost": lost, "late": late, "cut": cut},
        duration_s=views.duration_s(row, now_ms),
        cpu_s=cpu_ms / 1_000,
        failures=[_failure(db, task) for task in failed],
        results=[_result(db, task, characters_max) for task in completed],
        left_out=ended - shown,
        follow_ups=_follow_ups(row, failed, ended - by_state.get("completed", 0)),
        files=[_files(each, entries_max) for each in workspaces.of_swarm(db, row.id)],
    )
    _money(db, row, account, entries_max, now_ms, models)
    launches: dict[str, str] = {}
    for task in failed:
        if runs := attempts.of_task(db, task.id, 1):
            launches[task.id] = runs[0].launch_id
    if row.output != "kept":
        for failure in account.failures:
            failure.last_lines = _REMOVED if failure.task in launches else ""
        launches.clear()
    return account, launches


def _money(
    db: Snapshot,
    row: SwarmRow,
    account: wire.Report,
    entries_max: int,
    now_ms: int,
    models: thresholds.Models,
) -> None:
    """What it has cost; while it runs also where that is going, and what can be done about it."""
    node = budgets.find(db, row.id)
    if node is None or not node.spent_nusd + node.held_nusd:
        return
    of = "" if node.limit_nusd is None else f" of {dollars.text(node.limit_nusd)}"
    account.money = f"{dollars.text(node.spent_nusd)}{of} spent"
    _overruns(db, row, account, entries_max)
    if row.state in rules.ENDED:
        account.money += _ended_by(db, row)
        return
    found = outlook.look(situations.of_swarm(db, row.id, now_ms), models)
    account.money += f"; {found.text}"
    again = (f"swarm.report {row.id}", *([f"budget.history {row.id}"] if account.overruns else []))
    options = situations.options(db, node, now_ms)
    account.follow_ups += [each for each in options if not each.startswith(again)]
    account.follow_ups += found.suggestions


def _ended_by(db: Snapshot, row: SwarmRow) -> str:
    """What has killed agents of it, where that was a budget."""
    killed, _, _ = agents.page(db, row.id, '["killed"]', 0, 1_000)
    cause = next((seat.cause for seat in killed if seat.cause), "")
    return f"; {cause}" if cause else ""


def _overruns(db: Snapshot, row: SwarmRow, account: wire.Report, entries_max: int) -> None:
    """What was billed above its worst case is never passed over: it means that a price is wrong."""
    count, nusd = holds.overrun(db, row.id)
    if not count:
        return
    account.overrun_usd = dollars.usd(nusd)
    account.overruns = [_overrun(each) for each in holds.overruns(db, row.id, entries_max)]
    calls = "1 call" if count == 1 else f"{count} calls"
    account.money += f"; {calls} cost {dollars.text(nusd)} more than held: a price is wrong"
    models = dict.fromkeys(each.model.partition("/")[2] for each in account.overruns)
    account.follow_ups += [f"model.set {name} with the price of its provider" for name in models]
    nodes = dict.fromkeys(each.budget for each in account.overruns)
    account.follow_ups += [f"budget.history {each}: see why it is frozen" for each in nodes]


def _overrun(row: holds.HoldRow) -> budget_wire.Overrun:
    cost = row.cost_nusd or 0
    return budget_wire.Overrun(
        call=row.id or 0,
        at=iso(row.settled_at_ms or row.started_at_ms),
        budget=row.budget_id,
        agent=row.agent_id,
        task=row.task_id,
        model=f"{row.provider}/{row.model}",
        held_usd=dollars.usd(row.held_nusd),
        cost_usd=dollars.usd(cost),
        over_usd=dollars.usd(cost - row.held_nusd),
    )


def _summary(row: SwarmRow, by_state: dict[str, int], duration_s: float) -> str:
    total = sum(by_state.values())
    parts = [f"{by_state.get('completed', 0)} of {total} tasks completed"]
    parts += [f"{by_state[state]} {state}" for state in ("dead", "cancelled") if by_state.get(state)]
    open_ones = total - sum(by_state.get(state, 0) for state in ("completed", "dead", "cancelled"))
    parts += [f"{open_ones} still open"] if open_ones else []
    verdict = f"{row.state}, {row.outcome}" if row.outcome else row.state
    return f"{', '.join(parts)} in {duration_s:.1f} s ({verdict})"


def _failure(db: Snapshot, task: TaskRow) -> wire.Failure:
    seat = agents.find(db, task.agent_id) if task.agent_id else None
    return wire.Failure(
        task=task.id,
        agent=task.agent_id,
        item=views.short(task.item),
        state=task.state,
        cause=task.cause or (seat.cause if seat and seat.state == "killed" else "") or "",
        attempts=len(attempts.of_task(db, task.id, 1_000)),
        last_lines="",
    )


def _result(db: Snapshot, task: TaskRow, characters_max: int) -> wire.TaskResult:
    text = task.result or ""
    runs = attempts.of_task(db, task.id, 1)
    return wire.TaskResult(
        task=task.id,
        agent=task.agent_id or "",
        item=views.short(task.item),
        result=text[-characters_max:],
        truncated=bool(task.result_cut) or len(text) > characters_max,
        output_dropped=runs[0].output_dropped if runs else 0,
    )


def _files(row: WorkspaceRow, entries_max: int) -> worktree_wire.AgentFiles:
    """What came back of a workspace, as far as it fits."""
    changed = workspaces.changed_of(row)
    return worktree_wire.AgentFiles(
        worktree=row.owner,
        branch=row.branch,
        commit=row.imported,
        state=row.state,
        files=[
            worktree_wire.ChangedFile(path=each.path, status=each.status, flags=list(each.flags))
            for each in changed[:entries_max]
        ],
        more_files=row.changed_more + max(0, len(changed) - entries_max),
        salvage=row.salvage,
        problem=row.problem,
    )


def _follow_ups(row: SwarmRow, failed: list[TaskRow], failed_count: int) -> list[str]:
    if row.state not in rules.ENDED:
        return [f"event.wait {{swarm: {row.id}, attention: true}} until it has ended", *_retry_calls(failed)]
    if not failed:
        return []
    items = ", ".join(views.short(task.item) for task in failed[:5]) + (", …" if failed_count > 5 else "")
    return [f"swarm.create again with only the {failed_count} item(s) that did not complete: {items}"]


def _retry_calls(failed: list[TaskRow]) -> list[str]:
    return [f"task.retry {task.id}" for task in failed[:5] if task.state == "dead"]
