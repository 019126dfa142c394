"""Reading and copying: a head hides nothing, and of one that is gone the fullest copy is left."""

import dataclasses

import msgspec
import pytest

from dashd.domain.session_tree import Node, SessionTree
from dashd.service import HANDLERS
from dashd.store import attempts, sessions, tasks
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors, methods
from tests.fakes.scene import SWARM
from tests.service.test_sessions import ID, Talk, core, port, running

__all__ = ["core", "port", "running"]


async def test_where_it_goes_on_hides_nothing(call, scene, port, running) -> None:
    scene.end(running)
    await call("session.rewind", session=ID, to="n1")
    tree = await call("session.tree", session=ID)
    assert ([step.id for step in tree.steps], tree.leaf) == (["n1", "n2", "n3"], "n1")
    assert [step.id for step in (await call("session.show", session=ID)).steps] == ["n1"]
    assert [step.id for step in (await call("session.show", session=ID, step="n3")).steps][-1] == "n3"
    assert (await call("session.export", session=ID, format="jsonl")).text == "whole"
    archived = await call("session.archive", session=ID)
    assert (port.copies[archived.id], archived.step, archived.steps) == (b"whole", "n1", 3)
    assert (await call("session.rewind", session=ID, to="n3")).step == "n3"
    moved = await call("session.rewind", session=ID, to="n1")
    asked, kept_ = [], port.kept

    async def kept(driver, checkpoint_id):
        asked.append(checkpoint_id)
        return await kept_(driver, checkpoint_id)

    port.kept = kept
    await call("session.fork", session=ID, task="more")
    assert asked == [moved.head], "what goes on with it begins there"


async def test_what_it_was_rewound_past_is_in_no_export_and_no_prime(call, scene, port, running) -> None:
    scene.end(running)
    scene.do(lambda tx: tasks.set_result(tx, f"{SWARM}-t1", "RETURNED", cut=False))
    assert "(n3)" in (await call("session.export", session=ID)).text
    primed = (await call("session.prime", session=ID)).text
    assert "I look" in primed
    assert "RETURNED" in primed
    await call("session.rewind", session=ID, to="n1")
    exported = (await call("session.export", session=ID)).text
    assert "(n1)" in exported
    assert "(n2)" not in exported
    primed = (await call("session.prime", session=ID)).text
    assert "State: completed, and gone back to step n1" in primed
    assert "I look" not in primed
    assert "RETURNED" not in primed


async def test_a_copy_holds_all_and_goes_on_where_its_session_did(call, scene, port, running) -> None:
    scene.end(running)
    await call("session.rewind", session=ID, to="n1")
    safe = await call("session.checkpoint", session=ID, name="safe")
    assert (port.copies[safe.id], safe.step, safe.steps) == (b"whole", "n1", 3)
    await call("session.switch", session=ID, to="n3")
    assert (await call("session.tree", session=ID)).leaf == "n3"
    assert (await call("session.tree", session=ID, checkpoint="safe")).leaf == "n1"
    assert (await call("session.restore", session=ID, to="safe")).step == "n1"
    assert (await call("session.tree", session=ID)).leaf == "n1"
    for method in ("fork", "resume"):
        begun = await call(f"session.{method}", session=ID, task="more")
        assert port.copies[sessions.seed(scene.db, begun.task)] == b"cut at n1"
    named = await call("session.fork", session=ID, at="safe", task="more")
    assert (named.step, port.copies[named.checkpoint]) == ("n1", b"cut at n1")


class Other(Talk):
    """A branch that the fullest copy does not have."""

    tree = SessionTree([Node("m1", None, "user", "another way")])


async def test_of_one_that_is_gone_what_it_goes_on_with_is_read_where_that_is(
    call, scene, port, running
) -> None:
    scene.end(running)
    for number, step_, steps in (("1", "n3", 3), ("2", "m1", 1)):
        row = CheckpointRow(f"c-{number}", ID, "named", "", step_, steps, 10, 0)
        scene.do(lambda tx, row=row: sessions.keep(tx, row, 1_000))

    async def kept(_driver, checkpoint_id):
        return Other() if checkpoint_id == "c-2" else Talk()

    port.kept = kept
    scene.do(lambda tx: attempts.set_removed(tx, [ID]))
    await call("session.rewind", session=ID, to="c-2")
    assert "## user (m1)\n\nanother way" in (await call("session.export", session=ID)).text
    assert "gone back to step m1" in (await call("session.prime", session=ID)).text
    archived = await call("session.archive", session=ID)
    assert (port.copies[archived.id], archived.step) == (b"whole", "n3"), "all that there is"


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
