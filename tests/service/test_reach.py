"""What an orchestrator's key may give to agents, and that nothing of it can be had by another way in."""

import dataclasses
import inspect
import json

import msgspec
import pytest

from dashd.domain import repository
from dashd.domain.gates import Gate
from dashd.domain.repository import Terms
from dashd.service import HANDLERS, reach, rights
from dashd.service.core import Caller
from dashd.service.speakers import Speakers
from dashd.service.speaking import introduce
from dashd.store import decisions, gates, gateways, merges, sessions, swarms, workspaces
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors, methods
from tests.fakes.ports import driver_abilities
from tests.fakes.scene import SWARM
from tests.service.test_repositories import FakeRepositories
from tests.service.test_walls import FakeWalls


@pytest.fixture
def repositories():
    return FakeRepositories()


@pytest.fixture
def walls():
    return FakeWalls()


@pytest.fixture
def core(core, repositories, walls):
    made = dataclasses.replace(core, repositories=repositories, walls=walls)
    return dataclasses.replace(made, keys=Speakers(core.store, core.clock))


@pytest.fixture
def mine(tmp_path):
    """The key's folder."""
    folder = tmp_path.resolve() / "mine"
    folder.mkdir()
    return folder


@pytest.fixture
async def ask(core, call, mine):
    """Calls with an orchestrator's key for that folder."""
    made = await call("key.create", name="claude", kind="orchestrator", within=[str(mine)])
    claude = await introduce(core, Caller("operator", 1), "test", made.secret)

    async def asked(method, **params):
        decoded = msgspec.json.decode(json.dumps(params), type=methods.METHODS[method].params)
        answer = HANDLERS[method](core, claude, decoded)
        return await answer if inspect.isawaitable(answer) else answer

    return asked


async def test_what_lies_in_the_key_s_folders_is_given(ask, mine):
    (mine / "src").mkdir()
    await ask("swarm.create", task="t", cwd=str(mine / "src"))
    made = await ask("swarm.create", task="t", cwd=str(mine), scope=["src"], read=[str(mine / "src")])
    await ask("agent.spawn", task="more", swarm=made.id)
    await ask("agent.spawn", task="alone", cwd=str(mine))


@pytest.mark.parametrize("method", ["swarm.create", "swarm.plan", "agent.spawn"])
async def test_no_folder_elsewhere_is_worked_in(ask, mine, tmp_path, scene, method):
    beside = tmp_path.resolve() / "mine-too"
    beside.mkdir()
    for folder in (tmp_path.resolve(), beside, "/usr/share"):
        with pytest.raises(errors.Forbidden, match=r"^orchestrator:claude may give agents what lies in"):
            await ask(method, task="t", cwd=str(folder))
    with pytest.raises(errors.Forbidden, match=f"may give .* {mine}, and / does not"):
        await ask(method, task="t")
    assert scene.db.execute("SELECT count(*) FROM swarm").get == 0


@pytest.mark.parametrize("more", [{"read": ["/usr/share/doc"]}, {"scope": ["/usr/share/doc"]}])
async def test_nothing_elsewhere_is_read_or_written(ask, mine, more):
    with pytest.raises(errors.Forbidden, match="/usr/share/doc does not") as caught:
        await ask("swarm.create", task="t", cwd=str(mine), **more)
    assert "key.create {within: [..., '/usr/share/doc']}" in caught.value.hint


async def test_a_link_is_followed_before_it_is_judged(ask, mine):
    (mine / "out").symlink_to("/usr/share")
    for more in ({"cwd": str(mine / "out")}, {"cwd": str(mine), "scope": ["out/doc"]}):
        with pytest.raises(errors.Forbidden, match=f"{mine}/out"):
            await ask("swarm.create", task="t", **more)


