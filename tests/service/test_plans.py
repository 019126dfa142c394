"""`swarm.plan`, the money of `swarm.create`: what is priced, what is refused, and nothing is half made."""

import dataclasses
import json

import pytest

from dashd.domain import fanout, prices
from dashd.domain.budget import USEFUL_OUTPUT_TOKENS, CallCost, Grant, Node, decide
from dashd.domain.speech import Speaks
from dashd.drivers import Programs, over
from dashd.service.core import Core
from dashd.service.ports import Offer
from dashd.store import budgets, thresholds
from dashd.wire import errors
from tests.drivers.test_driver import MEASURED_BYTES
from tests.fakes import models
from tests.fakes.models import BIG
from tests.fakes.ports import driver_abilities
from tests.fakes.scene import SWARM
from tests.service.test_walls import FakeWalls
from tests.store.test_holds import settled

USD = 10**9


@pytest.fixture
def core(core):
    return dataclasses.replace(core, models=models.FakeModels(), drivers=models.ModelDrivers())


def seats(scene, swarm: str) -> list[tuple[str, int | None, int | None]]:
    found = []
    for row in budgets.children(scene.db, swarm):
        (name,) = scene.db.execute("SELECT name FROM agent WHERE id = ?", (row.id,)).fetchall()[0]
        found.append((name, row.limit_nusd, row.allotment_nusd))
    return found


def rows(scene) -> int:
    return sum(
        scene.db.execute(f"SELECT count(*) FROM {table}").get for table in ("swarm", "agent", "budget")
    )


def estimated(agents: int, tasks: int, brief_bytes: int) -> fanout.Estimate:
    """What it comes to with driver `thinker` and the big model, before anything is learned."""
    first_bytes = models.ModelDrivers().abilities("thinker").first_bytes
    told = agents, tasks, brief_bytes, "big", models.BIG.price, 4_096, USEFUL_OUTPUT_TOKENS
    return fanout.estimate(fanout.Fanout(*told, learned=None, stand_in=False, first_bytes=first_bytes))


async def test_a_plan_prices_the_fan_out_and_says_what_it_assumes(call, scene) -> None:
    before = rows(scene)
    plan = await call("swarm.plan", task="fix it", agents=4, items=["a", "b", "c", "d", "e"], budget=50)
    found = estimated(4, 5, len(rb"fix it\n\nItem: a"))
    assert (plan.agents, plan.tasks, plan.calls, plan.model) == (4, 5, 5 * fanout.CALLS_EACH, "big")
    assert (plan.usd, plan.task_usd, plan.start_usd) == (
        found.total / USD, found.task / USD, found.start / USD,
    )  # fmt: skip
    assert (plan.budget_usd, plan.agent_usd, plan.agent_cap, plan.enough) == (50.0, 12.5, False, True)
    assert plan.brief.startswith("do fix it for a in /, write ")
    assert len(plan.assumptions) == 5
    assert "nothing is learned yet" in plan.assumptions[0]
    assert plan.prices_date == "2026-11-01"
    assert rows(scene) == before


async def test_what_is_shown_is_what_the_driver_tells_its_agents(call, core, monkeypatch) -> None:
    monkeypatch.setattr(core.walls, "state", FakeWalls().state)
    inside = await call("swarm.plan", task="t", cwd="/srv", scope=["src"])
    assert inside.brief == "do t for 1 in /srv, write ['/srv/src']"
    free = await call("swarm.plan", task="t", cwd="/srv", unsafe_no_jail=True)
    assert free.brief == "do t for 1 in /srv, write None"


async def test_a_command_is_not_priced_and_its_line_is_the_brief(call) -> None:
    plan = await call(
        "swarm.plan", task="t", driver="command", argv=["lint", "{item}", "{cwd}"], items=["a.py"]
    )
    assert (plan.model, plan.usd, plan.brief) == (None, 0.0, "lint a.py /")
    assert plan.assumptions == ["driver command calls no model that Dash knows of, so nothing is priced"]


