"""Going on with a child's session: below its own parent, with its own scope and what is left of its money."""

import dataclasses

import pytest

from dashd.domain import scope as scopes
from dashd.domain.gates import Gate
from dashd.service import HANDLERS
from dashd.service.core import Caller
from dashd.service.speakers import Speakers
from dashd.service.speaking import introduce
from dashd.store import agents, attempts, budgets, children, gates, sessions, swarms
from dashd.wire import errors, methods
from tests.fakes.ports import driver_abilities
from tests.fakes.scene import SWARM
from tests.service.test_sessions import Sessions
from tests.service.test_walls import FakeWalls

PARENT, OTHER = f"{SWARM}-001", "other1"
SCOPE = scopes.parse(write=["."], read=["."], hosts=["a.example"], depth=2, root="/")
NARROW = scopes.parse(write=["src"], read=["src"], hosts=[], root="/")


@pytest.fixture
def core(core, scene):
    keys = Speakers(core.store, core.clock)
    return dataclasses.replace(core, sessions=Sessions(scene), walls=FakeWalls(), keys=keys)


@pytest.fixture
def parent(scene):
    """One of two agents that run; it may spend 2 dollars."""
    scene.swarm("p", "q", walls="required", scope=scopes.to_json(SCOPE), agents_made=2)
    claims = scene.claim()
    for claim in claims:
        scene.start(claim)
    scene.do(lambda tx: budgets.set_limits(tx, PARENT, 2_000_000_000, None))
    return next(claim for claim in claims if claim.agent_id == PARENT)


@pytest.fixture
def child(scene, parent):
    """Its child, in a session: 0.6 dollars, of which 0.2 are spent, and 900 tokens."""
    wish = children.Wish(parent=PARENT, task="t", scope=scopes.to_json(NARROW))
    made = scene.do(lambda tx: children.add(tx, wish))
    (claim,) = scene.claim()
    assert claim.agent_id == made.agent
    scene.start(claim)
    attempt = attempts.get(scene.db, claim.attempt_id)

    def operation(tx):
        sessions.opened(tx, claim.attempt_id, attempt, SWARM, "command")
        budgets.set_limits(tx, made.agent, budgets.get(tx.db, made.agent).limit_nusd, 900)
        budgets.set_by_hand(tx, made.agent, "operator:1")
        figures = {"held_nusd": 0, "held_tokens": 0, "cost_nusd": 200_000_000, "tokens": 500}
        budgets.settle(tx, made.agent, confirmed=True, **figures)

    scene.do(operation)
    return claim


def _is_like(scene, agent_id, child):
    """A child of the same parent with the same scope, and what was left."""
    new, old = agents.get(scene.db, agent_id), agents.get(scene.db, child.agent_id)
    assert (new.parent_id, new.scope) == (PARENT, old.scope)
    assert scopes.within(agents.scope_of(new, scene.row()), agents.scope_of(old, scene.row()))
    node = budgets.get(scene.db, new.id)
    assert (node.parent_id, node.limit_nusd, node.limit_tokens) == (PARENT, 400_000_000, 400)
    assert node.set_by == "operator:1"


@pytest.mark.parametrize("verb", ["fork", "resume", "compact"])
async def test_it_goes_on_in_a_child_of_the_same_parent(call, core, scene, child, verb, monkeypatch) -> None:
    monkeypatch.setattr(core.drivers, "abilities", lambda _: driver_abilities("soft", True, compacts=True))
    if verb != "fork":
        scene.end(child)
    told = {} if verb == "compact" else {"task": "more"}
    made = await call(f"session.{verb}", session=child.attempt_id, **told)
    assert made.agent == f"{PARENT}.2"
    _is_like(scene, made.agent, child)
    assert sessions.seed(scene.db, made.task) is not None
    assert [claim.agent_id for claim in scene.claim()] == [made.agent]


async def test_one_that_runs_is_migrated_within_its_own_swarm(call, core, scene, child) -> None:
    core.daemon.state = "stopping"  # the answer does not wait for the old one's end
    made = await call("session.migrate", session=child.attempt_id, swarm=SWARM)
    _is_like(scene, made.agent, child)
    assert scene.attempt(child).stop == "kill"
    assert scene.attempt(child).agent_id != made.agent


@pytest.mark.parametrize("verb", ["fork", "migrate"])
async def test_it_goes_on_in_no_other_swarm(call, core, scene, child, verb) -> None:
    scene.swarm("w", swarm_id=OTHER)
    before = scene.seq
    with pytest.raises(
        errors.Forbidden, match=f"a child of {PARENT}, and goes on below that alone"
    ) as refused:
        await call(f"session.{verb}", session=child.attempt_id, task="more", swarm=OTHER)
    assert f"name swarm {SWARM}" in refused.value.hint
    assert (scene.seq, core.sessions.copies) == (before, {})


