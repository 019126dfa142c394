"""`budget.*`: how budgets stand, where they go, and changes of limits. Dollars become nano-dollars here."""

import msgspec

from dashd.domain import budget as rules
from dashd.domain import dollars, outlook, prices
from dashd.store import (
    budgets,
    decisions,
    holds,
    limits,
    situations,
    standings,
    swarms,
    task_budgets,
    thresholds,
)
from dashd.store.budgets import BudgetRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import budget as wire

from . import reach
from .core import Caller, Core
from .idempotency import once


class _Seen(msgspec.Struct, frozen=True):
    node: wire.BudgetNode
    children: list[wire.BudgetNode]
    options: list[str]
    situation: outlook.Situation | None


async def status(core: Core, caller: Caller, params: wire.GetBudget) -> wire.BudgetStatus:
    """The budget in one snapshot; cheaper models are looked up after it."""
    now_ms = core.clock.now_ms()

    def query(db: Snapshot) -> _Seen:
        row = _told_of(caller, budgets.get(db, params.budget))
        below = budgets.children(db, row.id) if params.children else []
        told = reach.seen(db, caller)
        return _Seen(
            node=shown(db, row),
            children=[
                shown(db, each)
                for each in below
                if caller.actor == "operator" or (each.swarm_id and (told is None or each.swarm_id in told))
            ],
            options=situations.options(db, row, now_ms),
            situation=situations.of_swarm(db, row.id, now_ms) if row.kind == "swarm" else None,
        )

    seen = await core.store.reader.read(query)
    offers = await core.models.offers() if seen.situation else []
    return wire.BudgetStatus(
        budget=seen.node,
        children=seen.children,
        forecast=_forecast(seen.situation, [(offer.name, offer.price) for offer in offers]),
        options=seen.options,
        prices_date=await core.models.prices_date(),
    )


async def set_(core: Core, caller: Caller, params: wire.SetBudget) -> wire.BudgetChanged:
    """Sets what was given. A limit below what is spent blocks new calls and does nothing else."""
    actions = {} if params.actions is msgspec.UNSET else msgspec.to_builtins(params.actions)
    nothing = params.limit_usd is params.limit_tokens is msgspec.UNSET and not actions
    if nothing and not params.thaw:
        raise errors.InvalidParams(
            "budget.set was told nothing to set",
            hint="give limit_usd, limit_tokens, thaw, or actions with at_75, at_90 or at_100",
            path="actions" if params.actions is not msgspec.UNSET else "",
        )

    def operation(tx: Tx) -> wire.BudgetChanged:
        row = task_budgets.ensure(tx, params.budget)
        if params.thaw:
            limits.thaw(tx, row, params.why)
        if nothing:
            return _changed(tx, row, limits.follow(tx, row))
        limit, tokens = row.limit_nusd, row.limit_tokens
        if not isinstance(params.limit_usd, msgspec.UnsetType):
            limit = None if params.limit_usd is None else dollars.nusd(params.limit_usd)
        if not isinstance(params.limit_tokens, msgspec.UnsetType):
            tokens = params.limit_tokens
        budgets.set_limits(tx, row.id, limit, tokens)
        if not params.limit_usd is params.limit_tokens is msgspec.UNSET:
            budgets.set_by_hand(tx, row.id, caller.who)
        acts = _act(tx, row, actions)
        change = budgets.ChangeRow(
            tx.now_ms, "set", row.limit_nusd, limit, params.why, row.limit_tokens, tokens, acts
        )
        budgets.changed(tx, row.id, change)
        return _changed(tx, row, limits.follow(tx, row))

    return await core.store.writer.apply(operation)


