"""A child has a part of its parent's rights and money, whoever asks for more and by whatever way."""

import dataclasses

import pytest

from dashd.domain import ids, repository
from dashd.domain import scope as scopes
from dashd.domain.gates import Gate
from dashd.domain.repository import Terms
from dashd.service import HANDLERS
from dashd.service.core import Caller
from dashd.service.speakers import Speakers
from dashd.service.speaking import introduce
from dashd.store import agents, budgets, gates, seats, stops
from dashd.wire import errors, methods
from tests.fakes.scene import SWARM
from tests.service.test_walls import FakeWalls

PARENT = f"{SWARM}-001"
GATE = Gate("deep", "depth", "", 0, "ask", "operator", False, 60.0, "deny")


@pytest.fixture
def core(core):
    return dataclasses.replace(core, walls=FakeWalls(), keys=Speakers(core.store, core.clock))


@pytest.fixture
def swarm(scene):
    """One with walls: its agents write src and docs, read all of it, and reach two hosts."""
    scope = scopes.parse(
        write=["src", "docs"], read=["."], hosts=["one.example", "two.example"], deny=["rm *"]
    )
    return scene.swarm("x", cwd="/folder", walls="required", scope=scopes.to_json(scope))


@pytest.fixture
def spawn(call, swarm):
    async def spawned(**params):
        return await call("agent.spawn", task="t", **{"parent": PARENT, **params})

    return spawned


@pytest.fixture
async def ask(core, call, swarm):
    """The same by an orchestrator, whom gates are for."""
    made = await call("key.create", name="claude", kind="orchestrator", unsafe_no_jail=True)
    claude = await introduce(core, Caller("operator", 1), "test", made.secret)

    async def asked(**params):
        given = methods.METHODS["agent.spawn"].params(task="t", **{"parent": PARENT, **params})
        return await HANDLERS["agent.spawn"](core, claude, given)

    return asked


async def test_what_is_left_out_is_the_parents(spawn, scene, call):
    made = await spawn()
    assert (made.id, made.swarm, made.state) == (f"{SWARM}-001.1", SWARM, "idle")
    child, parent = [await call("agent.get", agent=each) for each in (made.id, PARENT)]
    for name in ("write", "read", "hosts"):
        assert getattr(child, name) == getattr(parent, name)
    assert (child.parent, parent.children, child.depth, parent.depth) == (PARENT, [made.id], 2, 3)
    told = [each for each in scene.events() if each["kind"] == "agent.spawned"][-1]
    assert told["data"]["parent"] == PARENT
    assert [each.parent for each in (await call("agent.list", swarm=SWARM)).items] == [None, PARENT]


async def test_what_is_named_narrows(spawn, call):
    made = await spawn(scope=["src"], read=["docs/a"], hosts=["one.example"], depth=0)
    child = await call("agent.get", agent=made.id)
    assert (child.write, child.read, child.hosts, child.depth) == (
        ["src"],
        ["docs/a", "src"],
        ["one.example"],
        0,
    )
    nothing = await call("agent.get", agent=(await spawn(scope=[], read=["docs"], hosts=[])).id)
    assert (nothing.write, nothing.read, nothing.hosts) == ([], ["docs"], [])


@pytest.mark.parametrize("repo", [repository.to_json(Terms("/repo", "base")), None])
async def test_a_clone_s_history_is_read_whatever_is_named(scene, call, repo):
    scene.swarm("a", swarm_id="bbbbbb", repo=repo)
    assert (await call("agent.get", agent="bbbbbb-001")).history is (repo is not None)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"scope": ["lib"]}, "write lib"),
        ({"scope": ["/etc"]}, "write /etc"),
        ({"scope": ["src"], "read": ["/home"]}, "read /home"),
        ({"scope": ["."]}, "write ."),
        ({"hosts": ["evil.example"]}, "hosts evil.example"),
        ({"depth": 3}, "depth depth 3"),
    ],
)
async def test_more_than_the_parent_has_is_refused_by_name(spawn, scene, asked, what):
    before = scene.seq
    with pytest.raises(errors.Forbidden, match=f"a child of {PARENT} may not have it: {what}: not granted"):
        await spawn(**asked)
    assert scene.seq == before
    assert agents.children(scene.db, PARENT) == []