async def test_its_parent_has_no_more_than_it_has_left(call, scene, child) -> None:
    scene.do(lambda tx: budgets.set_limits(tx, PARENT, 300_000_000, None))
    made = await call("session.fork", session=child.attempt_id, task="more")
    assert budgets.get(scene.db, made.agent).limit_nusd == 100_000_000, "of which the child has spent 0.2"


@pytest.mark.parametrize(("verdict", "why"), [("ask", "wants a yes first"), ("deny", "gate deep forbids it")])
async def test_whom_a_gate_keeps_from_spawning_it_keeps_from_this(
    call, core, scene, child, verdict, why
) -> None:
    made = await call("key.create", name="claude", kind="orchestrator", unsafe_no_jail=True)
    claude = await introduce(core, Caller("operator", 1), "test", made.secret)
    gate = Gate("deep", "depth", "", 0, verdict, "operator", False, 60.0, "deny")
    scene.do(lambda tx: gates.put(tx, gate))
    asked = methods.METHODS["session.fork"].params(session=child.attempt_id, task="more")
    with pytest.raises(errors.Forbidden, match=f"{why}.*spawn a child of agent {PARENT}") as refused:
        await HANDLERS["session.fork"](core, claude, asked)
    assert verdict == "deny" or "begin_from: its id, scope, read, hosts, budget: 0.4}" in refused.value.hint
    assert len(agents.children(scene.db, PARENT)) == 1
    if verdict == "ask":
        assert (await call("session.fork", session=child.attempt_id, task="more")).agent


async def test_once_its_parent_has_ended_it_goes_on_in_a_swarm_of_one_as_narrow(
    call, scene, parent, child
) -> None:
    scene.end(child)
    scene.end(parent)
    made = await call("session.fork", session=child.attempt_id, task="more")
    assert made.swarm != SWARM
    assert f"agent {PARENT} has ended: it goes on in a new swarm of one" in made.notes[0]
    new = swarms.get(scene.db, made.swarm)
    old = agents.scope_of(agents.get(scene.db, child.agent_id), scene.row())
    assert agents.scope_of(agents.get(scene.db, made.agent), new) == old
    for owner in (made.swarm, made.agent):
        assert budgets.get(scene.db, owner).limit_nusd == 400_000_000, "what it has left"
    node = budgets.get(scene.db, made.agent)
    assert (node.limit_tokens, node.set_by) == (400, "operator:1")
    with pytest.raises(errors.IllegalTransition, match=f"a child, and agent {PARENT} has ended"):
        await call("session.fork", session=child.attempt_id, task="more", swarm=SWARM)


async def test_a_swarm_of_one_has_no_more_than_the_parent_had_left(call, scene, parent, child) -> None:
    scene.do(lambda tx: budgets.set_limits(tx, PARENT, 300_000_000, 700))
    scene.end(child)
    scene.end(parent)
    made = await call("session.fork", session=child.attempt_id, task="more")
    assert made.swarm != SWARM
    assert budgets.get(scene.db, made.swarm).limit_nusd == 100_000_000, "of which the child has spent 0.2"
    node = budgets.get(scene.db, made.agent)
    assert (node.limit_nusd, node.limit_tokens, node.set_by) == (100_000_000, 200, "operator:1")


@pytest.mark.parametrize("owner", [SWARM, PARENT, f"{PARENT}.1"])
async def test_a_swarm_of_one_has_no_more_than_was_left_anywhere_above_a_child(
    call, scene, parent, child, owner
) -> None:
    """Of a dollar and 1,000 tokens 0.2 and 500 are spent, and 0.3 and 100 are held."""
    scene.do(lambda tx: budgets.set_limits(tx, child.agent_id, None, None))
    scene.do(lambda tx: budgets.set_limits(tx, owner, 1_000_000_000, 1_000))
    scene.do(lambda tx: budgets.hold(tx, child.agent_id, 300_000_000, 100))
    scene.end(child)
    scene.end(parent)
    made = await call("session.fork", session=child.attempt_id, task="more")
    nodes = [budgets.get(scene.db, each) for each in (made.swarm, made.agent)]
    assert nodes[0].limit_nusd == 500_000_000
    assert min(each.limit_tokens for each in nodes if each.limit_tokens is not None) == 400


