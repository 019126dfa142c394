"""What waits for a yes: told with its context and a call, and decided by one tool."""

from dashd.wire import events
from dashd.wire.methods import approval, budget, event
from tests.dashctl import answers
from tests.fakes import daemon as fake

TOLD = {
    "approval": "ap1",
    "gate": "big",
    "kind": "tool",
    "what": "run \x1b]52;c;x\x07bash",
    "context": {"file": "x"},
    "suggestion": "approval.resolve {approvals: [ap1], decision: allow}, or deny",
}


async def test_a_request_comes_with_its_context_and_a_call(connect):
    async with connect() as (dashd, tool):
        asked = events.Event(7, answers.AT, "approval.requested", fake.ID, data=TOLD)
        dashd.on("event.wait", event.Events(events=[asked], cursor=7, more=False))
        told = await tool.ok("event_wait", {"since": 1})
    data = told["events"][0]["data"]
    assert data["context"] == {"file": "x"}
    assert data["suggestion"].startswith("approval_resolve {approvals: [ap1], decision: allow}")
    assert "\x1b" not in data["what"]


async def test_the_tool_decides(connect):
    done = approval.Resolved(id="ap1", state="allowed", changed=True, votes=["orchestrator:claude"])
    async with connect() as (dashd, tool):
        dashd.on("approval.resolve", approval.ApprovalsResolved(items=[done], cursor=9))
        told = await tool.ok("approval_resolve", {"approvals": ["ap1"], "decision": "allow"})
    assert told["items"][0]["state"] == "allowed"
    assert dashd.asked("approval.resolve") == [{"approvals": ["ap1"], "decision": "allow"}]


async def test_what_waits_is_said_by_who_asked(connect):
    async with connect() as (dashd, tool):
        dashd.on("swarm.create", fake.created(state="creating", approval="ap2"))
        assert (await tool.ok("swarm_create", {"task": "t"}))["hint"].startswith(
            "It starts when approval ap2"
        )
        waits = budget.BudgetChanged(budget=answers.a_node(), resumed=0, cursor=5, approval="ap3")
        dashd.on("budget.extend", waits)
        told = await tool.ok("budget_extend", {"budget": fake.ID, "usd": 1})
        assert told["hint"] == "Nothing was added yet: it waits for approval ap3. Tell the operator."
