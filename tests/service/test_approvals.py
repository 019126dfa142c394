"""The inbox: who may decide, batches, two persons; and the gate for money from end to end."""

import dataclasses
import inspect

import msgspec
import pytest

from dashd.domain.gates import Gate
from dashd.service import HANDLERS, swarms
from dashd.service.core import Caller
from dashd.store import access_keys, audit, budgets, decisions, gates, queue
from dashd.wire import errors, methods
from tests.fakes.here import Here
from tests.fakes.ports import FakeKeys
from tests.store.test_access_keys import row as key

UID = Caller("operator", 0)
ALICE, BOB = [Caller("operator", 0, key=each, proof=f"proof of {each}") for each in ("alice", "bob")]
CLAUDE, OTHER = [
    Caller("orchestrator", 0, key=each, proof=f"proof of {each}") for each in ("claude", "codex")
]
SOME = Gate("some", "tool", "", 0, "ask", "operator", False, 60.0, "deny")


@pytest.fixture
def by(core):
    """`await by(caller, method, …)`, with its guard, as dispatch does it."""
    core = dataclasses.replace(core, keys=FakeKeys())

    async def by(caller, method, **params):
        decoded = msgspec.json.decode(msgspec.json.encode(params), type=methods.METHODS[method].params)
        answer = HANDLERS[method](core, caller, decoded)
        return await answer if inspect.isawaitable(answer) else answer

    return by


@pytest.fixture
def keys(core):
    """The keys of alice and bob; gives what makes one in place of another of its name."""

    def made(name, **terms):
        def operation(tx):
            known = access_keys.find(tx.db, name)
            if known is not None:
                access_keys.revoke(tx, known.id)
            number = len(access_keys.every(tx.db, 100)) + 1
            access_keys.insert(
                tx,
                key(
                    number,
                    kind="operator",
                    budget_id=None,
                    name=name,
                    **({"created_at_ms": tx.now_ms} | terms),
                ),
            )

        core.store.do(operation)

    made("alice")
    made("bob")
    return made


@pytest.fixture
def asked(core):
    def asked(by="aaaaaa-001", **terms):
        gate = dataclasses.replace(SOME, **terms)
        question = decisions.Question(kind="tool", what="run bash", asked_by=by, agent="aaaaaa-001")
        return core.store.do(lambda tx: decisions.request(tx, gate, question)).id

    return asked


async def states(by):
    return {each.id: each.state for each in (await by(UID, "approval.list", state="any")).items}


async def test_the_inbox_shows_what_a_decision_needs(by, asked):
    asked()
    (found,) = (await by(UID, "approval.list")).items
    assert (found.id, found.gate, found.what, found.agent, found.state) == (
        "ap1", "some", "run bash", "aaaaaa-001", "open",
    )  # fmt: skip
    await by(UID, "approval.resolve", approvals=["ap1"], decision="deny", note="not now")
    assert (await by(UID, "approval.list")).items == []
    (found,) = (await by(UID, "approval.list", state="denied")).items
    assert (found.decided_by, found.note) == ("operator:uid-0", "not now")


async def test_many_are_decided_at_once(by, asked):
    ids = [asked() for _ in range(3)]
    done = await by(UID, "approval.resolve", approvals=[*ids, ids[0]], decision="allow")
    assert [(each.id, each.state, each.changed) for each in done.items] == [
        (each, "allowed", True) for each in ids
    ]


async def test_a_decision_stands(by, asked):
    asked()
    await by(UID, "approval.resolve", approvals=["ap1"], decision="allow")
    (again,) = (await by(UID, "approval.resolve", approvals=["ap1"], decision="deny")).items
    assert (again.state, again.changed) == ("allowed", False)


async def test_one_that_cannot_be_decided_leaves_all_as_they_were(by, asked):
    mine, theirs = asked(who="orchestrator"), asked(who="operator")
    for caller, approvals, error in (
        (UID, [mine, "ap99"], errors.NotFound),
        (CLAUDE, [mine, theirs], errors.Forbidden),
    ):
        with pytest.raises(error):
            await by(caller, "approval.resolve", approvals=approvals, decision="allow")
    assert await states(by) == {mine: "open", theirs: "open"}


