"""`session.create`: for a driver that keeps sessions, in a folder that the caller may give."""

import pytest

from dashd.store import attempts, sessions
from dashd.wire import errors
from tests.fakes.ports import driver_abilities
from tests.fakes.scene import SWARM


@pytest.fixture
def keeping(core, monkeypatch):
    """Its driver keeps sessions."""
    found = driver_abilities("soft", True, keeps_session=True)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: found)


async def test_it_is_seen_begun_in_and_then_known_by_its_name(call, scene, keeping, tmp_path):
    made = await call("session.create", name="refactor", cwd=str(tmp_path), driver="command")
    assert (made.state, made.name, made.cwd, made.agent) == ("new", "refactor", str(tmp_path), "")
    assert (await call("session.list")).items == []
    assert (await call("session.list", new=True)).items == [made]
    assert await call("session.get", session="refactor") == made
    swarm = await call("swarm.create", task="t", cwd=str(tmp_path), begin_from="refactor")
    (claim,) = scene.claim(1)
    attempt = attempts.get(scene.db, claim.attempt_id)
    scene.do(lambda tx: sessions.opened(tx, attempt.launch_id, attempt, swarm.id, "command"))
    found = await call("session.get", session=made.id)
    assert (found.id, found.name, found.state) == (attempt.launch_id, "refactor", "open")
    assert (await call("session.list", new=True)).items == []


async def test_of_a_swarm_of_several_tasks_nothing_is_made(call, scene, keeping, tmp_path):
    await call("session.create", name="one", cwd=str(tmp_path), driver="command")
    with pytest.raises(errors.Conflict, match="was begun by task"):
        await call("swarm.create", task="t", cwd=str(tmp_path), agents=2, begin_from="one")
    assert (await call("swarm.list")).items == []
    assert len((await call("session.list", new=True)).items) == 1


async def test_a_name_is_not_lost_with_a_swarm_that_ends_before_it_began(call, scene, keeping, tmp_path):
    made = await call("session.create", name="plan", cwd=str(tmp_path), driver="command")
    swarm = await call("swarm.create", task="t", cwd=str(tmp_path), begin_from="plan")
    assert (await call("session.list", new=True)).items == []
    await call("swarm.destroy", swarm=swarm.id)
    assert (await call("session.get", session="plan")) == made
    assert (await call("session.list", new=True)).items == [made]
    again = await call("swarm.create", task="t", cwd=str(tmp_path), begin_from="plan")
    with pytest.raises(errors.Conflict, match="has not begun") as refused:
        await call("session.get", session="plan")
    assert f"task {again.id}-t1 is to begin it" in refused.value.hint


async def test_one_that_nobody_has_begun_is_taken_back(call, keeping, tmp_path):
    made = await call("session.create", name="one", cwd=str(tmp_path), driver="command")
    gone = await call("session.terminate", session="one")
    assert (gone.session, gone.state, gone.changed) == (made.id, "gone", True)
    with pytest.raises(errors.NotFound):
        await call("session.get", session="one")


async def test_nonsense_is_refused_with_what_would_be_right(call, scene, core, tmp_path, monkeypatch):
    with pytest.raises(errors.Unsupported, match="driver command keeps no session"):
        await call("session.create", name="one", cwd=str(tmp_path), driver="command")
    able = driver_abilities("soft", True, keeps_session=True)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: able)
    with pytest.raises(errors.InvalidParams, match="a name of blanks alone") as refused:
        await call("session.create", name=" \t", cwd=str(tmp_path), driver="command")
    assert refused.value.path == "name"
    scene.swarm("a")
    for name in (f"{SWARM}-001",):
        with pytest.raises(errors.Conflict, match="is an agent, a session or a checkpoint"):
            await call("session.create", name=name, cwd=str(tmp_path), driver="command")


async def test_pages_go_on_where_the_one_before_ended(call, keeping, tmp_path):
    for name in ("a", "b", "c"):
        await call("session.create", name=name, cwd=str(tmp_path), driver="command")
    first = await call("session.list", new=True, limit=2)
    assert (first.next_cursor, first.total) == ("2", 3)
    rest = await call("session.list", new=True, limit=2, cursor="2")
    assert ({row.name for row in (*first.items, *rest.items)}, rest.next_cursor) == ({"a", "b", "c"}, "")
