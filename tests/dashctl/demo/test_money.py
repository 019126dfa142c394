"""The demo's money: the account is the bill's, and its figures leave room for twenty crash charges.

For the room the demo's own agents work here, on the demo's own files, through the format, the stand-in, the
prices and the rule that dashd uses; only the network between them is missing.
"""

import contextlib
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from dashctl.demo import AGENTS, check, money, play, repository, stand_in
from dashctl.demo.cast import Cast
from dashd.domain import budget, prices
from dashd.domain.budget import CallCost, Grant, Node, Refuse
from dashd.drivers import embedded_agent
from dashd.proxy import formats
from dashd.proxy.offline import Billed, OfflineModel
from dashd.proxy.prices import OFFLINE_PRICE
from dashd.proxy.registry import OFFLINE_OUTPUT_TOKENS_MAX
from dashd.proxy.upstream import Request

CAP = round(Cast().cap_usd * money.NUSD)
LIMIT = round(Cast().agent_usd * AGENTS * money.NUSD)
CHAT = formats.FORMATS["openai-chat"]


def a_node(spent: int) -> Node:
    """The node of one agent, as the demo makes it."""
    return Node("a", CAP, 0, 0, spent, 1, None)


@dataclass
class Worked:
    """What one agent of the demo has asked for and paid."""

    calls: list[CallCost] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    refused: bool = False

    @property
    def real(self) -> int:
        return sum(self.costs)

    @property
    def crash_charge(self) -> int:
        """The dearest hold that a kill could find open."""
        return max(call.at(call.output_tokens) for call in self.calls)

    def crashed_at(self, number: int) -> int | None:
        """What it has spent in the end if the kill comes while this call is open; None if it is refused."""
        spent = 0
        for index, (call, cost) in enumerate(zip(self.calls, self.costs, strict=True)):
            if index == number:
                lost = budget.decide([a_node(spent)], call)
                assert isinstance(lost, Grant)
                spent += lost.amount
            if isinstance(budget.decide([a_node(spent)], call), Refuse):
                return None
            spent += cost
        return spent


class Model(embedded_agent.Model):
    """An agent's way to the stand-in, with its own cap between them."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1/v1", "key", "offline")
        self.worked = Worked()

    def exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        call = CHAT.parse(body)
        worst = prices.worst_input(call.input_bytes, OFFLINE_PRICE, call.image_tokens)
        cost = CallCost(worst, OFFLINE_PRICE.output, OFFLINE_OUTPUT_TOKENS_MAX)
        verdict = budget.decide([a_node(self.worked.real)], cost)
        if isinstance(verdict, Refuse):
            self.worked.refused = True
            return 402, json.dumps({"error": {"type": "budget_exceeded", "message": "spent"}}).encode()
        assert isinstance(verdict, Grant)
        self.worked.calls.append(cost)
        outgoing = CHAT.outgoing(call, model="offline", output_tokens=verdict.output_tokens)
        billed: list[Billed] = []
        answer = trio.run(_answered, OfflineModel(billed=billed.append), outgoing)
        self.worked.costs.append(sum(line.nusd for line in billed))
        return 200, answer


async def _answered(model: OfflineModel, body: bytes) -> bytes:
    answer = await model.send(Request("offline", "openai-chat", "", {}, body, stream=False))
    return await answer.receive()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's repository, in a folder whose name is as long as a temporary one may well be."""
    folder = tmp_path_factory.mktemp("a-rather-long-name-for-a-folder-of-the-demo")
    program = [sys.executable, "-I", check.__file__, str(folder / "journal"), "1e9"]
    repository.make(folder / "repository", os.environ, program)
    return folder / "repository"


def work(place: Path, item: str, monkeypatch: pytest.MonkeyPatch) -> Worked:
    monkeypatch.chdir(place)
    model = Model()
    agent = embedded_agent.Agent({"task": play.TASK, "item": item}, model)
    with contextlib.suppress(embedded_agent.Refused):
        agent.work()
    return model.worked


