"""Who does what in the demo, with everybody else scripted; test_story.py plays it for real."""

import io
from collections import Counter

import pytest

from dashctl import terminal
from dashctl.demo import play, repository, screen, stand_in
from dashctl.demo.cast import Cast
from dashd.wire import methods

CALL = {"kind": "model.call", "agent": "s-001", "data": {"calls": 1}}
WARNED = {"kind": "budget.threshold", "agent": "s-002", "data": {"threshold": 75, "spent": 0.03}}
STOPPED = {
    "kind": "budget.threshold",
    "agent": "s-002",
    "data": {"threshold": 100, "spent": 0.031, "allocated": 0.04},
}


PI = Cast("pi", cap_usd=0.038, answer_tokens_max=1_600)


class FakeSession:
    """Answers `events` from a script, page by page, and says at the end that the swarm has ended."""

    def __init__(self, *pages):
        self.pages = [*pages]
        self.calls = Counter()

    async def events(self, swarm, cursor, kinds, *, timeout_s=0.0):
        page = self.pages.pop(0) if self.pages else []
        return [each for each in page if each["kind"] in kinds], cursor + 1, not self.pages


class FakeDaemon:
    """Answers `budget.status` and takes note of the rest; what is asked must be of the wire."""

    def __init__(self):
        self.asked = []

    async def ask(self, method, **params):
        assert set(params) <= set(methods.METHODS[method].params.__struct_fields__)
        self.asked.append((method, params))
        return {"children": [{"id": "s-001"}, {"id": "s-002"}]}


@pytest.fixture
def stage(tmp_path):
    show = screen.Screen(terminal.Output(io.StringIO(), io.StringIO(), io.StringIO(), {}))
    made = play.Play(tmp_path, {}, show, 100.0)
    made.told.items = ["a.py", repository.GREEDY, repository.BROKEN, "b.py"]
    made.told.swarm = "s"
    return made


async def test_a_real_program_s_part_has_its_own_money_and_shorter_answers(stage, tmp_path):
    stage.part = PI
    wanted = stage._wanted()
    assert (wanted["driver"], wanted["agent_budget"]) == ("pi", 0.038)
    daemon = FakeDaemon()
    await stage._bound_answers(daemon)
    assert daemon.asked == [("model.set", {"model": "offline", "output_tokens_max": 1_600})]
    stage.part = play.OWN
    await stage._bound_answers(daemon)
    assert len(daemon.asked) == 1


def test_the_orchestrator_asks_for_embedded_agents_with_a_budget_and_a_cap(stage):
    wanted = stage._wanted()
    assert (wanted["driver"], wanted["agents"], wanted["retries"]) == ("embedded", 4, 0)
    assert (wanted["budget"], wanted["agent_budget"]) == (0.2, 0.04)
    assert set(wanted) <= {*methods.METHODS["swarm.create"].params.__struct_fields__, "retries", "timeout_s"}


async def test_the_first_event_of_its_kind_is_waited_for(stage):
    session = FakeSession([], [WARNED], [CALL], [WARNED, STOPPED], [CALL])
    assert await stage._first(session, 0, "budget.threshold", threshold=100) == STOPPED
    assert len(session.pages) == 1


async def test_a_swarm_that_ends_without_it_is_not_waited_for_for_ever(stage):
    assert await stage._first(FakeSession([WARNED], []), 0, "budget.threshold", threshold=100) is None


async def test_every_cap_refuses_instead_of_waiting_for_somebody(stage):
    daemon = FakeDaemon()
    await stage._refuse_at_caps(daemon)
    assert daemon.asked == [
        ("budget.status", {"budget": "s", "children": True}),
        ("budget.set", {"budget": "s-001", "actions": {"at_100": "notify"}}),
        ("budget.set", {"budget": "s-002", "actions": {"at_100": "notify"}}),
    ]


async def test_in_the_end_the_money_is_asked_for_and_the_bill_read(stage, tmp_path):
    stand_in.make(tmp_path / "stage")
    line = '{"provider":"offline-b","item":"a.py","usage":{},"nusd":7}\n'
    (tmp_path / "stage" / "bill.jsonl").write_text(line)
    daemon = FakeDaemon()
    await stage._settle_up(FakeSession([{"kind": "model.failover"}] * 3), daemon, 0)
    assert (stage.told.failovers, stage.told.bill.total) == (3, 7)
    assert daemon.asked == [("budget.status", {"budget": "s", "children": True})]
    node = {"limit_usd": 1.0, "spent_usd": 0.5, "unconfirmed_usd": 0.1, "reached": 0}
    stage.told.budget = {"budget": {"id": "s", **node}, "children": [{"id": "s-001", **node}]}
    account = stage.told.money({"a.py": "s-001"})
    assert (account.failovers, account.rerouted, account.agents[0].bill) == (3, 1, 7)