async def test_walls_are_given_up_only_by_a_key_that_may(core, ask, call, mine, walls):
    with pytest.raises(errors.Forbidden, match="may not start agents without walls") as caught:
        await ask("swarm.create", task="t", cwd=str(mine), unsafe_no_jail=True)
    assert "key.create {unsafe_no_jail: true}" in caught.value.hint
    walls.found = ports_without_walls(walls)
    with pytest.raises(errors.Forbidden, match="without walls"):  # they would keep none of its folders
        await ask("swarm.create", task="t", cwd=str(mine))
    made = await call("key.create", name="bold", kind="orchestrator", unsafe_no_jail=True)
    bold = await introduce(core, Caller("operator", 1), "test", made.secret)
    params = methods.METHODS["swarm.create"].params(task="t", cwd="/", unsafe_no_jail=True)
    await HANDLERS["swarm.create"](core, bold, params)


def ports_without_walls(walls):
    return dataclasses.replace(walls.found, required=False)


async def test_where_nobody_has_walls_a_key_without_folders_goes_on(core, call, walls):
    walls.found = ports_without_walls(walls)
    made = await call("key.create", name="claude", kind="orchestrator")
    claude = await introduce(core, Caller("operator", 1), "test", made.secret)
    created = await HANDLERS["swarm.create"](
        core, claude, methods.METHODS["swarm.create"].params(task="t", cwd="/")
    )
    spawn = methods.METHODS["agent.spawn"].params(task="t", swarm=created.id)
    await HANDLERS["agent.spawn"](core, claude, spawn)


async def test_a_swarm_of_somebody_else_is_no_way_out(ask, call, mine):
    wide = await call("swarm.create", task="t", cwd=str(mine), read=["/usr/share/doc"])
    bare = await call("swarm.create", task="t", cwd=str(mine), unsafe_no_jail=True)
    with pytest.raises(errors.Forbidden, match="/usr/share/doc does not"):
        await ask("agent.spawn", task="t", swarm=wide.id)
    with pytest.raises(errors.Forbidden, match="without walls"):
        await ask("agent.spawn", task="t", swarm=bare.id)


async def test_a_repository_and_where_it_keeps_its_objects(ask, mine, repositories, scene):
    repo = mine / "repo"
    repo.mkdir()
    repositories.seen = dataclasses.replace(
        repositories.seen, path=str(repo), stores=(f"{repo}/.git/objects",)
    )
    made = await ask("swarm.create", task="t", repo=str(repo))
    await ask("agent.spawn", task="t", swarm=made.id)
    repositories.seen = dataclasses.replace(repositories.seen, stores=("/home/me/secret/.git/objects",))
    with pytest.raises(errors.Forbidden, match="/home/me/secret"):
        await ask("swarm.create", task="t", repo=str(repo))
    elsewhere = scene.swarm(
        "x", swarm_id="bbbbbb", walls="required", repo=repository.to_json(Terms("/repo", "base"))
    )
    assert swarms.get(scene.db, elsewhere).repo
    for method in ("swarm.land", "merge.enqueue"):
        with pytest.raises(errors.Forbidden, match="/repo does not"):
            await ask(method, swarm=elsewhere)


@pytest.mark.parametrize("more", [{"within": ["/usr"]}, {"unsafe_no_jail": True}])
@pytest.mark.parametrize("kind", ["proxy", "operator"])
async def test_only_an_orchestrator_s_key_is_bounded_so(call, more, kind):
    with pytest.raises(errors.InvalidParams, match=f"a key of kind {kind} is none"):
        await call("key.create", name="x", kind=kind, **more)


async def test_a_key_shows_its_folders_as_the_file_system_knows_them(core, call, mine, tmp_path):
    (tmp_path / "link").symlink_to(mine)
    made = await call(
        "key.create", name="claude", kind="orchestrator", within=[f"{tmp_path}/link/", str(mine / "x")]
    )
    assert made.key.within == [str(mine)]
    assert [key.within for key in (await call("key.list")).keys] == [[str(mine)]]
    turned = await call("key.rotate", key="claude", grace_s=10)
    for secret in (made.secret, turned.secret):
        assert (await core.keys.identify(secret)).within == (str(mine),)
    with pytest.raises(errors.InvalidParams, match="not an absolute path"):
        await call("key.create", name="y", kind="orchestrator", within=["src"])


