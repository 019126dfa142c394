"""What it cost: Dash's ledger beside the provider's own bill, node by node. Pure.

The bill is not Dash's word: it says whether a limit was overshot, and whether the ledger says less than is to
be paid. Sums are made of whole nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from dashctl.demo.stand_in import Bill

NUSD = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """One node: the swarm, or an agent of it. All in nano-dollars."""

    name: str
    limit: int
    ledger: int
    unconfirmed: int
    bill: int

    @property
    def overshoot(self) -> int:
        """How much the provider's bill is above the limit."""
        return max(0, self.bill - self.limit)


@dataclass(frozen=True, slots=True)
class Money:
    """The account of a swarm."""

    swarm: Spent
    agents: Sequence[Spent]
    stopped: Sequence[str]
    """Agents whose next call was refused, because it did not fit what their cap had left."""
    failovers: int
    """How often Dash has said `model.failover`; it says so once a second at most."""
    rerouted: int
    """Answers that the second provider has billed."""
    forecast: Mapping[str, Any]
    """As it was given when half of the tasks had ended."""

    @property
    def overshoot(self) -> int:
        """The worst of all nodes."""
        return max(each.overshoot for each in (self.swarm, *self.agents))

    def figures(self) -> dict[str, float | int]:
        """For `--json`."""
        return {
            "budget_usd": self.swarm.limit / NUSD,
            "spent_usd": self.swarm.ledger / NUSD,
            "unconfirmed_usd": self.swarm.unconfirmed / NUSD,
            "overshoot_usd": self.overshoot / NUSD,
            "failovers": self.failovers,
            "stopped_by_budget": len(self.stopped),
        }


def reckon(
    status: Mapping[str, Any],
    bill: Bill,
    worked_on: Mapping[str, str],
    *,
    failovers: int,
    rerouted: int,
    forecast: Mapping[str, Any],
) -> Money:
    """`status` is `budget.status` of the swarm with its children; `worked_on` says which agent took an item,
    in the agents' own words.
    """
    by_agent = {agent: bill.by_item[item] for item, agent in worked_on.items()}
    nodes = [_spent(node, by_agent.get(node["id"], 0)) for node in status["children"]]
    return Money(
        swarm=_spent(status["budget"], bill.total),
        agents=nodes,
        stopped=[node["id"] for node in status["children"] if node["reached"] >= 100],
        failovers=failovers,
        rerouted=rerouted,
        forecast=forecast,
    )


def faults(money: Money, greedy: str | None) -> list[str]:
    """What did not come true; `greedy` is the agent that had to be stopped."""
    found = []
    for each in (money.swarm, *money.agents):
        if each.overshoot:
            found.append(f"{each.name}: the provider bills ${each.bill / NUSD:.6f}, above the limit")
        if each.bill > each.ledger:
            sums = f"${each.ledger / NUSD:.6f}, the provider ${each.bill / NUSD:.6f}"
            found.append(f"{each.name}: Dash's ledger says {sums}")
        if each.ledger > each.limit:
            found.append(f"{each.name}: Dash has charged ${each.ledger / NUSD:.6f}, above the limit")
    if list(money.stopped) != [greedy]:
        found.append(f"stopped by a budget: {', '.join(money.stopped) or 'nobody'}, not {greedy}")
    if not money.failovers or not money.rerouted:
        found.append("no call was served by the second provider while the first was down")
    return found


def _spent(node: Mapping[str, Any], bill: int) -> Spent:
    ledger, unconfirmed = (_nusd(node[name]) for name in ("spent_usd", "unconfirmed_usd"))
    return Spent(node["id"], _nusd(node["limit_usd"]), ledger, unconfirmed, bill)


def _nusd(usd: float) -> int:
    return round(usd * NUSD)