async def test_an_orchestrator_decides_what_was_delegated_and_nothing_of_its_own(by, asked):
    delegated, own = asked(who="orchestrator"), asked(by="orchestrator:claude", who="orchestrator")
    await by(CLAUDE, "approval.resolve", approvals=[delegated], decision="allow")
    for decision in ("allow", "deny"):
        with pytest.raises(errors.Forbidden, match="cannot decide about it too"):
            await by(CLAUDE, "approval.resolve", approvals=[own], decision=decision)
    await by(OTHER, "approval.resolve", approvals=[own], decision="deny")
    assert await states(by) == {delegated: "allowed", own: "denied"}


async def test_an_agent_never_decides(by, asked):
    asked(who="orchestrator")
    with pytest.raises(errors.Forbidden):
        await by(Caller("agent", 0), "approval.resolve", approvals=["ap1"], decision="allow")  # type: ignore[arg-type]
    assert await states(by) == {"ap1": "open"}


async def test_two_persons_are_two_keys(by, asked, keys):
    asked(two_person=True)
    with pytest.raises(errors.Forbidden, match="yes of two keys") as caught:
        await by(UID, "approval.resolve", approvals=["ap1"], decision="allow")
    assert "DASH_KEY" in caught.value.hint
    for changed in (True, False):
        (once,) = (await by(ALICE, "approval.resolve", approvals=["ap1"], decision="allow")).items
        assert (once.state, once.changed, once.votes) == ("open", changed, ["operator:alice"])
        assert once.waits_for == "the yes of another key than operator:alice"
    (both,) = (await by(BOB, "approval.resolve", approvals=["ap1"], decision="allow")).items
    assert (both.state, both.votes) == ("allowed", ["operator:alice", "operator:bob"])
    (found,) = (await by(UID, "approval.list", state="allowed")).items
    assert found.decided_by == "operator:alice and operator:bob"


async def test_a_yes_counts_as_long_as_its_key_stands(core, by, asked, keys, clock):
    for ends in ("revoked", "expired"):
        number = asked(two_person=True)
        if ends == "expired":
            keys("alice", expires_at_ms=clock.now_ms() + 1_000)
        (once,) = (await by(ALICE, "approval.resolve", approvals=[number], decision="allow")).items
        assert once.votes == ["operator:alice"]
        if ends == "revoked":
            core.store.do(lambda tx: access_keys.revoke(tx, access_keys.get(tx.db, "alice").id))
        clock.advance(2_000)
        (alone,) = (await by(BOB, "approval.resolve", approvals=[number], decision="allow")).items
        assert (alone.state, alone.votes) == ("open", ["operator:bob"])
        (found,) = (await by(UID, "approval.list")).items
        assert found.votes == ["operator:bob"]
        keys("alice")  # another one of that name has said nothing yet, and may
        (still,) = (await by(BOB, "approval.resolve", approvals=[number], decision="allow")).items
        assert (still.state, still.votes) == ("open", ["operator:bob"])
        (both,) = (await by(ALICE, "approval.resolve", approvals=[number], decision="allow")).items
        assert (both.state, sorted(both.votes)) == ("allowed", ["operator:alice", "operator:bob"])


async def test_one_no_of_two_persons_is_enough_and_needs_no_key(by, asked):
    asked(two_person=True)
    await by(ALICE, "approval.resolve", approvals=["ap1"], decision="allow")
    await by(UID, "approval.resolve", approvals=["ap1"], decision="deny")
    assert await states(by) == {"ap1": "denied"}


async def test_decisions_and_refusals_are_on_record(core, by, asked):
    asked()
    with pytest.raises(errors.Forbidden):
        await by(CLAUDE, "approval.resolve", approvals=["ap1"], decision="allow")
    await by(UID, "approval.resolve", approvals=["ap1"], decision="allow", note="fine")
    rows = [(row.actor, row.action, row.subject) for row in audit.after(core.store.db, 0, 9)]
    assert rows == [
        ("dashd", "approval.requested", "aaaaaa-001"),
        ("orchestrator:claude", "approval.resolve", "ap1"),
        ("operator:uid-0", "approval.resolve", "ap1"),
        ("operator:uid-0", "approval.resolved", "aaaaaa-001"),
    ]