async def test_a_plan_learns_from_what_tasks_of_its_driver_and_model_have_taken(call, scene) -> None:
    first = await call("swarm.plan", task="fix it", agents=4)
    scene.swarm("a", "b", "c", "d", driver="thinker", agents_made=4)
    for claim in scene.claim():
        for _ in range(2):
            settled(scene, 50_000, agent_id=claim.agent_id, task_id=claim.task_id, model="big")
        if claim.task_id == f"{SWARM}-t3":
            # Two are not enough to learn from.
            assert await call("swarm.plan", task="fix it", agents=4) == first
        if claim.task_id != f"{SWARM}-t4":
            scene.end(claim)
    plan = await call("swarm.plan", task="fix it", agents=10)
    assert (plan.calls, plan.task_usd, plan.usd) == (20, 0.0001, 0.001)
    assert plan.start_usd > 0.001  # the worst case of a first call is not learned
    assert plan.assumptions[0].startswith("as the last 3 tasks of this driver and model that have ended: 2.0")
    assert (await call("swarm.plan", task="fix it", agents=4, model="small")).calls == first.calls
    made = await call("swarm.create", task="fix it", agents=10, budget=plan.start_usd)
    assert not any("estimated" in note for note in made.notes)


async def test_the_stand_in_is_not_priced_like_a_model_that_works(call, core) -> None:
    stand_in = dataclasses.replace(models.BIG, name="offline", provider="offline")

    async def choose(_model, _speaks):
        return stand_in

    real = await call("swarm.plan", task="t")
    core.models.choose = choose
    plan = await call("swarm.plan", task="t")
    assert plan.calls == fanout.STAND_IN.calls
    assert plan.task_usd < real.task_usd / 10
    assert plan.start_usd == real.start_usd


async def test_who_is_never_called_is_named(core: Core, call, monkeypatch) -> None:
    asked = []

    async def choose(_model: str | None, speaks: Speaks | None = None) -> Offer:
        asked.append(speaks)
        return dataclasses.replace(BIG, left_out=("two/claude-x",))

    monkeypatch.setattr(core.models, "choose", choose)
    plan = await call("swarm.plan", task="t", model="big -> claude-x")
    made = await call("swarm.create", task="t", model="big -> claude-x")
    said = (
        "two/claude-x is never called: driver thinker calls the models of this swarm in the format"
        " openai-chat, in which it is not served"
    )
    assert said in plan.notes
    assert said in made.notes
    assert {each.who for each in asked} == {"driver thinker speaks"}


@pytest.mark.parametrize(
    "terms",
    [
        {"agents": 4, "budget": 10},
        {"agents": 4, "items": ["a"], "budget": 0.05},
        {"agents": 2, "items": ["a", "b", "c"]},
        {"agents": 2, "budget": 5, "agent_budgets": {"1": 4, "2": 4}},
        {"agents": 2, "driver": "command", "argv": ["true"]},
    ],
)
async def test_plan_dry_run_and_create_say_the_same(call, terms) -> None:
    plan = await call("swarm.plan", task="t", **terms)
    dry = await call("swarm.create", task="t", dry_run=True, **terms)
    made = await call("swarm.create", task="t", **terms)
    assert dry.plan == plan
    assert dry.notes[1:] == plan.notes == made.notes


@pytest.mark.parametrize("terms", [{"budget": 0.001}, {"budget": 1, "agent_budget": 0.001}, {"reserve": 1}])
async def test_plan_dry_run_and_create_refuse_in_the_same_words(call, terms) -> None:
    said = []
    for method, more in (("swarm.plan", {}), ("swarm.create", {"dry_run": True}), ("swarm.create", {})):
        with pytest.raises(errors.DashError) as refused:
            await call(method, task="t", **terms, **more)
        said.append((refused.value.message, refused.value.hint, refused.value.path))
    assert len(set(said)) == 1


@pytest.mark.parametrize(("driver", "measured"), sorted(MEASURED_BYTES.items()))
async def test_a_cap_as_small_as_the_hint_says_starts_the_real_programs(
    call, core, monkeypatch, driver, measured
) -> None:
    said = over(Programs())[driver].first_bytes
    can = driver_abilities("soft", message=True, needs_model=True, first_bytes=said)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: can)
    task = 'say "yes"\n' * 100
    with pytest.raises(errors.BudgetExceeded) as refused:
        await call("swarm.plan", task=task, budget=5, agent_budget=0.001)
    cap = round(float(refused.value.hint.split("agent_budget: ")[1].split()[0]) * USD)
    await call("swarm.plan", task=task, budget=5, agent_budget=cap / USD)
    worst = prices.worst_input(measured + len(json.dumps(task)), models.BIG.price)
    first = CallCost(worst, models.BIG.price.output, 4_096)
    assert isinstance(decide([Node("a", cap, 0, 0, 0, 1, None)], first), Grant)


