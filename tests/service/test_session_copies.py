"""Reading and copying: a head hides nothing, and of one that is gone the fullest copy is left."""

import dataclasses

import pytest

from dashd.store import attempts, sessions
from dashd.store.sessions import CheckpointRow
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
        scene.do(lambda tx, row=row: sessions.keep(tx, row))
    scene.do(lambda tx: attempts.set_removed(tx, [ID]))
    await call("session.tree", session=ID)
    assert asked == ["c-1"]


async def test_the_same_key_makes_one_copy(call, port, running) -> None:
    for method, more in (("checkpoint", {}), ("branch", {"at": "n1", "name": "b"})):
        first = await call(f"session.{method}", session=ID, idempotency_key=method, **more)
        again = await call(f"session.{method}", session=ID, idempotency_key=method, **more)
        assert (again.id, again.deduplicated) == (first.id, True)
    assert len(port.copies) == 2