NO_SWARM_S = {"provider", "name", "of", "agents", "kinds"}
"""What names nothing of a swarm, or (`agents`) only what lies in one that is named beside it."""


def test_every_id_of_the_wire_is_asked_for_its_swarm():
    fields = [each for row in methods.METHODS.values() for each in msgspec.structs.fields(row.params)]
    assert {each.name for each in fields if reach.is_id(each.type)} == NO_SWARM_S | set(reach.SWARM_OF)
    assert reach.NAMED["agent.spawn"] == ["swarm", "begin_from", "parent"]  # its task is a text
    assert reach.NAMED["swarm.create"] == ["begin_from"]


@pytest.fixture
def foreign(scene):
    """Something of each kind of a swarm on a repository that is in no key's folders."""
    made = scene.swarm("x", repo=repository.to_json(Terms("/repo", "base")), walls="required")
    agent, task = scene.agent().id, scene.task().id

    def operation(tx):
        workspaces.begin(tx, agent, made, "base")
        merges.enqueue(
            tx, swarm=made, owner=agent, target=f"dash/{made}/result", commit="c", gates=[], asked_by="x"
        )
        question = decisions.Question(kind="landing", what="w", text="main", asked_by="x", swarm=made)
        gates.put(tx, Gate("yes", "landing", "*", 0, "ask", "operator", False, 60.0, "deny"))
        return decisions.ask(tx, question).approval.id

    (claim,) = scene.claim(1)
    session = scene.attempt(claim).launch_id

    def talk(tx):
        sessions.opened(tx, session, scene.attempt(claim), made, "command")
        sessions.keep(tx, CheckpointRow("c-1", session, "named", "", "n1", 1, 1, 0), 1_000)

    scene.do(talk)
    approval = scene.do(operation)
    return {
        "swarm": made,
        "agent": agent,
        "parent": agent,
        "task": task,
        "worktree": agent,
        "merge": "m1",
        "approvals": [approval],
        "budget": made,
        "session": session,
        "begin_from": "c-1",
        "checkpoint": "c-1",
    }


OWED = {
    "agent.spawn": {"task": "t"},
    "agent.message": {"text": "t"},
    "agent.set_model": {"model": None},
    "swarm.scale": {"agents": 2},
    "approval.resolve": {"decision": "allow"},
    "budget.extend": {"usd": 1.0},
    "swarm.create": {"task": "t"},
    "swarm.plan": {"task": "t"},
    "session.branch": {"at": "n1", "name": "n"},
    **{f"session.{verb}": {"to": "n1"} for verb in ("rewind", "switch", "restore")},
    "session.fork": {"session": f"{SWARM}-t1.1", "task": "t"},
    "session.migrate": {"session": f"{SWARM}-t1.1", "swarm": SWARM},
}
"""Parameters that a method must have beside the one that names something."""
NAMING = [
    (method, name)
    for method, names in reach.NAMED.items()
    for name in names
    if rights.allows("orchestrator", method) and method in HANDLERS
]


UNNAMED = {
    "daemon.ping": {},
    "daemon.status": {},
    "swarm.create": {"task": "t"},
    "swarm.plan": {"task": "t"},
    "swarm.list": {},
    "agent.spawn": {"task": "t"},
    "agent.list": {},
    "task.list": {},
    "event.list": {"limit": 100},
    "event.wait": {"limit": 100, "timeout_s": 0},
    "budget.status": {"children": True},
    "budget.history": {},
    "program.list": {},
    "program.check": {"name": "pi"},
    "model.list": {},
    "model.get": {"model": "offline"},
    "gate.list": {},
    "gateway.list": {},
    "gateway.get": {"name": "nobody"},
    "gateway.health": {"name": "nobody"},
    "instance.list": {},
    "instance.get": {"name": "nobody"},
    "instance.health": {"name": "nobody"},
    "approval.list": {"state": "any"},
    "audit.list": {},
    "audit.verify": {},
    "worktree.list": {},
    "worktree.cleanup": {},
    "merge.list": {},
    "session.list": {},
    "session.create": {"name": "n", "cwd": "/"},
}
"""What can be called without naming a swarm. A new such method belongs here: what it tells is looked at."""
TELLS_OF_ONE_S_OWN = {
    *("swarm.list", "agent.list", "task.list", "event.list", "event.wait", "budget.status", "approval.list"),
    *("audit.list", "worktree.list", "merge.list", "session.list"),
}