async def test_a_dry_run_creates_nothing(call, scene) -> None:
    before = rows(scene)
    made = await call("swarm.create", task="t", agents=3, budget=5, dry_run=True)
    assert (made.id, made.agents, made.tasks) == ("", 3, 3)
    assert made.plan.budget_usd == 5.0
    assert made.notes[0] == "nothing was created: this was a dry run"
    assert rows(scene) == before
    assert scene.kinds() == []


async def test_a_budget_alone_gives_parts_that_are_no_caps(call, scene) -> None:
    made = await call("swarm.create", task="t", agents=4, budget=10, model="small")
    assert seats(scene, made.id) == [(f"agent-{n}", None, 2_500_000_000) for n in (1, 2, 3, 4)]
    assert made.notes == ["$2.50 is each agent's part of the budget; it is not a cap"]
    got = await call("swarm.get", swarm=made.id)
    assert (got.budget_usd, got.spent_usd, got.model) == (10.0, 0.0, "small")


async def test_without_a_budget_the_ceiling_holds(call) -> None:
    made = await call("swarm.create", task="t")
    status = await call("budget.status", budget=made.id)
    assert status.budget.limit_usd == 10_000.0


@pytest.mark.parametrize(
    ("terms", "caps", "reserve"),
    [
        ({"budget": 10, "agent_budget": "even"}, [5 * USD, 5 * USD], 0),
        ({"budget": 10, "agent_budget": "even", "reserve": 60}, [2 * USD, 2 * USD], 6 * USD),
        ({"budget": 10, "agent_budget": 2.5}, [2_500_000_000, 2_500_000_000], 0),
        ({"agent_budget": 0.29}, [290_000_000, 290_000_000], 0),
        ({"budget": 10, "agent_budget": 1, "agent_budgets": {"2": 3}}, [USD, 3 * USD], 0),
        ({"budget": 10, "agent_budgets": {"agent-1": 3}}, [3 * USD, None], 0),
    ],
)
async def test_caps(call, scene, terms, caps, reserve) -> None:
    made = await call("swarm.create", task="t", agents=2, **terms)
    assert [limit for _, limit, _ in seats(scene, made.id)] == caps
    assert budgets.get(scene.db, made.id).reserve_nusd == reserve


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"agent_budgets": {"a": 10, "2": 5}}, (None, True, {"a": 10.0, "agent-2": 5.0})),
        ({"agent_budgets": {"b": 5}}, (15.0, False, {"b": 5.0})),
        ({"agent_budgets": {"b": 5}, "agent_budget": 2}, (2.0, True, {"b": 5.0})),
        ({}, (15.0, False, {})),
    ],
)
async def test_a_plan_says_the_caps_that_create_makes(call, scene, terms, told) -> None:
    plan = await call("swarm.plan", task="t", agents=2, budget=30, **terms)
    assert (plan.agent_usd, plan.agent_cap, plan.agent_caps_usd) == told
    assert any("not a cap" in note for note in plan.notes) == (not plan.agent_cap)
    made = await call("swarm.create", task="t", agents=2, budget=30, **terms)
    each = plan.agent_usd if plan.agent_cap else None
    caps = {name: limit for name, limit, _ in seats(scene, made.id)}
    shown = {name: plan.agent_caps_usd.get(name, each) for name in caps}
    assert caps == {name: usd if usd is None else usd * USD for name, usd in shown.items()}


async def test_a_name_with_a_cap_is_given_to_an_agent(call, scene) -> None:
    made = await call("swarm.create", task="t", agents=3, budget=30, agent_budgets={"a": 10, "1": 2, "b": 5})
    assert [(name, limit) for name, limit, _ in seats(scene, made.id)] == [
        ("agent-1", 2 * USD), ("a", 10 * USD), ("b", 5 * USD),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({"reserve": 10}, "reserve"),
        ({"agent_budget": "even"}, "agent_budget"),
        ({"agent_budgets": {"3": 1}}, "agent_budgets"),
        ({"agent_budgets": {"a": 1, "b": 1, "c": 1}}, "agent_budgets"),
        ({"agent_budgets": {"1": 1, "agent-1": 2}}, "agent_budgets"),
        ({"model": "none"}, "model"),
    ],
)
async def test_terms_that_cannot_be(call, scene, terms, path) -> None:
    before = rows(scene)
    with pytest.raises(errors.InvalidParams) as caught:
        await call("swarm.create", task="t", agents=2, **terms)
    assert caught.value.path == path
    assert caught.value.hint
    assert rows(scene) == before