async def test_what_is_kept_back_for_scaling_is_not_left_for_a_child(call, scene, parent, child) -> None:
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 500_000_000, None))
    shares = {"allotment": None, "reserve": 100_000_000, "rule": None, "seat": None}
    scene.do(lambda tx: budgets.set_share(tx, SWARM, **shares))
    scene.end(child)
    scene.end(parent)
    made = await call("session.fork", session=child.attempt_id, task="more")
    assert budgets.get(scene.db, made.swarm).limit_nusd == 200_000_000, "0.2 are spent, and 0.1 kept back"


async def test_any_other_keeps_the_limits_that_somebody_has_set_for_its_agent(call, scene, parent) -> None:
    scene.do(lambda tx: sessions.opened(tx, parent.attempt_id, scene.attempt(parent), SWARM, "command"))
    scene.do(lambda tx: budgets.set_by_hand(tx, PARENT, "operator:1"))
    scene.swarm("w", swarm_id=OTHER)
    for told in ({}, {"swarm": OTHER}):
        made = await call("session.fork", session=parent.attempt_id, task="more", **told)
        node = budgets.get(scene.db, made.agent)
        assert (node.limit_nusd, node.set_by, node.parent_id) == (2_000_000_000, "operator:1", made.swarm)


@pytest.mark.parametrize(("limit", "cap", "least"), [(5, 20, 5), (20, 5, 5), (5, None, 5), (None, 5, 5)])
async def test_a_swarm_of_one_keeps_every_limit_that_the_one_before_it_had(
    call, scene, parent, limit, cap, least
) -> None:
    scene.do(lambda tx: sessions.opened(tx, parent.attempt_id, scene.attempt(parent), SWARM, "command"))

    def limited(tx):
        for owner, usd, tokens in ((SWARM, limit, 9_000), (PARENT, cap, 900)):
            budgets.set_limits(tx, owner, None if usd is None else usd * 1_000_000_000, tokens)
            budgets.set_by_hand(tx, owner, "operator:1")
            budgets.set_actions(tx, owner, "none", "notify", "kill")

    scene.do(limited)
    for each in (parent, *scene.claim()):
        scene.end(each)
    scene.do(lambda tx: swarms.want_destroyed(tx, SWARM))
    made = await call("session.fork", session=parent.attempt_id, task="more")
    assert made.swarm != SWARM
    for owner, tokens in ((made.swarm, 9_000), (made.agent, 900)):
        node = budgets.get(scene.db, owner)
        assert (node.limit_tokens, node.set_by) == (tokens, "operator:1")
        assert (node.action_75, node.action_90, node.action_100) == ("none", "notify", "kill")
    assert budgets.get(scene.db, made.swarm).limit_nusd == least * 1_000_000_000
    own = budgets.get(scene.db, made.agent).limit_nusd
    assert own == (None if cap is None else cap * 1_000_000_000)


async def test_a_parent_is_not_migrated_away_from_children_that_work(
    call, core, scene, parent, child
) -> None:
    scene.do(lambda tx: sessions.opened(tx, parent.attempt_id, scene.attempt(parent), SWARM, "command"))
    scene.swarm("w", swarm_id=OTHER)
    before = scene.seq
    with pytest.raises(errors.Conflict, match=f"its children would be with it: {child.agent_id}$") as refused:
        await call("session.migrate", session=parent.attempt_id, swarm=OTHER)
    assert f"agent.kill {child.agent_id}" in refused.value.hint
    assert (scene.seq, scene.attempt(parent).stop, scene.attempt(child).stop) == (before, None, None)
    scene.end(parent, "lost", "nobody knows")
    with pytest.raises(errors.Conflict, match="its children would be"):
        await call("session.migrate", session=parent.attempt_id, swarm=OTHER)
    assert core.sessions.copies == {}
    scene.end(child)
    assert (await call("session.migrate", session=parent.attempt_id, swarm=OTHER)).swarm == OTHER


async def test_a_child_that_comes_while_its_parent_is_migrated_is_not_ended_either(
    call, core, scene, parent
) -> None:
    scene.do(lambda tx: sessions.opened(tx, parent.attempt_id, scene.attempt(parent), SWARM, "command"))
    scene.swarm("w", swarm_id=OTHER)
    wish = children.Wish(parent=PARENT, task="t", scope=scopes.to_json(NARROW))
    live = core.sessions.live

    async def spawns(driver, launch_id):
        scene.do(lambda tx: children.add(tx, wish))
        return await live(driver, launch_id)

    core.sessions.live = spawns
    with pytest.raises(errors.Conflict, match="its children would be"):
        await call("session.migrate", session=parent.attempt_id, swarm=OTHER)
    assert scene.attempt(parent).stop is None
