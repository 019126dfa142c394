"""The tree of budgets under any interleaving: holds and spending add up, no limit is passed (I1 to I7)."""

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dashd.domain import budget as rules
from dashd.domain import standing
from dashd.proxy import settling, verdict
from dashd.store import (
    agents,
    budgets,
    database,
    holds,
    limits,
    migrations,
    swarms,
    task_budgets,
    thresholds,
)
from dashd.store.holds import Settlement
from tests.fakes.clock import FixedClock
from tests.fakes.inline import InlineStore
from tests.fakes.scene import Scene

NODES = ("project", "aaaaaa", "bbbbbb", "aaaaaa-001", "aaaaaa-002", "bbbbbb-001")
SEATS = NODES[3:]
TASKS = ("aaaaaa-t1", "aaaaaa-t2", "bbbbbb-t1")
"""Any seat of a swarm may work on any of its tasks; a task has a node from when it is limited."""
CALL = rules.CallCost(input=1_000, output_each=10, output_tokens=2_000, input_tokens=300)
asking = st.sampled_from(
    [(seat, task) for seat in SEATS for task in (*TASKS, None) if task is None or task[:6] == seat[:6]]
)
nodes = st.sampled_from(NODES)
amounts = st.integers(0, 60_000)


@functools.cache
def _empty() -> bytes:
    """A migrated database; migrating one for each example would cost more than the example."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dash.db"
        connection = database.connect(path)
        migrations.migrate(connection, path, FixedClock())
        database.close(connection, checkpoint=True)
        return path.read_bytes()


class Tree(RuleBasedStateMachine):
    """Two swarms with three seats; every step is one commit."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "dash.db"
        path.write_bytes(_empty())
        clock = FixedClock()
        self.store = InlineStore(path, clock)
        self.db = self.store.db
        scene = Scene(self.store, clock)
        scene.swarm("x", "y", swarm_id="aaaaaa", agents_made=2)
        scene.swarm("x", swarm_id="bbbbbb", agents_made=1)
        self.open: list[tuple[int, int]] = []
        self.billed = dict.fromkeys(SEATS, 0)
        self.excess: dict[tuple[str, str], int] = {}
        self.limited: set[str] = set()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(asked=st.lists(asking, min_size=1, max_size=4))
    def reserve(self, asked) -> None:
        asks = [
            verdict.Ask(verdict.Payer(seat, seat[:6], None, task), CALL, CALL.input_tokens, "m", "p", "d")
            for seat, task in asked
        ]
        before = self.sums()
        answers = self.store.do(lambda tx: verdict.judge(tx, asks, set(), ()))
        granted = [answer for answer in answers if isinstance(answer, verdict.Held)]
        self.open += [(answer.id, answer.nusd) for answer in granted]
        if not granted:  # refused or waiting: nothing has changed anywhere
            assert self.sums() == before

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.integers(0, 100), basis=st.sampled_from(["usage", "worst-case", "unsent"]))
    def settle(self, data, share, basis) -> None:
        index = data.draw(st.integers(0, len(self.open) - 1))
        hold_id, nusd = self.open.pop(index)
        cost = {"usage": nusd * share // 100, "worst-case": nusd, "unsent": 0}[basis]
        row = holds.get(self.db, hold_id)
        settlement = Settlement(cost, min(row.held_tokens, 10 * share), basis)
        assert self.store.do(lambda tx: settling.settle(tx, hold_id, settlement))
        after = self.sums()
        assert not self.store.do(lambda tx: settling.settle(tx, hold_id, settlement))
        assert self.sums() == after
        self.billed[row.budget_id] += cost

    @rule(task=st.sampled_from(TASKS), limit=st.none() | amounts, tokens=st.none() | amounts)
    def limit_task(self, task, limit, tokens) -> None:
        """At any time, calls under way or not: what the task has taken before counts from then on."""
        self.store.do(lambda tx: task_budgets.ensure(tx, task))
        self.limited.add(task)
        self.set(task, limit, tokens)

    @rule(node=nodes, limit=st.none() | amounts, tokens=st.none() | amounts)
    def change(self, node, limit, tokens) -> None:
        self.set(node, limit, tokens)

    def set(self, node, limit, tokens) -> None:
        row = budgets.get(self.db, node)

        def operation(tx) -> None:
            budgets.set_limits(tx, node, limit, tokens)
            thresholds.lift(tx, budgets.get(tx.db, node))
            thresholds.lower(tx, budgets.get(tx.db, node))

        seq = self.store.tail.last_seq
        self.store.do(operation)
        told = [kind for (kind,) in self.db.execute("SELECT kind FROM event WHERE seq > ?", (seq,))]
        assert "budget.threshold" not in told
        assert budgets.get(self.db, node).spent_nusd == row.spent_nusd
        for measure, _, taken in self.measures(budgets.get(self.db, node)):
            self.excess[node, measure] = taken

    @rule(node=nodes, more=amounts)
    def extend(self, node, more) -> None:
        row = budgets.get(self.db, node)
        if row.limit_nusd is not None:
            self.set(node, row.limit_nusd + more, row.limit_tokens)

    @rule(seat=st.sampled_from(SEATS), frozen=st.booleans())
    def freeze(self, seat, frozen) -> None:
        """As an overrun does, and as a person undoes."""

        def operation(tx) -> None:
            if frozen:
                budgets.set_frozen(tx, seat, "its price is wrong")
            else:
                before = budgets.get(tx.db, seat)
                limits.thaw(tx, before, "")
                limits.follow(tx, before)

        self.store.do(operation)

    @rule(seat=st.none() | st.sampled_from(SEATS))
    def reconsider(self, seat) -> None:
        """An agent's model is swapped, or the price of a model is changed."""
        self.store.do(lambda tx: thresholds.reconsider(tx, seat) if seat else thresholds.reconsider_all(tx))

    @rule()
    def restart(self) -> None:
        """What recovery does: every open hold is charged in full."""

        def operation(tx) -> None:
            for row in holds.open_holds(tx.db):
                settling.settle(tx, row.id or 0, Settlement(row.held_nusd, row.held_tokens, "crash"))

        for hold_id, nusd in self.open:
            self.billed[holds.get(self.db, hold_id).budget_id] += nusd
        self.store.do(operation)
        self.open = []
        assert all(row.held_nusd == row.held_tokens == 0 for row in self.rows().values())

    def rows(self) -> dict[str, budgets.BudgetRow]:
        return {node: budgets.get(self.db, node) for node in (*NODES, *sorted(self.limited))}

    def sums(self) -> dict[str, tuple[int, ...]]:
        return {
            node: (row.held_nusd, row.spent_nusd, row.held_tokens, row.spent_tokens)
            for node, row in self.rows().items()
        }

    @invariant()
    def sums_agree_with_the_holds_below(self) -> None:
        for node in NODES:
            held, spent, held_tokens, spent_tokens = self.db.execute(
                "SELECT coalesce(sum(iif(state = 'open', held_nusd, 0)), 0), coalesce(sum(cost_nusd), 0),"
                " coalesce(sum(iif(state = 'open', held_tokens, 0)), 0), coalesce(sum(tokens), 0) FROM hold"
                " WHERE budget_id IN (SELECT id FROM budget_above WHERE above_id = ?)",
                (node,),
            ).fetchall()[0]
            assert self.sums()[node] == (held, spent, held_tokens, spent_tokens)

    @invariant()
    def a_task_s_node_has_what_the_holds_for_it_have(self) -> None:
        for node in self.limited:
            row = budgets.get(self.db, node)
            found = self.db.execute(
                "SELECT coalesce(sum(iif(state = 'open', held_nusd, 0)), 0), coalesce(sum(cost_nusd), 0),"
                " coalesce(sum(iif(state = 'open', held_tokens, 0)), 0), coalesce(sum(tokens), 0),"
                " coalesce(sum(iif(confirmed = 0, cost_nusd, 0)), 0) FROM hold WHERE task_id = ?",
                (node,),
            ).fetchall()[0]
            assert (*self.sums()[node], row.unconfirmed_nusd) == found

    @invariant()
    def the_ledger_is_the_bill(self) -> None:
        for seat, billed in self.billed.items():
            assert budgets.get(self.db, seat).spent_nusd == billed

    @invariant()
    def parents_have_what_their_children_have(self) -> None:
        for node, row in self.rows().items():
            below = [each for each in budgets.children(self.db, node) if each.kind != "task"]
            assert row.spent_nusd >= sum(each.spent_nusd for each in below)
            assert row.held_nusd >= sum(each.held_nusd for each in below)

    def measures(self, row) -> list[tuple[str, int | None, int]]:
        return [
            ("usd", row.limit_nusd, row.spent_nusd + row.held_nusd),
            ("tokens", row.limit_tokens, row.spent_tokens + row.held_tokens),
        ]

    @invariant()
    def no_limit_is_passed(self) -> None:
        """Only lowering a limit can leave more spent and held than it; from then on that never grows."""
        for node, row in self.rows().items():
            for measure, limit, taken in self.measures(row):
                if limit is None or taken <= limit:
                    self.excess.pop((node, measure), None)
                    continue
                assert taken <= self.excess.get((node, measure), limit)
                self.excess[node, measure] = taken

    @invariant()
    def what_is_paused_is_paused_by_a_spent_budget(self) -> None:
        for swarm_id in ("aaaaaa", "bbbbbb"):
            if swarms.get(self.db, swarm_id).state == "paused":
                by = thresholds.stopped_by(self.db, swarm_id)
                assert by is not None
                assert by.reached == 100

    @invariant()
    def nobody_is_paused_by_a_budget_that_lets_the_next_call_go(self) -> None:
        for owner, row in self.rows().items():
            if owner in SEATS and agents.get(self.db, owner).wanted == "pause":
                by = budgets.get(self.db, row.paused_by)
                assert standing.blocked(budgets.node(self.db, by)) is not None


Tree.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
test_any_interleaving = pytest.mark.slow(Tree.TestCase)