def test_every_method_that_names_no_swarm_is_looked_at():
    def names_none(method, row):
        needed = {each.name for each in msgspec.structs.fields(row.params) if each.required}
        return rights.allows("orchestrator", method) and needed.isdisjoint(reach.NAMED[method])

    found = {method for method, row in methods.METHODS.items() if names_none(method, row)}
    assert found & set(HANDLERS) == set(UNNAMED)
    assert found - set(HANDLERS) == {"rpc.discover", "rpc.hello", "event.subscribe", "event.unsubscribe"}


@pytest.fixture
async def own(call, scene, mine):
    """The same of a swarm that lies in the key's folder."""
    made = (await call("swarm.create", task="t", cwd=str(mine))).id

    def operation(tx):
        workspaces.begin(tx, f"{made}-001", made, "base")
        merges.enqueue(tx, swarm=made, owner=made, target="t", commit="c", gates=[], asked_by="x")
        question = decisions.Question(kind="landing", what="w", text="main", asked_by="x", swarm=made)
        gates.put(tx, Gate("yes", "landing", "*", 0, "ask", "operator", False, 60.0, "deny"))
        decisions.ask(tx, question)

    scene.do(operation)
    claim = next(each for each in scene.claim() if each.swarm_id == made)
    scene.do(lambda tx: sessions.opened(tx, f"{made}-t1.1", scene.attempt(claim), made, "command"))
    return made


@pytest.mark.parametrize("method", UNNAMED)
async def test_nothing_tells_of_a_swarm_elsewhere(call, ask, own, foreign, method, mine):
    hidden = await call("swarm.create", task="their secret", name="theirs", cwd="/usr/share", agents=2)
    await ask("swarm.pause", swarm=own)
    if method in TELLS_OF_ONE_S_OWN:
        of_all = msgspec.json.encode(await call(method, **UNNAMED[method]))
        assert {each for each in (hidden.id, foreign["swarm"]) if each.encode() in of_all}
    try:
        told = msgspec.json.encode(await ask(method, **UNNAMED[method]))
    except errors.DashError as error:
        told = msgspec.json.encode(error.to_wire())
    for secret in (hidden.id, "theirs", "their secret", foreign["swarm"], "/repo"):
        assert secret.encode() not in told
    if method in TELLS_OF_ONE_S_OWN:
        assert own.encode() in told


async def test_gateways_are_told_of_with_their_swarms(call, ask, own, foreign, scene):
    for swarm in (own, foreign["swarm"]):
        scene.do(lambda tx, swarm=swarm: gateways.insert(tx, swarm, "t"))
    assert len((await call("gateway.list")).gateways) == 2
    assert [each.swarm for each in (await ask("gateway.list")).gateways] == [own]
    for verb in ("get", "health"):
        with pytest.raises(errors.NotFound) as caught:
            await ask(f"gateway.{verb}", name=f"{foreign['swarm']}-g1")
        assert caught.value.hint == f"gateways: {own}-g1"


async def test_counts_are_of_what_is_told(ask, own, foreign):
    for method in ("swarm.list", "agent.list", "task.list"):
        found = await ask(method)
        assert found.total == len(found.items) == 1


@pytest.mark.parametrize("name", ["swarm", "agent", "task"])
async def test_a_hint_lists_nobody_else_s(ask, foreign, name):
    with pytest.raises(errors.NotFound) as caught:
        await ask(f"{name}.get", **{name: f"{foreign['swarm']}-999" if name != "swarm" else "zzzzzz"})
    assert foreign["swarm"] not in caught.value.hint


async def test_what_links_lead_to_is_what_counts(ask, call, mine, tmp_path):
    (mine / "out").symlink_to("/usr/share")
    outside = await call("swarm.create", task="t", cwd=str(mine / "out"))
    assert outside.id not in [each.id for each in (await ask("swarm.list")).items]