async def extend(core: Core, caller: Caller, params: wire.ExtendBudget) -> wire.BudgetChanged:
    """Adds to the limit; what had stopped goes on where nothing else stops it. A gate may come first.

    An orchestrator adds to what its swarms were made with. What somebody set by hand is more only with a yes,
    which a gate asks for; what is no swarm's never is.
    """
    if params.usd is params.tokens is msgspec.UNSET:
        raise errors.InvalidParams(
            "budget.extend was told nothing to add", hint="give usd, tokens or both", path="usd"
        )
    more = limits.More(dollars.nusd(params.usd or 0.0), params.tokens or 0)

    def operation(tx: Tx) -> wire.BudgetChanged:
        row = _told_of(caller, budgets.get(tx.db, params.budget))
        limits.check(row, more)
        if row.swarm_id is None:
            _refuse_extending(caller, row, "is no swarm's", params)
        waits = _gated(tx, caller, row, more, params.why)
        if waits:
            return wire.BudgetChanged(budget=shown(tx.db, row), resumed=0, cursor=tx.seq, approval=waits)
        if row.set_by is not None:
            _refuse_extending(caller, row, f"has a limit that {row.set_by} set by hand", params)
        return _changed(tx, row, limits.extend(tx, row, more, params.why))

    work = once(caller, "budget.extend", params, params.idempotency_key, operation, wire.BudgetChanged)
    return await core.store.writer.apply(work)


async def history(core: Core, caller: Caller, params: wire.GetHistory) -> wire.History:
    """Changes of the limit and thresholds that were told, newest first."""

    def query(db: Snapshot) -> wire.History:
        row = _told_of(caller, budgets.get(db, params.budget))
        found = [
            wire.Change(
                at=iso(each.at_ms),
                kind=each.kind,
                from_usd=dollars.usd_or_none(each.from_nusd),
                to_usd=dollars.usd_or_none(each.to_nusd),
                why=each.why,
                from_tokens=each.from_tokens,
                to_tokens=each.to_tokens,
                actions=each.actions,
            )
            for each in budgets.changes(db, row.id, params.limit)
        ]
        return wire.History(budget=row.id, changes=found)

    return await core.store.reader.read(query)


async def export(core: Core, _caller: Caller, params: wire.ExportBudget) -> wire.Exported:
    """Settled calls in order; pages are stable, because a settled call never changes."""

    def query(db: Snapshot) -> wire.Exported:
        swarm = swarms.get(db, params.swarm).id if params.swarm else None
        found = holds.page(db, swarm, params.since, params.limit)
        last = found[-1].id or 0 if len(found) == params.limit else 0
        return wire.Exported(rows=[_call(row) for row in found], next=last)

    return await core.store.reader.read(query)


def shown(db: Snapshot, row: BudgetRow) -> wire.BudgetNode:
    """A node as the wire shows it; `left_usd` is by its own limit."""
    return wire.BudgetNode(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        parent=row.parent_id,
        limit_usd=dollars.usd_or_none(row.limit_nusd),
        allotment_usd=dollars.usd_or_none(row.allotment_nusd),
        reserve_usd=dollars.usd(row.reserve_nusd),
        spent_usd=dollars.usd(row.spent_nusd),
        unconfirmed_usd=dollars.usd(row.unconfirmed_nusd),
        held_usd=dollars.usd(row.held_nusd),
        left_usd=dollars.usd_or_none(budgets.node(db, row).headroom),
        overrun_usd=dollars.usd(row.overrun_nusd),
        limit_tokens=row.limit_tokens,
        spent_tokens=row.spent_tokens,
        held_tokens=row.held_tokens,
        live=budgets.live_count(db, row.id),
        frozen=row.frozen,
        actions=wire.Actions(at_75=row.action_75, at_90=row.action_90, at_100=row.action_100),  # type: ignore[arg-type]
        reached=row.reached,
        blocked=standings.text(db, row.id),
    )


def refuse_stopped(tx: Tx, budget_id: str) -> None:
    """Before a resume by hand: raises BudgetExceeded while a spent budget stops the swarm or agent."""
    thresholds.release(tx, budget_id)
    by = thresholds.stopped_by(tx.db, budget_id)
    if by is not None:
        raise errors.BudgetExceeded(
            f"budget {by.id} lets nothing go on: {standings.text(tx.db, by.id) or 'it has come to its end'}",
            hint=f"{situations.way_on(tx.db, by, tx.now_ms)}; what has stopped then goes on by itself",
        )
    if budgets.find(tx.db, budget_id) is not None:
        budgets.set_paused_by(tx, budget_id, None)


