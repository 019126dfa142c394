"""Reading and copying: a head hides nothing, and of one that is gone the fullest copy is left."""

import dataclasses

import msgspec
import pytest

from dashd.service import HANDLERS
from dashd.store import attempts, sessions
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors, methods
from tests.service.test_sessions import ID, Sessions, running

__all__ = ["running"]


@pytest.fixture
def port(scene):
    return Sessions(scene)


@pytest.fixture
def core(core, port):
    return dataclasses.replace(core, sessions=port)


async def test_where_it_goes_on_hides_nothing(call, scene, port, running) -> None:
    scene.end(running)
    await call("session.rewind", session=ID, to="n1")
    tree = await call("session.tree", session=ID)
    assert ([step.id for step in tree.steps], tree.leaf) == (["n1", "n2", "n3"], "n1")
    assert [step.id for step in (await call("session.show", session=ID)).steps] == ["n1"]
    assert [step.id for step in (await call("session.show", session=ID, step="n3")).steps][-1] == "n3"
    assert (await call("session.export", session=ID, format="jsonl")).text == "whole"
    archived = await call("session.archive", session=ID)
    assert (port.copies[archived.id], archived.step, archived.steps) == (b"whole", "n3", 3)
    assert (await call("session.rewind", session=ID, to="n3")).step == "n3"
    moved = await call("session.rewind", session=ID, to="n1")
    asked, kept_ = [], port.kept

    async def kept(driver, checkpoint_id):
        asked.append(checkpoint_id)
        return await kept_(driver, checkpoint_id)

    port.kept = kept
    await call("session.fork", session=ID, task="more")
    assert asked == [moved.head], "what goes on with it begins there"


async def test_of_one_that_is_gone_the_fullest_copy_is_left(call, scene, port, running) -> None:
    scene.end(running)
    asked = []

    async def kept(_driver, checkpoint_id):
        asked.append(checkpoint_id)
        return await port.live("", "")

    port.kept = kept
    for number, steps in (("1", 3), ("2", 1)):
        row = CheckpointRow(f"c-{number}", ID, "named", "", "n1", steps, 10, 0)
        scene.do(lambda tx, row=row: sessions.keep(tx, row, 1_000))
    scene.do(lambda tx: attempts.set_removed(tx, [ID]))
    await call("session.tree", session=ID)
    assert asked == ["c-1"]


async def test_the_same_key_makes_one_copy(call, port, running) -> None:
    for method, more in (("checkpoint", {}), ("branch", {"at": "n1", "name": "b"})):
        first = await call(f"session.{method}", session=ID, idempotency_key=method, **more)
        again = await call(f"session.{method}", session=ID, idempotency_key=method, **more)
        assert (again.id, again.deduplicated) == (first.id, True)
    assert len(port.copies) == 2


@pytest.fixture
def crowded(core, scene, running):
    """A daemon whose copies have room for eight bytes; one of five was asked for, one of two is automatic."""
    for number, kind, size in (("1", "named", 5), ("2", "automatic", 2)):
        row = CheckpointRow(f"c-{number}", ID, kind, "", "n1", 1, size, 0)
        if kind == "named":
            scene.do(lambda tx, row=row: sessions.keep(tx, row, 100))
        else:
            scene.do(lambda tx, row=row: sessions.keep_newest(tx, row, 100, needed=False))
    return dataclasses.replace(core, checkpoints_bytes_max=8)


@pytest.fixture
def ask(crowded, caller):
    async def made(method, **params):
        row = methods.METHODS[method]
        return await HANDLERS[method](crowded, caller, msgspec.convert(params, row.params))

    return made


async def test_where_there_is_no_room_nothing_is_left_of_a_copy(ask, scene, port, running) -> None:
    port.copies |= {"c-1": b"first", "c-2": b"2"}
    for method, more in (
        ("session.checkpoint", {"name": "n"}),
        ("session.branch", {"at": "n1", "name": "b"}),
        ("session.fork", {"task": "t"}),
        ("session.checkpoint", {"idempotency_key": "k"}),
    ):
        port.whole = b"too long"
        with pytest.raises(errors.Conflict, match="has no room") as refused:
            await ask(method, session=ID, **more)
        assert "daemon.checkpoints_total_mib" in refused.value.hint
    assert sorted(port.copies) == ["c-1", "c-2"]
    assert sessions.kept(scene.db) == {"c-1", "c-2"}
    assert scene.states() == ["running", "ready"], "no fork was begun"


async def test_an_automatic_one_makes_room_and_its_file_goes_after_its_row(ask, scene, port, running) -> None:
    port.copies |= {"c-1": b"first", "c-2": b"2"}
    port.whole = b"abc"
    made = await ask("session.checkpoint", session=ID)
    assert sorted(port.copies) == ["c-1", made.id]
    assert sessions.kept(scene.db) == {"c-1", made.id}


async def test_a_copy_that_a_name_was_taken_for_leaves_no_file(call, port, running) -> None:
    await call("session.checkpoint", session=ID, name="good")
    before = set(port.copies)
    with pytest.raises(errors.Conflict, match="has a checkpoint 'good'"):
        await call("session.checkpoint", session=ID, name="good")
    assert set(port.copies) == before


async def test_what_runs_is_not_stopped_for_a_migration_that_has_no_room(ask, scene, port, running) -> None:
    scene.swarm("w", swarm_id="other1")
    port.whole = b"too long"
    with pytest.raises(errors.Conflict, match="has no room"):
        await ask("session.migrate", session=ID, swarm="other1")
    assert scene.attempt(running).stop is None