# --- money, from end to end ---------------------------------------------------------------------------------


def money(core, above=10, **terms):
    gate = dataclasses.replace(SOME, kind="money", above=above * 1_000_000_000, **terms)
    core.store.do(lambda tx: gates.put(tx, gate))


def claims(core):
    return core.store.do(lambda tx: queue.claim(tx, 100, Here())).claims


async def test_a_dear_swarm_of_an_orchestrator_waits_for_a_yes(core, by):
    money(core)
    cheap = await by(CLAUDE, "swarm.create", task="t", budget=10)
    assert (cheap.state, cheap.approval) == ("active", "")
    assert len(claims(core)) == 1
    dear = await by(CLAUDE, "swarm.create", task="t", budget=10.5, agents=2)
    assert (dear.state, dear.approval) == ("creating", "ap1")
    assert "waits for operator to resolve approval ap1" in dear.notes[-1]
    assert claims(core) == []
    why = await by(CLAUDE, "agent.why", agent=f"{dear.id}-001")
    assert why.waits_for == "approval"
    (event,) = (await by(CLAUDE, "event.list", since=dear.cursor - 1, attention=True)).events
    assert event.data["what"] == f"start swarm {dear.id} with a budget of $10.50"
    assert event.data["context"]["task"] == "t"

    for verb in ("swarm.resume", "swarm.pause"):
        with pytest.raises(errors.IllegalTransition, match="waits for approval ap1"):
            await by(CLAUDE, verb, swarm=dear.id)
    with pytest.raises(errors.Forbidden):
        await by(CLAUDE, "approval.resolve", approvals=["ap1"], decision="allow")
    assert claims(core) == []
    await by(UID, "approval.resolve", approvals=["ap1"], decision="allow")
    assert (await by(CLAUDE, "swarm.get", swarm=dear.id)).state == "active"
    assert len(claims(core)) == 2


async def test_denied_it_ends_before_it_began(core, by):
    money(core)
    dear = await by(CLAUDE, "swarm.create", task="t", budget=50)
    await by(UID, "approval.resolve", approvals=["ap1"], decision="deny", note="too dear")
    report = await by(CLAUDE, "swarm.get", swarm=dear.id)
    assert report.state == "destroyed"
    assert claims(core) == []


async def test_an_operators_own_is_its_own_yes(core, by):
    money(core)
    assert (await by(UID, "swarm.create", task="t", budget=50)).state == "active"


async def test_two_persons_hold_the_operator_too(core, by):
    money(core, two_person=True)
    assert (await by(ALICE, "swarm.create", task="t", budget=50)).state == "creating"


async def test_what_spends_nothing_passes_every_gate_for_money(core, by):
    money(core, above=0)
    assert (await by(CLAUDE, "swarm.create", task="t")).state == "active"


async def test_a_gate_that_forbids_leaves_nothing(core, by):
    money(core, verdict="deny")
    with pytest.raises(errors.Forbidden, match="gate some forbids it: start swarm"):
        await by(CLAUDE, "swarm.create", task="t", budget=50)
    assert (await by(CLAUDE, "swarm.list")).total == 0


async def test_small_steps_pass_no_gate_that_a_large_one_does_not(core, by):
    money(core)
    made = await by(CLAUDE, "swarm.create", task="t", budget=9)
    grown = await by(CLAUDE, "budget.extend", budget=made.id, usd=1)
    assert (grown.budget.limit_usd, grown.approval) == (10.0, "")
    waits = await by(CLAUDE, "budget.extend", budget=made.id, usd=0.5, why="more", idempotency_key="k")
    assert (waits.budget.limit_usd, waits.approval, waits.resumed) == (10.0, "ap1", 0)
    again = await by(CLAUDE, "budget.extend", budget=made.id, usd=0.5, why="more", idempotency_key="k")
    assert (again.approval, again.deduplicated) == ("ap1", True)
    await by(UID, "approval.resolve", approvals=["ap1"], decision="allow")
    assert budgets.get(core.store.db, made.id).limit_nusd == 10_500_000_000


