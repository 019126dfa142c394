"""`budget.*`: how it stands, where it goes, what a changed limit does, and what is exported."""

import dataclasses

import pytest

from dashd.store import budgets, swarms, thresholds
from dashd.wire import errors
from tests.fakes import models
from tests.fakes.scene import SWARM
from tests.store.test_holds import opened, settled
from tests.store.test_thresholds import limit, spend

USD = 10**9
SEAT = f"{SWARM}-001"


@pytest.fixture
def core(core):
    return dataclasses.replace(core, models=models.FakeModels())


def stopped(scene, node: str = SWARM) -> None:
    """A swarm that has spent $1 of $1."""
    scene.swarm("a")
    limit(scene, USD, node=node)
    spend(scene, USD)
    assert swarms.get(scene.db, SWARM).state == "paused"


async def test_status_of_a_swarm_with_its_agents(call, scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    limit(scene, 2 * USD, 5_000)
    settled(scene, USD // 2)
    opened(scene, USD)
    found = await call("budget.status", budget=SWARM, children=True)
    node = found.budget
    assert (node.limit_usd, node.spent_usd, node.held_usd, node.left_usd) == (2.0, 0.5, 1.0, 1.5)
    assert (node.kind, node.parent, node.live, node.limit_tokens, node.spent_tokens) == (
        "swarm", "project", 2, 5_000, 5,
    )  # fmt: skip
    assert [child.id for child in found.children] == [SEAT, f"{SWARM}-002"]
    assert (found.options, found.prices_date) == ([], "2026-11-01")
    project = await call("budget.status")
    assert (project.budget.spent_usd, project.children, project.forecast) == (0.5, [], None)


async def test_the_forecast_of_a_swarm_half_way(call, scene, clock) -> None:
    scene.swarm(*"abcdefgh", agents_made=4)
    limit(scene, 5 * USD)
    for number, claim in enumerate(scene.claim(), 1):
        settled(scene, USD, task_id=claim.task_id, agent_id=f"{SWARM}-00{number}", model="big")
        scene.start(claim)
        scene.end(claim)
    clock.advance(60_000)
    found = (await call("budget.status", budget=SWARM)).forecast
    assert found.spent_usd == 4.0
    assert found.low_usd < 8 < found.high_usd
    assert found.projected_usd == pytest.approx(8, rel=0.2)
    assert found.text.startswith("at this rate you pass the limit in ")
    assert found.suggestions[0].startswith(f"budget.extend {SWARM} ")
    assert any(each.startswith("model small for what is left: 25%") for each in found.suggestions)
    assert any(each.startswith("task.cancel") for each in found.suggestions)


async def test_the_rate_is_that_of_the_last_minutes(call, scene, clock) -> None:
    scene.swarm("a")
    clock.advance(3_600_000)
    settled(scene, USD, started_at_ms=clock.now_ms())
    clock.advance(60_000)
    assert (await call("budget.status", budget=SWARM)).forecast.burn_usd_per_min == 1.0
    clock.advance(600_000)
    assert (await call("budget.status", budget=SWARM)).forecast.burn_usd_per_min == 0.0


async def test_at_its_end_a_budget_offers_what_can_be_done(call, scene) -> None:
    stopped(scene)
    found = await call("budget.status", budget=SWARM)
    assert found.options == [
        f"budget.extend {SWARM} 0.000000001: go on; it covers the next call",
        f"swarm.report {SWARM}: review what there is",
        f"swarm.destroy {SWARM}: finish partial, with what there is",
    ]
    assert found.forecast.text == found.budget.blocked == "nothing is left of $1.00"


async def test_extending_lets_go_on_what_had_stopped(call, scene) -> None:
    stopped(scene)
    since = scene.seq
    changed = await call("budget.extend", budget=SWARM, usd=0.5, why="worth it")
    assert (changed.resumed, changed.budget.limit_usd, changed.budget.reached) == (1, 1.5, 0)
    assert swarms.get(scene.db, SWARM).state == "active"
    assert scene.kinds(since) == ["budget.extended", "swarm.resumed"]
    assert scene.events(since)[0]["data"] == {"budget": SWARM, "from": 1.0, "to": 1.5, "why": "worth it"}
    (first, *_) = (await call("budget.history", budget=SWARM)).changes
    assert (first.kind, first.from_usd, first.to_usd, first.why) == ("extended", 1.0, 1.5, "worth it")


async def test_a_limit_in_tokens_is_told_and_extended_in_tokens(call, scene) -> None:
    scene.swarm("a")
    limit(scene, None, 1_000)
    spend(scene, 1, 1_000)
    found = await call("budget.status", budget=SWARM)
    assert found.budget.blocked == "nothing is left of 1,000 tokens"
    assert found.options[0] == f"budget.extend {SWARM} --tokens 1: go on; it covers the next call"
    with pytest.raises(errors.BudgetExceeded, match="1,000 tokens") as caught:
        await call("swarm.resume", swarm=SWARM)
    assert caught.value.hint.startswith(f"budget.extend {SWARM} --tokens 1;")
    event = [each["data"] for each in scene.events() if each["kind"] == "budget.threshold"][-1]
    assert (event["text"], event["spent_tokens"]) == ("nothing is left of 1,000 tokens", 1_000)
    changed = await call("budget.extend", budget=SWARM, tokens=500)
    assert (changed.resumed, changed.budget.limit_tokens, changed.budget.blocked) == (1, 1_500, "")
    with pytest.raises(errors.Conflict, match="no limit in dollars"):
        await call("budget.extend", budget=SWARM, tokens=500, usd=1)
    with pytest.raises(errors.InvalidParams, match="nothing to add"):
        await call("budget.extend", budget=SWARM)


async def test_without_its_limit_in_dollars_what_its_tokens_stop_does_not_go_on(call, scene) -> None:
    scene.swarm("a")
    limit(scene, USD, 1_000)
    spend(scene, USD, 940)
    scene.do(lambda tx: budgets.set_need(tx, SWARM, 10, 80))
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    changed = await call("budget.set", budget=SWARM, limit_usd=None)
    assert (changed.resumed, swarms.get(scene.db, SWARM).state) == (0, "paused")
    assert changed.budget.blocked == "60 tokens left of 1,000 tokens, the next call must hold 80 tokens"
    changed = await call("budget.extend", budget=SWARM, tokens=20)
    assert (changed.resumed, changed.budget.blocked) == (1, "")


async def test_thawing_lets_go_on_what_was_raised_while_it_was_frozen(call, scene) -> None:
    stopped(scene)
    scene.do(lambda tx: budgets.set_frozen(tx, SWARM, "its price is wrong"))
    assert (await call("budget.extend", budget=SWARM, usd=1)).resumed == 0
    assert (await call("budget.set", budget=SWARM, thaw=True)).resumed == 1
    assert swarms.get(scene.db, SWARM).state == "active"


async def test_no_budget_comes_to_more_by_extending_than_by_setting(call, scene) -> None:
    scene.swarm("a")
    limit(scene, 9_000 * USD)
    with pytest.raises(errors.InvalidParams, match=r"\$10,000.00 is the most") as caught:
        await call("budget.extend", budget=SWARM, usd=1_001)
    assert "$1,000.00 can be added" in caught.value.hint
    assert (await call("budget.extend", budget=SWARM, usd=1_000)).budget.limit_usd == 10_000


async def test_extending_under_a_key_adds_once(call, scene) -> None:
    scene.swarm("a")
    limit(scene, USD)
    first = await call("budget.extend", budget=SWARM, usd=1, idempotency_key="k")
    again = await call("budget.extend", budget=SWARM, usd=1, idempotency_key="k")
    assert (first.deduplicated, again.deduplicated) == (False, True)
    assert budgets.get(scene.db, SWARM).limit_nusd == 2 * USD


async def test_a_budget_without_a_limit_cannot_be_extended(call, scene) -> None:
    with pytest.raises(errors.Conflict, match="no limit in dollars"):
        await call("budget.extend", budget="project", usd=1)


async def test_resuming_by_hand_is_refused_while_the_budget_is_spent(call, scene) -> None:
    stopped(scene)
    with pytest.raises(
        errors.BudgetExceeded, match=r"lets nothing go on: nothing is left of \$1.00"
    ) as caught:
        await call("swarm.resume", swarm=SWARM)
    assert caught.value.hint.startswith(f"budget.extend {SWARM}")
    await call("budget.extend", budget=SWARM, usd=1)
    await call("swarm.pause", swarm=SWARM)
    assert (await call("swarm.resume", swarm=SWARM)).state == "active"


async def test_an_agent_that_its_budget_stopped_is_not_resumed_by_hand_either(call, scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    limit(scene, USD, node=SEAT)
    spend(scene, USD)
    with pytest.raises(errors.BudgetExceeded):
        await call("agent.resume", agent=SEAT)
    await call("agent.pause", agent=f"{SWARM}-002")
    assert (await call("agent.resume", agent=f"{SWARM}-002")).wanted == "run"


async def test_lowering_below_what_is_spent_only_blocks_new_calls(call, scene) -> None:
    scene.swarm("a")
    limit(scene, 10 * USD)
    spend(scene, 5 * USD)
    since = scene.seq
    changed = await call("budget.set", budget=SWARM, limit_usd=2)
    assert (changed.budget.left_usd, changed.budget.spent_usd, changed.resumed) == (0.0, 5.0, 0)
    below = "limit $2.00 is below spent $5.00: nothing more may be spent"
    found = await call("budget.status", budget=SWARM, children=True)
    assert (changed.budget.blocked, found.budget.blocked, found.forecast.text) == (below, below, below)
    assert found.children[0].blocked == f"budget {SWARM}: {below}"
    assert found.options[0].startswith(f"budget.extend {SWARM} 3.1: go on")
    assert (await call("swarm.report", swarm=SWARM)).money.endswith(f"spent; {below}")
    assert scene.kinds(since) == []
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    assert swarms.get(scene.db, SWARM).state == "active"


@pytest.mark.parametrize("method", ["budget.set", "budget.extend"])
@pytest.mark.parametrize("rule", ["even", "cap", "allotment", None])
async def test_a_change_below_raises_nothing_above(call, scene, method, rule) -> None:
    """I10."""
    scene.swarm("a", "b", agents_made=2)
    limit(scene, 2 * USD)
    limit(scene, USD // 4, node=SEAT)
    scene.do(lambda tx: budgets.set_share(tx, SWARM, allotment=None, reserve=0, rule=rule, seat=USD // 4))
    above = {node: budgets.get(scene.db, node) for node in ("project", SWARM, f"{SWARM}-002")}
    more = {"limit_usd": 100.0} if method == "budget.set" else {"usd": 100.0}
    await call(method, budget=SEAT, **more)
    assert budgets.get(scene.db, SEAT).limit_nusd >= 100 * USD
    assert {node: budgets.get(scene.db, node) for node in above} == above
    project = budgets.get(scene.db, "project")
    await call(method, budget=SWARM, **more)
    assert budgets.get(scene.db, "project") == project


async def test_set_changes_what_was_given_and_nothing_else(call, scene) -> None:
    scene.swarm("a")
    await call("budget.set", budget=SEAT, limit_usd=3, limit_tokens=100)
    changed = await call("budget.set", budget=SEAT, actions={"at_75": "none", "at_100": "kill"})
    assert (changed.budget.limit_usd, changed.budget.limit_tokens) == (3.0, 100)
    assert (changed.budget.actions.at_75, changed.budget.actions.at_100) == ("none", "kill")
    changed = await call("budget.set", budget=SEAT, limit_usd=None)
    assert (changed.budget.limit_usd, changed.budget.left_usd) == (None, None)


async def test_actions_that_are_not_named_stay_as_they_are(call, scene) -> None:
    scene.swarm("a")
    await call("budget.set", budget=SEAT, actions={"at_75": "none", "at_100": "kill"})
    changed = await call("budget.set", budget=SEAT, actions={"at_90": "pause"})
    acts = changed.budget.actions
    assert (acts.at_75, acts.at_90, acts.at_100) == ("none", "pause", "kill")


async def test_the_history_has_tokens_and_actions(call, scene) -> None:
    scene.swarm("a")
    await call("budget.set", budget=SEAT, limit_tokens=100)
    await call("budget.set", budget=SEAT, limit_tokens=None, actions={"at_75": "notify", "at_100": "kill"})
    last, first = (await call("budget.history", budget=SEAT)).changes[:2]
    assert (first.from_tokens, first.to_tokens, first.actions) == (None, 100, "")
    assert (last.from_tokens, last.to_tokens, last.actions) == (100, None, "at_100 pause -> kill")


@pytest.mark.parametrize("given", [{}, {"why": "because"}, {"actions": {}}])
async def test_setting_nothing_is_refused(call, scene, given) -> None:
    scene.swarm("a")
    before = len((await call("budget.history", budget=SEAT)).changes)
    with pytest.raises(errors.InvalidParams, match="nothing to set") as caught:
        await call("budget.set", budget=SEAT, **given)
    assert "limit_tokens" in caught.value.hint
    assert len((await call("budget.history", budget=SEAT)).changes) == before


async def test_a_frozen_budget_says_why_and_is_thawed_by_the_operator(call, scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: budgets.set_frozen(tx, SEAT, "m cost more than its worst case; its price is wrong"))
    found = await call("budget.status", budget=SEAT)
    assert found.budget.blocked.startswith("frozen: m cost more than its worst case")
    assert found.options[0].startswith(f"budget.set {SEAT} --thaw: its calls go on")
    since = scene.seq
    changed = await call("budget.set", budget=SEAT, thaw=True, why="priced anew")
    assert (changed.budget.frozen, changed.budget.blocked) == (None, "")
    assert scene.kinds(since) == ["budget.thawed"]
    (first, *_) = (await call("budget.history", budget=SEAT)).changes
    assert (first.kind, first.why) == ("thawed", "priced anew")
    again = await call("budget.set", budget=SEAT, thaw=True)
    assert (again.cursor, scene.kinds(since)) == (changed.cursor, ["budget.thawed"])
    recorded = (await call("audit.list", action="budget.set")).rows
    assert [row.subject for row in recorded] == [SEAT, SEAT]


async def test_even_caps_follow_and_let_their_agents_go_on(call, scene) -> None:
    made = await call("swarm.create", task="t", agents=2, budget=2, agent_budget="even")
    seat = f"{made.id}-001"

    def operation(tx) -> None:
        budgets.settle(tx, seat, held_nusd=0, held_tokens=0, cost_nusd=USD, tokens=0, confirmed=True)
        thresholds.look(tx, seat)

    scene.do(operation)
    assert (await call("agent.get", agent=seat)).wanted == "pause"
    changed = await call("budget.extend", budget=made.id, usd=1)
    assert changed.resumed == 1
    assert [row.limit_nusd for row in budgets.children(scene.db, made.id)] == [1_500_000_000] * 2
    assert (await call("agent.get", agent=seat)).wanted == "run"


async def test_export_in_pages(call, scene) -> None:
    scene.swarm("a")
    ids = [settled(scene, amount) for amount in (1, 2, 3)]
    first = await call("budget.export", limit=2)
    assert ([row.id for row in first.rows], first.next) == (ids[:2], ids[1])
    second = await call("budget.export", swarm=SWARM, since=first.next, limit=2)
    assert ([row.id for row in second.rows], second.next) == (ids[2:], 0)
    row = first.rows[1]
    assert (row.usd, row.model, row.basis, row.confirmed, row.agent) == (2e-9, "m", "usage", True, SEAT)


@pytest.mark.parametrize("method", ["status", "extend", "set", "history"])
async def test_an_unknown_budget(call, method) -> None:
    more = {"extend": {"usd": 1}, "set": {"limit_usd": 1}}.get(method, {})
    with pytest.raises(errors.NotFound):
        await call(f"budget.{method}", budget="nope", **more)


async def test_a_task_gets_a_budget_by_being_limited(call, scene) -> None:
    scene.swarm("a", "b")
    settled(scene, USD // 2)
    task = f"{SWARM}-t1"
    with pytest.raises(errors.NotFound, match="no budget") as unknown:
        await call("budget.status", budget=task)
    assert "budget.set gives it a limit" in unknown.value.hint
    for method, more in (("budget.extend", {"usd": 1}), ("budget.history", {})):
        with pytest.raises(errors.NotFound):
            await call(method, budget=task, **more)
    made = await call("budget.set", budget=task, limit_usd=2)
    node = made.budget
    assert (node.kind, node.parent, node.limit_usd, node.spent_usd, node.left_usd) == (
        "task", SWARM, 2.0, 0.5, 1.5,
    )  # fmt: skip
    assert (await call("budget.extend", budget=task, usd=1)).budget.limit_usd == 3.0
    assert [each.kind for each in (await call("budget.history", budget=task)).changes] == [
        "extended", "set", "created",
    ]  # fmt: skip
    swarm = await call("budget.status", budget=SWARM, children=True)
    assert [child.id for child in swarm.children] == [SEAT, task]
    with pytest.raises(errors.NotFound):
        await call("budget.set", budget=f"{SWARM}-t99", limit_usd=2)