@pytest.mark.slow
def test_the_figures_leave_room_for_twenty_crash_charges(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = repository.items(place, AGENTS)
    longest = max((item for item in items if item != repository.GREEDY), key=len)
    dearest = 0
    for item in {longest, repository.BROKEN}:
        worked = work(place, item, monkeypatch)
        assert len(worked.calls) == play.TASK.count("`") // 2 + 1  # its steps, and the end
        assert not worked.refused
        after = [worked.crashed_at(number) for number in range(len(worked.calls))]
        assert None not in after, "a crash charge would stop an agent that is not greedy"
        assert max(each or 0 for each in after) <= CAP
        dearest = max(dearest, worked.real + worked.crash_charge)
    # Everybody else's real cost, everybody's crash charge, and all that the greedy one may spend.
    assert (AGENTS - 1) * dearest + CAP <= min(LIMIT, 600_000_000)  # the README says so
    assert AGENTS * CAP <= LIMIT  # so that no agent can be refused for what others have spent


@pytest.mark.slow
def test_the_greedy_one_is_stopped_before_it_has_done(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worked = work(place, repository.GREEDY, monkeypatch)
    assert worked.refused
    assert 1 < len(worked.calls) < play.TASK.count("`") // 2
    assert worked.real <= CAP
    journal = (place.parent / "journal").read_text().splitlines()
    said = [json.loads(line) for line in journal]
    assert {line["what"] for line in said if line["item"] == repository.GREEDY} == {"start"}


# --- the account --------------------------------------------------------------------------------------------


def a_status(**changes: dict[str, float]) -> dict[str, object]:
    """`budget.status` of a swarm of two agents."""
    nodes = {
        "s": {"limit_usd": 0.1, "spent_usd": 0.05, "unconfirmed_usd": 0.02, "reached": 0},
        "s-001": {"limit_usd": 0.04, "spent_usd": 0.01, "unconfirmed_usd": 0.0, "reached": 0},
        "s-002": {"limit_usd": 0.04, "spent_usd": 0.04, "unconfirmed_usd": 0.02, "reached": 100},
    }
    found = [{"id": name, **node, **changes.get(name.replace("-", "_"), {})} for name, node in nodes.items()]
    return {"budget": found[0], "children": found[1:]}


def a_bill(a: float = 0.01, b: float = 0.02, more: float = 0.0) -> stand_in.Bill:
    items = Counter({"a": round(a * money.NUSD), "b": round(b * money.NUSD), "": round(more * money.NUSD)})
    return stand_in.Bill(items.total(), items, Counter(offline=3, **{"offline-b": 2}))


def reckoned(
    bill: stand_in.Bill | None = None, failovers: int = 1, rerouted: int = 2, **changes: dict[str, float]
) -> money.Money:
    return money.reckon(
        a_status(**changes),
        bill or a_bill(),
        {"a": "s-001", "b": "s-002"},
        failovers=failovers,
        rerouted=rerouted,
        forecast={},
    )


def test_a_true_account_has_no_faults() -> None:
    found = reckoned()
    assert money.faults(found, "s-002") == []
    assert [each.bill for each in found.agents] == [10_000_000, 20_000_000]
    assert found.figures() == {
        "budget_usd": 0.1, "spent_usd": 0.05, "unconfirmed_usd": 0.02, "overshoot_usd": 0.0,
        "failovers": 1, "stopped_by_budget": 1,
    }  # fmt: skip


def test_overshoot_is_the_worst_of_all_nodes_and_counted_from_the_bill() -> None:
    found = reckoned(a_bill(b=0.045))
    assert found.figures()["overshoot_usd"] == pytest.approx(0.005)
    found = reckoned(a_bill(b=0.045, more=0.1))
    assert found.figures()["overshoot_usd"] == pytest.approx(0.055)


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (reckoned(a_bill(b=0.041)), "s-002: the provider bills $0.041000, above the limit"),
        (reckoned(a_bill(more=0.03)), "s: Dash's ledger says $0.050000, the provider $0.060000"),
        (reckoned(a_bill(a=0.02)), "s-001: Dash's ledger says $0.010000, the provider $0.020000"),
        (reckoned(s_001={"spent_usd": 0.05}), "s-001: Dash has charged $0.050000, above the limit"),
        (reckoned(s_002={"reached": 90}), "stopped by a budget: nobody, not s-002"),
        (reckoned(s_001={"reached": 100}), "stopped by a budget: s-001, s-002, not s-002"),
        (reckoned(failovers=0), "no call was served by the second provider"),
        (reckoned(rerouted=0), "no call was served by the second provider"),
    ],
)
def test_what_is_not_true_of_the_money_is_named(found: money.Money, complaint: str) -> None:
    assert any(complaint in fault for fault in money.faults(found, "s-002"))
