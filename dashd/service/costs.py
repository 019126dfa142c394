"""`swarm.costs`: what a swarm has cost, by agent, model and day, with computing and waiting beside it."""

from dashd.domain import dollars
from dashd.store import budgets, costs, swarms
from dashd.store.rows import Snapshot
from dashd.wire.methods import swarm as wire
from dashd.wire.methods.table import PRIORITIES

from .core import Caller, Core


async def costs_(core: Core, _caller: Caller, params: wire.GetCosts) -> wire.SwarmCosts:
    """The sums, in one snapshot."""
    date = await core.models.prices_date()

    def query(db: Snapshot) -> wire.SwarmCosts:
        row = swarms.get(db, params.swarm)
        total = costs.total(db, row.id)
        node = budgets.find(db, row.id)
        labelled = costs.by_label(db, row.id)
        cpu_ms, active_ms = costs.compute_ms(db, row.id)
        return wire.SwarmCosts(
            swarm=row.id,
            usd=dollars.usd(total.nusd),
            unconfirmed_usd=dollars.usd(total.unconfirmed_nusd),
            held_usd=dollars.usd(node.held_nusd if node else 0),
            calls=total.calls,
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            agents=_lines(costs.by(db, row.id, "agent"), total.nusd),
            models=_lines(costs.by(db, row.id, "model"), total.nusd),
            days=_lines(costs.by(db, row.id, "day"), total.nusd),
            labels=_lines(labelled, sum(each.nusd for each in labelled)),
            compute_s=cpu_ms / 1_000,
            active_s=active_ms / 1_000,
            queue_waits=[_wait(each) for each in costs.waits(db, row.id)],
            prices_date=date,
        )

    return await core.store.reader.read(query)


def _lines(found: list[costs.SumRow], total: int) -> list[wire.CostLine]:
    top = max((row.nusd for row in found), default=0)
    first = next((index for index, row in enumerate(found) if top and row.nusd == top), None)
    return [
        wire.CostLine(
            key=row.key,
            usd=dollars.usd(row.nusd),
            unconfirmed_usd=dollars.usd(row.unconfirmed_nusd),
            calls=row.calls,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            share=row.nusd / total if total else 0.0,
            top=index == first,
        )
        for index, row in enumerate(found)
    ]


def _wait(row: costs.WaitRow) -> wire.QueueWait:
    return wire.QueueWait(
        priority=PRIORITIES[row.level],
        tasks=row.tasks,
        mean_s=row.sum_ms / row.tasks / 1_000,
        longest_s=row.longest_ms / 1_000,
    )