async def test_a_budget_that_could_not_start_is_refused_with_figures_and_what_to_run(call, scene) -> None:
    found = estimated(20, 20, 1)
    before = rows(scene)
    with pytest.raises(errors.BudgetExceeded) as caught:
        await call("swarm.create", task="t", agents=20, budget=found.first_call * 5.5 / USD)
    refusal = caught.value
    assert "the first calls of 20 agents come to about $0.062 with model big" in refusal.message
    assert refusal.hint == "swarm.create with budget: 0.0620, or agents: 5"
    assert rows(scene) == before
    assert scene.kinds() == []
    made = await call("swarm.create", task="t", agents=20, budget=0.0620)
    assert made.agents == 20
    made = await call("swarm.create", task="t", agents=5, budget=found.first_call * 5.5 / USD)
    assert made.agents == 5


async def test_a_cap_that_can_never_start_is_refused(call) -> None:
    with pytest.raises(errors.BudgetExceeded, match=r"a cap of \$0.001 can never start it") as caught:
        await call("swarm.create", task="t", agents=2, budget=1, agent_budget=0.001)
    assert caught.value.path == "agent_budget"
    with pytest.raises(errors.BudgetExceeded, match="must have"):
        await call("swarm.plan", task="t", agents=2, budget=1, agent_budgets={"1": 0.001})


async def test_what_the_project_has_left_counts_too(call) -> None:
    await call("budget.set", budget="project", limit_usd=0.001)
    with pytest.raises(errors.BudgetExceeded, match="the project has"):
        await call("swarm.create", task="t", agents=2, budget=1)


async def test_caps_above_the_budget_are_allowed_and_said(call) -> None:
    made = await call("swarm.create", task="t", agents=2, budget=5, agent_budgets={"1": 4, "2": 4})
    assert any("the agents' caps come to $8.00" in note for note in made.notes)


@pytest.mark.parametrize(
    ("method", "params"), [("swarm.scale", {"agents": 4}), ("agent.spawn", {"task": "more"})]
)
async def test_agents_that_are_added_let_a_swarm_go_on_that_its_reserve_has_stopped(
    call, scene, method, params
) -> None:
    made = await call("swarm.create", task="t", agents=2, budget=10, reserve=60)
    scene.do(lambda tx: spent(tx, f"{made.id}-001", 4 * USD))
    with pytest.raises(errors.BudgetExceeded, match="kept for agents added later"):
        await call("swarm.resume", swarm=made.id)
    since = scene.seq
    await call(method, swarm=made.id, **params)
    assert (await call("swarm.get", swarm=made.id)).state == "active"
    assert "swarm.resumed" in scene.kinds(since)
    assert (await call("budget.status", budget=made.id)).budget.blocked == ""


async def test_a_resume_by_hand_is_not_refused_where_nothing_keeps_calls_out(call, scene) -> None:
    made = await call("swarm.create", task="t", agents=2, budget=10)
    scene.do(lambda tx: budgets.set_need(tx, made.id, 11 * USD, 1))
    scene.do(lambda tx: thresholds.stop(tx, made.id))
    with pytest.raises(errors.BudgetExceeded, match="lets nothing go on"):
        await call("swarm.resume", swarm=made.id)
    scene.do(lambda tx: budgets.set_need(tx, made.id, None, None))
    since = scene.seq
    changed = await call("swarm.resume", swarm=made.id)
    assert (changed.state, changed.changed) == ("active", True)
    assert scene.kinds(since) == ["swarm.resumed"]


def spent(tx, seat: str, nusd: int) -> None:
    budgets.settle(tx, seat, held_nusd=0, held_tokens=0, cost_nusd=nusd, tokens=0, confirmed=True)
    thresholds.look(tx, seat)


async def test_scaling_frees_the_reserve_and_shares_it_out(call, scene) -> None:
    made = await call("swarm.create", task="t", agents=2, budget=10, reserve=60)
    await call("swarm.scale", swarm=made.id, agents=3)
    assert budgets.get(scene.db, made.id).reserve_nusd == 4 * USD
    assert seats(scene, made.id)[-1] == ("agent-3", None, 2 * USD)
    await call("agent.spawn", swarm=made.id, task="more")
    assert budgets.get(scene.db, made.id).reserve_nusd == 2 * USD
