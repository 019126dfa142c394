"""`swarm.land`: the one way in which a user's own branch moves; recorded, gated, done by the runtime."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import decisions, landings, merges, swarms
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import worktree as wire

from . import reach
from .core import Caller, Core

WAIT_S_MAX: Final = 120.0
"""For the landing itself, and for a rebase before it; one that takes longer goes on, and says so."""
Row = TypeVar("Row", merges.MergeRow, landings.LandingRow)


async def land(core: Core, caller: Caller, params: wire.LandSwarm) -> wire.SwarmLanded:
    """Raises Conflict with the paths where the checkout is not clean, or the branch has moved on."""
    terms = await core.store.reader.read(lambda db: terms_of(db, params.swarm))
    await reach.check_swarm(
        core, caller, await core.store.reader.read(lambda db: swarms.get(db, params.swarm))
    )
    result = repository.result_branch(params.swarm)
    commit = await core.repositories.tip(terms.path, result, granted=terms.granted)
    if commit is None:
        raise errors.Conflict(
            f"nothing of swarm {params.swarm} was merged yet: there is no branch {result}",
            hint=f"merge.enqueue {{swarm: {params.swarm}}}",
        )
    onto = params.onto or await _checked_out(core, params.swarm, terms)
    _check(onto)
    if params.rebase:
        commit = await _rebase(core, caller, params.swarm, terms, onto) or commit

    def operation(tx: Tx) -> tuple[landings.LandingRow, decisions.Asked]:
        row = landings.insert(tx, swarm=params.swarm, onto=onto, commit=commit, asked_by=caller.who)
        question = _question(caller, params.swarm, row, result)
        asked = decisions.ask(tx, question)
        if asked.verdict == "deny":
            raise decisions.refusal(asked, question.what)
        if asked.verdict == "allow":
            landings.queue(tx, row.number or 0)
        return row, asked

    row, asked = await core.store.writer.apply(operation)
    if asked.approval is not None:
        return _shown(row, approval=asked.approval.id)
    number = row.number or 0
    return _answer(await _until_ended(core, lambda db: landings.get(db, number), landings.OPEN))


async def _rebase(core: Core, caller: Caller, swarm: str, terms: Terms, onto: str) -> str | None:
    """Has the result put on top of the branch, through the merge queue; where it is then.

    None where there is no such branch: landing says so. Raises Conflict where it cannot be put there.
    """
    result = repository.result_branch(swarm)
    tip = await core.repositories.tip(terms.path, onto, granted=terms.granted)
    if tip is None:
        return None
    add = partial(
        merges.enqueue_rebase, swarm=swarm, target=result, onto=onto, commit=tip, asked_by=caller.who
    )
    queued = await core.store.writer.apply(add)
    ended = await _until_ended(core, lambda db: merges.get(db, queued.id), merges.OPEN)
    if ended.state in merges.OPEN:
        raise errors.DeadlinePassed(
            f"putting {result} on top of {onto} takes longer than {WAIT_S_MAX:g} s; merge {ended.id} goes on",
            hint=f"merge.status {ended.id} says how it stands; once it is merged, swarm.land {swarm} again",
        )
    if ended.state != "merged":
        raise errors.Conflict(
            f"{result} cannot be put on top of {onto} (merge {ended.id}: {ended.state}): {ended.problem}",
            hint=f"nothing was changed; rebase {result} yourself and land that, or have an agent do it",
            data={"paths": msgspec.json.decode(ended.paths, type=list[str])},
        )
    return ended.result


def terms_of(db: Snapshot, swarm_id: str) -> Terms:
    """The terms of a swarm on a repository; raises Unsupported where it has none."""
    row = swarms.get(db, swarm_id)
    if row.repo is None:
        raise errors.Unsupported(
            f"swarm {swarm_id} works in {row.cwd}, on no repository", hint="swarm.create with repo"
        )
    return repository.from_json(row.repo)


async def _checked_out(core: Core, swarm: str, terms: Terms) -> str:
    """The branch that the checkout is on; raises InvalidParams where there is none to be meant."""
    seen = await core.repositories.look(terms.path, "HEAD", granted=terms.granted)
    if seen.head:
        return seen.head
    hint = (
        f"name the branch: swarm.land {{swarm: {swarm}, onto: main}}, dashctl swarm land {swarm} --onto main"
    )
    if seen.bare:
        raise errors.InvalidParams(
            f"{terms.path} is a bare repository: it has no checkout, whose branch would be landed onto",
            hint=f"{hint}. It alone moves; checkouts elsewhere pull it",
            path="onto",
        )
    raise errors.InvalidParams(f"the checkout {terms.path} is on no branch", hint=hint, path="onto")


def _check(onto: str) -> None:
    if onto.startswith("dash/"):
        raise errors.InvalidParams(
            f"{onto} is one of Dash's own branches", hint="merge.enqueue moves those", path="onto"
        )


def _question(caller: Caller, swarm: str, row: landings.LandingRow, result: str) -> decisions.Question:
    return decisions.Question(
        kind="landing",
        what=f"land {result} ({row.commit_id[:12]}) of swarm {swarm} onto {row.onto}",
        text=row.onto,
        asked_by=caller.who,
        swarm=swarm,
        context={"onto": row.onto, "commit": row.commit_id},
        act="swarm.land",
        args={"landing": row.number},
    )


async def _until_ended(core: Core, read: Callable[[Snapshot], Row], open_states: Sequence[str]) -> Row:
    """The merge or landing once it has ended, or as it is when the time is up."""
    deadline = trio.current_time() + WAIT_S_MAX
    while True:
        ticket = core.store.bells.merges.ticket()
        row = await core.store.reader.read(read)
        if row.state not in open_states or trio.current_time() >= deadline:
            return row
        with trio.move_on_at(deadline):
            await ticket.wait()


def _answer(row: landings.LandingRow) -> wire.SwarmLanded:
    if row.state == "refused":
        raise errors.Conflict(
            row.problem, hint=row.hint, data={"paths": msgspec.json.decode(row.paths, type=list[str])}
        )
    return _shown(row)


def _shown(row: landings.LandingRow, *, approval: str = "") -> wire.SwarmLanded:
    return wire.SwarmLanded(
        id=row.swarm_id,
        state=row.state,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        onto=row.onto,
        commit=row.commit_id,
        before=row.before,
        approval=approval,
    )