async def test_an_extension_of_an_operator_is_not_held(core, by):
    money(core)
    made = await by(UID, "swarm.create", task="t", budget=9)
    assert (await by(UID, "budget.extend", budget=made.id, usd=90)).budget.limit_usd == 99.0


# --- limits that were set by hand --------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["project", "swarm", "seat", "task"])
async def test_a_limit_set_by_hand_is_not_raised_by_an_orchestrator(core, by, node):
    made = await by(CLAUDE, "swarm.create", task="t", budget=9)
    budget = {"project": "project", "swarm": made.id, "seat": f"{made.id}-001", "task": f"{made.id}-t1"}[node]
    await by(ALICE, "budget.set", budget=budget, limit_usd=1)
    with pytest.raises(errors.Forbidden, match="orchestrator:claude may not add to it") as caught:
        await by(CLAUDE, "budget.extend", budget=budget, usd=500)
    assert caught.value.hint == f"ask the operator: dashctl budget extend {budget} 500"
    assert budgets.get(core.store.db, budget).limit_nusd == 1_000_000_000
    assert (await by(UID, "budget.extend", budget=budget, usd=1)).budget.limit_usd == 2.0
    with pytest.raises(errors.Forbidden):  # what the operator adds leaves it a limit set by hand
        await by(CLAUDE, "budget.extend", budget=budget, usd=1)


async def test_what_else_is_set_by_hand_leaves_the_limit_the_swarm_s_own(by):
    made = await by(CLAUDE, "swarm.create", task="t", budget=9)
    await by(ALICE, "budget.set", budget=made.id, actions={"at_100": "kill"})
    assert (await by(CLAUDE, "budget.extend", budget=made.id, usd=1)).budget.limit_usd == 10.0


async def test_a_limit_set_by_hand_is_raised_with_a_yes(core, by):
    money(core, who="orchestrator")
    made = await by(CLAUDE, "swarm.create", task="t", budget=9)
    await by(ALICE, "budget.set", budget=made.id, limit_usd=10)
    waits = await by(CLAUDE, "budget.extend", budget=made.id, usd=5)
    assert (waits.approval, waits.budget.limit_usd) == ("ap1", 10.0)
    await by(OTHER, "approval.resolve", approvals=["ap1"], decision="allow")
    assert budgets.get(core.store.db, made.id).limit_nusd == 15_000_000_000


async def test_the_project_s_budget_is_not_raised_with_a_yes_either(core, by):
    money(core, who="orchestrator")
    await by(ALICE, "budget.set", budget="project", limit_usd=10)
    with pytest.raises(errors.Forbidden, match="budget project is no swarm's"):
        await by(CLAUDE, "budget.extend", budget="project", usd=5)
    assert (await by(UID, "approval.list")).items == []


async def test_another_program_s_key_is_nothing_to_an_orchestrator(core, by):
    def operation(tx):
        node = budgets.new("key-1", "key", budgets.PROJECT, None, at_ms=tx.now_ms, limit=1_000_000_000)
        budgets.insert(tx, node)

    core.store.do(operation)
    made = await by(CLAUDE, "swarm.create", task="t")
    told = [(await by(who, "budget.status", children=True)).children for who in (UID, CLAUDE)]
    assert [[each.id for each in children] for children in told] == [[made.id, "key-1"], [made.id]]
    for method, more in (("extend", {"usd": 1}), ("status", {}), ("history", {})):
        with pytest.raises(errors.Forbidden, match="key-1 is a key's and no swarm's"):
            await by(CLAUDE, f"budget.{method}", budget="key-1", **more)
    assert (await by(UID, "budget.extend", budget="key-1", usd=1)).budget.limit_usd == 2.0


async def test_a_dear_swarm_of_one_says_what_it_waits_for(core, by, monkeypatch):
    money(core)
    create = swarms.create

    async def dear(core, caller, params):  # as one is whose agent calls a model, by the budget it has unasked
        return await create(core, caller, msgspec.structs.replace(params, budget=50.0))

    monkeypatch.setattr(swarms, "create", dear)
    made = await by(CLAUDE, "agent.spawn", task="t")
    assert (made.approval, made.id, claims(core)) == ("ap1", f"{made.swarm}-001", [])
