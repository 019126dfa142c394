"""The tools for money, and the money of swarm_create."""

import json

from dashd.wire.methods import budget
from mcp_server import server
from tests.dashctl import answers
from tests.fakes import daemon as fake


async def test_status_tells_what_helps_in_tool_names_and_leaves_out_what_is_no_tool(connect):
    async with connect() as (dashd, tool):
        status = answers.budget_status(options=["swarm.report x: review", "swarm.destroy x: finish partial"])
        dashd.on("budget.status", status)
        told = await tool.ok("budget_status", {"budget": fake.ID})
    assert told["forecast"]["suggestions"] == [f"budget_extend {fake.ID} 1.5: covers the dearest case"]
    assert told["options"] == ["swarm_report x: review"]
    assert told["budget"]["spent_usd"] == 0.9375
    assert dashd.asked("budget.status") == [{"budget": fake.ID}]


async def test_a_hasty_repetition_of_an_extension_carries_the_same_key(connect):
    changed = budget.BudgetChanged(budget=answers.a_node(), resumed=2, cursor=5)
    async with connect() as (dashd, tool):
        dashd.on("budget.extend", changed)
        told = await tool.ok("budget_extend", {"budget": fake.ID, "usd": 1})
        await tool.ok("budget_extend", {"budget": fake.ID, "usd": 1})
        await tool.ok("budget_extend", {"budget": fake.ID, "usd": 1, "why": "more"})
    assert told["hint"] == "2 that had stopped go on."
    first, again, other = [asked["idempotency_key"] for asked in dashd.asked("budget.extend")]
    assert first == again != other


async def test_a_dry_run_answers_with_the_plan(connect):
    async with connect() as (dashd, tool):
        dashd.on("swarm.create", fake.created(id="", plan=answers.a_plan()))
        told = await tool.ok(
            "swarm_create", {"task": "t", "budget": 5, "agent_budget": "even", "dry_run": True}
        )
    assert (told["usd"], told["brief"]) == (2.5, "fix it\n\nItem: a")
    assert told["hint"].startswith("Nothing was created.")
    assert dashd.asked("swarm.create")[0]["agent_budget"] == "even"


def test_what_may_be_spent_is_offered():
    (create,) = [each for each in server.listing() if each.name == "swarm_create"]
    offered = create.input_schema["properties"]
    assert {"budget", "agent_budget", "model", "dry_run"} <= offered.keys()
    assert offered["agent_budget"]["type"] == ["number", "string"]
    assert "agent_budgets" not in json.dumps(offered)