@pytest.mark.parametrize(("method", "name"), NAMING)
async def test_nothing_is_done_to_a_swarm_elsewhere(ask, foreign, scene, method, name):
    before = scene.seq
    with pytest.raises(errors.Forbidden, match=r"may act on what lies in .*'s /repo does not"):
        await ask(method, **(OWED.get(method, {}) | {name: foreign[name]}))
    assert scene.seq == before


async def test_what_is_in_the_key_s_folders_is_acted_on(ask, call, mine):
    made = await call("swarm.create", task="t", cwd=str(mine))
    assert (await ask("swarm.get", swarm=made.id)).id == made.id
    assert (await ask("swarm.list")).items
    await ask("swarm.scale", swarm=made.id, agents=2)
    await ask("swarm.destroy", swarm=made.id)


async def test_a_key_without_folders_acts_on_all(core, call, foreign):
    made = await call("key.create", name="wide", kind="orchestrator")
    wide = await introduce(core, Caller("operator", 1), "test", made.secret)
    params = methods.METHODS["swarm.pause"].params(swarm=foreign["swarm"])
    assert (await HANDLERS["swarm.pause"](core, wide, params)).changed


async def test_nobody_without_walls_is_told_what_to_do(ask, call, mine):
    bare = await call("swarm.create", task="t", cwd=str(mine), unsafe_no_jail=True)
    with pytest.raises(errors.Forbidden, match="without walls"):
        await ask("agent.message", agent=f"{bare.id}-001", text="t")


@pytest.mark.parametrize("named", ["worktree", "swarm"])
async def test_only_the_operator_gives_up_what_is_not_saved(core, call, scene, foreign, named):
    made = await call("key.create", name="wide", kind="orchestrator")
    wide = await introduce(core, Caller("operator", 1), "test", made.secret)
    params = methods.METHODS["worktree.cleanup"].params(**{named: foreign[named]}, give_up=True)
    with pytest.raises(errors.Forbidden, match=r"^give_up in worktree\.cleanup is not for orch") as caught:
        await HANDLERS["worktree.cleanup"](core, wide, params)
    assert foreign[named] in caught.value.hint
    assert "dashctl worktree cleanup" in caught.value.hint
    assert workspaces.get(scene.db, foreign["agent"]).wanted == ""


@pytest.mark.parametrize("begun", [False, True])
async def test_of_a_session_that_was_made_elsewhere_a_key_learns_nothing(
    core, ask, call, scene, mine, tmp_path, monkeypatch, begun
):
    beside = tmp_path.resolve() / "beside"
    beside.mkdir()
    able = driver_abilities("soft", True, keeps_session=True)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: able)
    for name, folder in (("theirs", beside), ("ours", mine)):
        await call("session.create", name=name, cwd=str(folder), driver="command")
    other = await call("swarm.create", task="t", cwd=str(beside), begin_from="theirs") if begun else None
    told = {"session.fork": {"task": "t"}, "session.tree": {}, "session.show": {}, "session.get": {}}
    asked = [(method, {"session": "theirs", **more}) for method, more in told.items()]
    asked.append(("swarm.create", {"task": "t", "cwd": str(mine), "begin_from": "theirs"}))
    for method, params in (*asked, ("session.terminate", {"session": "theirs"})):
        with pytest.raises(errors.Forbidden) as refused:
            await ask(method, **params)
        if other is None:
            assert "session 'theirs' is of another folder" in refused.value.message
            assert str(beside) not in refused.value.message + refused.value.hint
        else:
            assert f"swarm {other.id}'s {beside} does not" in refused.value.message
    assert [row.name for row in (await ask("session.list", new=True)).items] == ["ours"]
    assert (await ask("session.get", session="ours")).cwd == str(mine)
    with pytest.raises(errors.Conflict, match="has not begun") as refused:
        await ask("session.tree", session="ours")
    assert str(mine) in refused.value.hint
    await ask("swarm.create", task="t", cwd=str(mine), begin_from="ours")