async def test_each_generation_has_less_until_there_is_none(spawn, scene):
    child = await spawn(scope=["src"])
    grandchild = await spawn(parent=child.id)
    last = await spawn(parent=grandchild.id)
    assert last.id == f"{SWARM}-001.1.1.1"
    with pytest.raises(errors.Forbidden, match="another level of agents"):
        await spawn(parent=last.id)
    with pytest.raises(errors.Forbidden, match="write docs"):
        await spawn(parent=child.id, scope=["docs"])
    row = agents.get(scene.db, last.id)
    assert scopes.from_json(row.scope).write == ("src",)
    assert scopes.from_json(row.scope).commands.deny == ("rm *",)
    assert ids.level(last.id) == 3


async def test_a_child_s_money_is_a_node_below_its_parents(spawn, call, scene):
    await call("budget.set", budget=PARENT, limit_usd=10)
    made = await spawn()
    node = budgets.get(scene.db, made.id)
    assert (node.parent_id, node.limit_nusd) == (PARENT, 3 * 10**9)
    own = await spawn(budget=7.5)
    assert budgets.get(scene.db, own.id).limit_nusd == 7_500_000_000
    with pytest.raises(errors.Forbidden, match=r"may not have \$11.*its parent has \$10"):
        await spawn(budget=11)


async def test_a_child_runs_its_own_task_alone_and_nobody_else_runs_that(spawn, scene):
    made = await spawn()
    (first,) = scene.claim(1)
    assert (first.agent_id, first.task_id) == (PARENT, f"{SWARM}-t1")
    (second,) = scene.claim()
    assert (second.agent_id, second.task_id) == (made.id, made.task)
    scene.start(second)
    scene.end(second, "failed")
    assert agents.get(scene.db, made.id).state == "idle"  # its task is tried again, by itself
    scene.start(first)
    scene.end(first)
    assert scene.agent().state == "completed", "nothing is left that it may do"
    scene.clock.advance(60_000)
    (again,) = scene.claim()
    assert again.agent_id == made.id
    scene.start(again)
    scene.end(again)
    assert scene.row().state == "completed"


async def test_a_seat_less_of_the_swarm_leaves_no_task_to_children(spawn, scene, call):
    await spawn()
    await call("agent.kill", agent=PARENT, requeue=True)
    claims = {claim.task_id: claim.agent_id for claim in scene.claim()}
    assert claims == {f"{SWARM}-t1": f"{SWARM}-003"}, "a new seat, and the child went with its parent"


async def test_a_killed_parent_takes_its_children_along(spawn, scene, call):
    child = await spawn()
    grandchild = await spawn(parent=child.id)
    await call("agent.kill", agent=PARENT)
    for each in (child.id, grandchild.id):
        row = agents.get(scene.db, each)
        assert row.state == "killed"
        assert "was killed" in (row.cause or "")
    assert scene.states() == ["ready", "cancelled", "cancelled"], "the first is anybody's of the swarm"
    assert scene.claim()[0].agent_id == f"{SWARM}-004"


async def test_a_child_s_task_is_never_done_with_more_rights(spawn, scene, call):
    made = await spawn(scope=["src"])
    with pytest.raises(errors.Conflict, match=f"{made.id} is a child") as caught:
        await call("agent.kill", agent=made.id, requeue=True)
    assert "cancels its task" in caught.value.hint
    assert f"task.retry {{task: {made.task}}}" in caught.value.hint
    assert (scene.task(2).state, agents.get(scene.db, made.id).wanted) == ("ready", "run")
    await call("agent.kill", agent=made.id)
    assert scene.task(2).state == "cancelled"
    assert made.id in (scene.task(2).cause or "")
    await call("task.retry", task=made.task)
    assert scene.task(2).pinned_to == made.id
    assert {claim.task_id: claim.agent_id for claim in scene.claim()}[made.task] == made.id


async def test_ending_all_seats_at_once_ends_each_once(spawn, scene):
    await spawn()

    def operation(tx):
        for seat in agents.open_seats(tx.db, SWARM):
            stops.kill(tx, seat, requeue=False, cause="budget")

    scene.do(operation)
    assert scene.seat_states() == ["killed", "killed"]


async def test_scaling_counts_no_children(spawn, scene, call):
    await spawn()
    answer = await call("swarm.scale", swarm=SWARM, agents=1)
    assert (answer.agents, answer.added, answer.removed) == (1, 0, 0)
    assert scene.seat_states() == ["idle", "idle"]