def _told_of(caller: Caller, row: BudgetRow) -> BudgetRow:
    """The node, where it is not another program's: what a key outside of all swarms may spend is no
    orchestrator's business. Raises Forbidden.
    """
    if caller.actor != "operator" and row.kind == "key" and row.swarm_id is None:
        raise errors.Forbidden(
            f"budget {row.id} is a key's and no swarm's, and not for {caller.who}", hint="ask the operator"
        )
    return row


def _refuse_extending(caller: Caller, row: BudgetRow, why: str, params: wire.ExtendBudget) -> None:
    """Raises Forbidden for an orchestrator."""
    if caller.actor == "operator":
        return
    more = f" {params.usd:g}" if params.usd else ""
    tokens = f" --tokens {params.tokens}" if params.tokens else ""
    raise errors.Forbidden(
        f"budget {row.id} {why}: {caller.who} may not add to it",
        hint=f"ask the operator: dashctl budget extend {row.id}{more}{tokens}",
    )


def _act(tx: Tx, row: BudgetRow, given: dict[str, str]) -> str:
    """Sets the actions that were given and keeps the others; gives what has changed, for the history."""
    before = {"at_75": row.action_75, "at_90": row.action_90, "at_100": row.action_100}
    budgets.set_actions(tx, row.id, **before | given)
    changed = (name for name, action in given.items() if action != before[name])
    return ", ".join(f"{name} {before[name]} -> {given[name]}" for name in changed)


def _changed(tx: Tx, before: BudgetRow, resumed: int) -> wire.BudgetChanged:
    after = budgets.get(tx.db, before.id)
    return wire.BudgetChanged(budget=shown(tx.db, after), resumed=resumed, cursor=tx.seq)


def _gated(tx: Tx, caller: Caller, row: BudgetRow, more: limits.More, why: str) -> str:
    """The id of the approval that the extension now waits for; "" where it needs none.

    What counts is what the budget would come to, so that many small steps pass no gate that one large one
    does not. More tokens cost what the tightest limit in dollars lets them. Raises Forbidden where a gate
    forbids it.
    """
    limits_above = (each.limit_nusd for each in budgets.path(tx.db, row.id) if each.limit_nusd is not None)
    limit = (
        (row.limit_nusd or 0) + more.nusd if more.nusd else min(limits_above, default=rules.LIMIT_NUSD_MAX)
    )
    what = f"extend budget {row.id} by {more.text} to {limits.text(row, more)}"
    asked = decisions.ask(
        tx,
        decisions.Question(
            kind="money",
            what=what,
            asked_by=caller.who,
            amount=limit,
            swarm=row.swarm_id,
            agent=row.id if row.kind == "agent" else None,
            context={"budget": row.id, "spent_usd": dollars.usd(row.spent_nusd), "why": why},
            act="budget.extend",
            args={"budget": row.id, "nusd": more.nusd, "tokens": more.tokens, "why": why},
        ),
    )
    if asked.verdict == "deny":
        raise decisions.refusal(asked, what)
    return asked.approval.id if asked.approval else ""


def _forecast(now: outlook.Situation | None, models: list[tuple[str, prices.Price]]) -> wire.Forecast | None:
    if now is None:
        return None
    found = outlook.look(now, models)
    projection = now.projection
    return wire.Forecast(
        spent_usd=dollars.usd(now.spent),
        projected_usd=dollars.usd(projection.total) if projection else None,
        low_usd=dollars.usd(projection.low) if projection else None,
        high_usd=dollars.usd(projection.high) if projection else None,
        burn_usd_per_min=dollars.usd(now.burn_per_min),
        passes_limit_in_s=found.passes_in_s,
        text=found.text,
        suggestions=found.suggestions,
    )


def _call(row: holds.HoldRow) -> wire.CallRow:
    return wire.CallRow(
        id=row.id or 0,
        at=iso(row.settled_at_ms or row.started_at_ms),
        swarm=row.swarm_id,
        agent=row.agent_id,
        task=row.task_id,
        model=row.model,
        provider=row.provider,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        usd=dollars.usd(row.cost_nusd or 0),
        basis=row.basis or "",
        confirmed=bool(row.confirmed),
    )
