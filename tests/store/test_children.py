"""Whatever a child asks for, by any line of parents: it gets a part of what its parent has, or nothing."""

import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashd.domain import scope as scopes
from dashd.store import agents, attempts, children, made_sessions, sessions
from dashd.store.made_sessions import MadeRow
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors
from tests.fakes.scene import SWARM, swarm_row

NAMES = st.lists(st.sampled_from([".", "src", "src/a", "docs", "/etc", "/usr/share"]), max_size=3)
SCOPE = st.builds(
    lambda write, read, hosts, depth: scopes.parse(
        write=write, read=read if write is not None else None, hosts=hosts, depth=depth
    ),
    st.none() | NAMES,
    st.none() | NAMES,
    st.none() | st.lists(st.sampled_from(["a.example", "b.example"]), max_size=2),
    st.none() | st.integers(0, 4),
)


NUMBERS = itertools.count()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCOPE, st.lists(SCOPE, max_size=5))
def test_each_child_is_within_its_parent(scene, top, asks):
    swarm = scene.swarm("x", swarm_id=f"s{next(NUMBERS)}", scope=scopes.to_json(top), walls="required")
    parent = f"{swarm}-001"
    for asked in asks:
        wish = children.Wish(parent=parent, task="t", scope=scopes.to_json(asked))
        above = agents.scope_of(agents.get(scene.db, parent), scene.row(swarm))
        before = scene.seq
        try:
            made = scene.do(lambda tx, wish=wish: children.add(tx, wish))
        except errors.Forbidden:
            assert scene.seq == before
            continue
        got = scopes.from_json(agents.get(scene.db, made.agent).scope)
        assert scopes.within(got, above)
        assert scopes.within(got, asked)
        assert got.depth is not None
        assert got.depth < (scopes.DEPTH_DEFAULT if above.depth is None else above.depth)
        parent = made.agent


def test_a_child_calls_what_its_parent_was_given(scene):
    swarm = scene.swarm("x", scope=scopes.to_json(scopes.DEFAULT), model="dear")
    parent = f"{swarm}-001"
    scene.do(lambda tx: agents.set_model(tx, parent, "cheap"))
    wish = children.Wish(parent=parent, task="t", scope=scopes.to_json(scopes.EVERYTHING))
    made = scene.do(lambda tx: children.add(tx, wish))
    assert agents.get(scene.db, made.agent).model == "cheap"


def test_a_wish_survives_the_database():
    wish = children.Wish(parent="p", task="t", scope=scopes.to_json(scopes.EVERYTHING), nusd=3)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(wish)), children.Wish) == wish


def test_a_swarm_from_before_scopes_gives_its_children_its_folder(scene):
    scene.swarm("x", scope="")
    assert agents.scope_of(scene.agent(), swarm_row()) == scopes.DEFAULT
    with pytest.raises(errors.Forbidden, match="write /etc"):
        children.granted(scene.db, scene.agent(), scopes.parse(write=["/etc"]))


def test_in_a_gateway_no_child_begins_with_a_copy_and_none_is_half_made(scene):
    scene.swarm("x", scope=scopes.to_json(scopes.DEFAULT), mode="gateway")
    scene.swarm("w", swarm_id="other1")
    claim = next(each for each in scene.claim() if each.swarm_id == "other1")
    row = CheckpointRow("c-1", "other1-t1.1", "named", "", "n1", 1, 10, 0)

    def copied(tx):
        sessions.opened(tx, row.session_id, attempts.get(tx.db, claim.attempt_id), "other1", "command")
        sessions.keep(tx, row, 1_000)

    scene.do(copied)
    wish = children.Wish(
        parent=f"{SWARM}-001", task="t", scope=scopes.to_json(scopes.EVERYTHING), begin_from="c-1"
    )
    with pytest.raises(errors.Unsupported, match="is of mode gateway"):
        children.check(scene.db, wish)
    since = scene.seq
    scene.do(lambda tx: children.allowed(tx, msgspec.to_builtins(wish)))
    (event,) = scene.events(since)
    assert "was not made" in event["data"]["what"]
    assert "is of mode gateway" in event["data"]["why"]
    assert (scene.states(), agents.children(scene.db, f"{SWARM}-001")) == (["running"], [])


@pytest.mark.parametrize("why", ["was begun by task other1-t1", "is of the folder /elsewhere"])
def test_an_allowed_child_whose_session_has_gone_is_not_made(scene, why):
    scene.swarm("x", scope=scopes.to_json(scopes.DEFAULT))
    scene.swarm("w", swarm_id="other1")
    cwd = "/elsewhere" if "folder" in why else "/"
    scene.do(lambda tx: made_sessions.insert(tx, MadeRow("s-1", "mine", "command", cwd, None, None, 0)))
    everything = scopes.to_json(scopes.EVERYTHING)
    wish = children.Wish(parent=f"{SWARM}-001", task="t", scope=everything, begin_from="mine")
    if cwd == "/":
        scene.do(lambda tx: children.check(tx.db, wish))
        other = made_sessions.find(scene.db, "mine")
        scene.do(lambda tx: made_sessions.take(tx, other, "other1-t1", driver="command", cwd="/"))
    since = scene.seq
    scene.do(lambda tx: children.allowed(tx, msgspec.to_builtins(wish)))
    (event,) = scene.events(since)
    assert event["kind"] == "escalation.raised"
    assert "was not made" in event["data"]["what"]
    assert why in event["data"]["why"]
    assert (scene.states(), agents.children(scene.db, f"{SWARM}-001")) == (["ready"], [])
    with pytest.raises(errors.Conflict, match=why):
        children.check(scene.db, wish)