async def test_a_gate_of_depth_is_asked_and_the_child_comes_with_the_yes(ask, scene, call):
    scene.do(lambda tx: gates.put(tx, GATE))
    asked = await ask(scope=["src"])
    assert (asked.id, asked.task) == ("", "")
    assert asked.approval == "ap1"
    assert agents.children(scene.db, PARENT) == []
    (waiting,) = (await call("approval.list")).items
    assert waiting.what == f"spawn a child of agent {PARENT}, 1 level down"
    await call("approval.resolve", approvals=["ap1"], decision="allow")
    (child,) = agents.children(scene.db, PARENT)
    assert scopes.from_json(child.scope).write == ("src",)
    second = await ask()
    await call("approval.resolve", approvals=[second.approval], decision="deny")
    assert len(agents.children(scene.db, PARENT)) == 1


async def test_a_yes_that_comes_too_late_is_told(ask, scene, call):
    scene.do(lambda tx: gates.put(tx, GATE))
    scene.do(lambda tx: seats.add(tx, SWARM, 1))
    asked = await ask()
    await call("agent.kill", agent=PARENT, requeue=True)
    await call("approval.resolve", approvals=[asked.approval], decision="allow")
    told = scene.events()[-1]
    assert told["kind"] == "escalation.raised"
    assert f"agent {PARENT} has ended" in told["data"]["why"]


async def test_a_gate_can_forbid_a_level(ask, scene):
    scene.do(lambda tx: gates.put(tx, dataclasses.replace(GATE, above=1, verdict="deny")))
    child = await ask()
    with pytest.raises(errors.Forbidden, match=r"gate deep forbids it: spawn a child of .*, 2 levels down"):
        await ask(parent=child.id)


async def test_what_makes_no_sense_is_refused_with_what_would(spawn, call, scene):
    with pytest.raises(errors.InvalidParams, match="depth is a child's") as caught:
        await call("agent.spawn", task="t", swarm=SWARM, depth=1)
    assert caught.value.path == "depth"
    with pytest.raises(errors.InvalidParams, match="is one of swarm"):
        await spawn(swarm="bbbbbb")
    with pytest.raises(errors.InvalidParams, match="argv is the swarm's"):
        await spawn(argv=["true"])
    with pytest.raises(errors.InvalidParams, match="read is narrowed, but scope is not"):
        await spawn(read=["docs"])
    with pytest.raises(errors.UnknownAgent):
        await spawn(parent=f"{SWARM}-009")
    await call("agent.kill", agent=PARENT)
    with pytest.raises(errors.IllegalTransition, match="has ended"):
        await spawn()


async def test_no_narrower_scope_where_nothing_would_keep_it(call, scene):
    scene.swarm("x", swarm_id="bbbbbb", cwd="/")
    with pytest.raises(errors.InvalidParams, match="hosts limits nothing without walls"):
        await call("agent.spawn", task="t", parent="bbbbbb-001", hosts=[])
    terms = repository.to_json(Terms("/repo", "base", workspace="swarm"))
    scene.swarm("x", swarm_id="cccccc", cwd="/repo", walls="required", repo=terms)
    with pytest.raises(errors.Unsupported, match="commit in one clone"):
        await call("agent.spawn", task="t", parent="cccccc-001", scope=["src"])


@pytest.mark.parametrize("what", [{"scope": ["src"]}, {"hosts": []}, {"deny_commands": ["rm *"]}])
async def test_no_narrower_scope_in_a_gateway(call, scene, what):
    scene.swarm("x", swarm_id="bbbbbb", cwd="/w", walls="required", mode="gateway", driver="openclaw")
    with pytest.raises(errors.Unsupported, match="share the walls of its gateway") as caught:
        await call("agent.spawn", task="t", parent="bbbbbb-001", **what)
    assert [caught.value.path] == list(what)


async def test_the_same_key_makes_one_child(spawn, scene):
    first = await spawn(idempotency_key="k")
    scene.do(lambda tx: None)
    again = await spawn(idempotency_key="k")
    assert (again.id, again.deduplicated) == (first.id, True)


async def test_a_swarm_has_at_most_so_many_children_too(spawn, scene, monkeypatch):
    monkeypatch.setattr(seats, "AGENTS_MAX", 2)
    await spawn()
    with pytest.raises(errors.Conflict, match="has 2 agents"):
        await spawn()
