"""`session.*`: states as the rows have them, copies before rows, and what is refused."""

import dataclasses

import pytest

from dashd.domain.session_tree import Node, SessionTree
from dashd.service import HANDLERS, retries
from dashd.service.core import Caller
from dashd.store import attempts, inputs, seats, sessions, stops
from dashd.wire import errors
from dashd.wire.methods import session as wire
from tests.fakes.ports import driver_abilities
from tests.fakes.scene import SWARM

ID = f"{SWARM}-t1.1"


class Talk:
    """Three steps, the second of which has a tool call open."""

    tree = SessionTree(
        [
            Node("n1", None, "user", "do it"),
            Node("n2", "n1", "assistant", "I look", calls=("c",)),
            Node("n3", "n2", "tool", "hi", answers="c"),
        ]
    )

    def __init__(self, whole=b"whole"):
        self.whole = whole

    def text(self, node_id):
        return self.tree.nodes[node_id].text

    def cut(self, node_id, *, session_id, cwd, at_ms):
        return f"cut at {node_id}".encode()


class Sessions:
    """The port: one conversation, and the copies that were made."""

    def __init__(self, scene):
        self.scene = scene
        self.copies = {}
        self.rows_before = []
        self.whole = b"whole"

    async def live(self, driver, launch_id):
        return Talk(self.whole)

    async def kept(self, driver, checkpoint_id):
        found = Talk(self.copies[checkpoint_id])
        if found.whole.startswith(b"cut at "):
            found.tree = SessionTree(Talk.tree.path(found.whole.split()[-1].decode()))
        return found

    async def keep(self, checkpoint_id, data):
        self.rows_before.append(len(sessions.kept(self.scene.db)))
        self.copies[checkpoint_id] = data

    def forget(self, checkpoint_ids):
        for each in checkpoint_ids:
            self.copies.pop(each, None)


@pytest.fixture
def port(scene):
    return Sessions(scene)


@pytest.fixture
def core(core, port):
    return dataclasses.replace(core, sessions=port)


@pytest.fixture
def running(scene):
    """A session that an attempt has, in an open swarm of driver `command`."""
    scene.swarm("a", "b")
    (claim,) = scene.claim(1)
    scene.start(claim)
    attempt = attempts.get(scene.db, claim.attempt_id)
    scene.do(lambda tx: sessions.opened(tx, ID, attempt, SWARM, "command"))
    return claim


async def test_a_copy_is_there_before_its_row(call, port, running):
    made = await call("session.checkpoint", session=ID, name="good")
    assert port.copies == {made.id: b"whole"}
    assert port.rows_before == [0]
    assert (made.step, made.steps) == ("n3", 3)
    (known,) = (await call("session.get", session=ID)).checkpoints
    assert (known.kind, known.name, known.step) == ("named", "good", "n3")
    part = await call("session.branch", session=ID, at="n1", name="start")
    assert (port.copies[part.id], part.steps) == (b"cut at n1", 1)


async def test_a_fork_goes_on_where_no_call_is_open(call, scene, port, running):
    forked = await call("session.fork", session=ID, at="n2", task="more", name="other")
    assert (forked.step, port.copies[forked.checkpoint]) == ("n1", b"cut at n1")
    assert sessions.seed(scene.db, forked.task) == forked.checkpoint
    twice = [await call("session.fork", session=ID, task="t", idempotency_key="k") for _ in range(2)]
    assert twice[0].agent == twice[1].agent
    assert twice[1].deduplicated
    again = await call("session.fork", session=ID, at=forked.checkpoint, task="once more")
    assert port.copies[again.checkpoint] == b"cut at n1", "what a checkpoint has is copied as it is"


async def test_what_runs_is_not_moved(call, running):
    assert (await call("session.get", session=ID)).state == "open"
    for method, more in (("rewind", {"to": "n1"}), ("archive", {}), ("resume", {"task": "x"})):
        with pytest.raises(errors.Conflict, match="is open"):
            await call(f"session.{method}", session=ID, **more)


async def test_a_closed_one_is_rewound_and_gone_on_with(call, scene, port, running):
    scene.end(running)
    assert (await call("session.get", session=ID)).state == "closed"
    moved = await call("session.rewind", session=ID, to="n1")
    assert (moved.step, (await call("session.get", session=ID)).head) == ("n1", moved.head)
    assert [event["data"]["head"] for event in scene.events() if event["kind"] == "session.state"] == [
        moved.head
    ]
    resumed = await call("session.resume", session=ID)
    assert (resumed.changed, bool(resumed.task)) == (True, True)
    with pytest.raises(errors.IllegalTransition, match="nothing runs in it"):
        await call("session.pause", session=ID)
    assert not (await call("session.terminate", session=ID)).changed


@pytest.fixture
def lost(scene, running):
    """The same session, which waits to be gone on with: its attempt was lost."""
    scene.end(running, "lost", "nobody knows")
    return running


@pytest.fixture
def claimed(scene, clock, lost):
    """The same session, whose next attempt was given to its agent and has not begun."""
    clock.advance(60_000)
    return next(claim for claim in scene.claim() if claim.task_id == f"{SWARM}-t1")


async def test_one_whose_next_attempt_is_claimed_still_waits(call, scene, claimed):
    assert (await call("session.get", session=ID)).state == "waiting"
    with pytest.raises(errors.Conflict, match="is waiting: its agent writes in it"):
        await call("session.rewind", session=ID, to="n1")
    assert not (await call("session.resume", session=ID)).task, "its own task goes on with it"
    scene.start(claimed)
    assert (await call("session.get", session=ID)).state == "closed", "that began another session"
    scene.do(lambda tx: sessions.opened(tx, ID, scene.attempt(claimed), SWARM, "command"))
    assert (await call("session.get", session=ID)).state == "open"


async def test_an_attempt_that_was_claimed_is_terminated_before_it_begins(call, scene, claimed):
    assert (await call("session.terminate", session=ID)).changed
    assert scene.attempt(claimed).stop == "cancel"
    assert not (await call("session.terminate", session=ID)).changed
    scene.end(claimed, "never", "stopped before it started")
    assert (scene.states(), scene.task().cause) == (["cancelled", "ready"], "its session was terminated")
    assert (await call("session.get", session=ID)).state == "closed"


async def test_one_that_runs_again_meanwhile_is_not_gone_on_with_twice(call, scene, port, running):
    scene.end(running, "lost", "once too often", retry=False)
    keep = port.keep

    async def retried(checkpoint_id, data):
        await keep(checkpoint_id, data)
        scene.do(lambda tx: retries.retry(tx, scene.task(), running.agent_id))

    port.keep = retried
    with pytest.raises(errors.Conflict, match="is waiting"):
        await call("session.resume", session=ID)
    assert len(scene.states()) == 2


async def test_one_that_waits_is_terminated_with_its_task_and_its_agent(call, scene, lost):
    assert (await call("session.get", session=ID)).state == "waiting"
    done = await call("session.terminate", session=ID)
    assert (done.state, done.changed) == ("closed", True)
    assert (scene.states(), scene.task().cause) == (["cancelled", "ready"], "its session was terminated")
    assert scene.seat_states() == ["killed", "idle"], "somebody does the other task"
    assert not (await call("session.terminate", session=ID)).changed


async def test_an_agent_at_another_task_is_let_be_when_its_earlier_session_is_terminated(call, scene, lost):
    (other,) = scene.claim()
    assert other.agent_id == lost.agent_id
    assert (await call("session.terminate", session=ID)).changed
    assert (scene.states(), scene.attempt(other).stop) == (["cancelled", "running"], None)


async def test_one_that_waits_for_another_agent_is_terminated_too(call, scene, lost):
    scene.do(lambda tx: seats.add(tx, SWARM, 1))
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=True))
    assert (await call("session.get", session=ID)).state == "waiting"
    assert (await call("session.terminate", session=ID)).changed
    assert scene.states() == ["cancelled", "ready"]


async def test_a_copy_is_forgotten_for_good_and_its_name_is_free(call, scene, port, running):
    made = await call("session.checkpoint", session=ID, name="good")
    gone = await call("session.forget", checkpoint=made.id)
    assert (gone.id, gone.session, gone.name, gone.bytes) == (made.id, ID, "good", 5)
    assert (gone.kept_bytes, gone.bytes_max) == (0, 1 << 30)
    assert port.copies == {}
    (told,) = [event for event in scene.events() if event["kind"] == "session.state"]
    assert told["data"] == {"session": ID, "removed": made.id, "why": "on request"}
    with pytest.raises(errors.NotFound, match="there is no checkpoint") as refused:
        await call("session.forget", checkpoint=made.id)
    assert refused.value.path == "checkpoint"
    assert (await call("session.checkpoint", session=ID, name="good")).id != made.id


async def test_what_something_goes_on_from_is_not_forgotten_and_its_file_stays(call, port, running):
    made = await call("session.checkpoint", session=ID)
    forked = await call("session.fork", session=ID, at=made.id, task="t")
    with pytest.raises(errors.Conflict, match=f"task {forked.task} begins with it"):
        await call("session.forget", checkpoint=forked.checkpoint)
    assert set(port.copies) == {made.id, forked.checkpoint}
    await call("session.forget", checkpoint=made.id)
    assert set(port.copies) == {forked.checkpoint}


async def test_an_archive_is_the_operators_to_remove(call, core, scene, port, running):
    scene.end(running)
    kept = await call("session.archive", session=ID)
    other = Caller("orchestrator", 1)
    with pytest.raises(errors.Forbidden, match=f"{kept.id} is an archive") as refused:
        await HANDLERS["session.forget"](core, other, wire.ForgetCheckpoint(checkpoint=kept.id))
    assert f"dashctl session forget {kept.id}" in refused.value.hint
    assert set(port.copies) == {kept.id}
    await call("session.forget", checkpoint=kept.id)
    assert port.copies == {}


async def test_the_last_that_is_left_is_the_operators_to_remove(call, core, scene, port, running):
    scene.end(running)
    part = await call("session.branch", session=ID, at="n1", name="start")
    whole = await call("session.checkpoint", session=ID)
    scene.do(lambda tx: attempts.set_removed(tx, [ID]))
    other, forget = Caller("orchestrator", 1), HANDLERS["session.forget"]
    with pytest.raises(errors.Forbidden, match=f"{whole.id} is the fullest that is left of session {ID}"):
        await forget(core, other, wire.ForgetCheckpoint(checkpoint=whole.id))
    await forget(core, other, wire.ForgetCheckpoint(checkpoint=part.id))
    assert set(port.copies) == {whole.id}
    await call("session.forget", checkpoint=whole.id)
    assert port.copies == {}


async def test_what_is_forgotten_is_on_record(call, scene, running):
    made = await call("session.checkpoint", session=ID)
    await call("session.forget", checkpoint=made.id)
    rows = (await call("audit.list")).rows
    assert [row.subject for row in rows if row.action == "session.forget"] == [made.id]


async def test_nonsense_says_what_would_be_right(call, scene, running):
    for params, error, hint in (
        ({"session": "x", "task": "t"}, errors.NotFound, "session.list"),
        ({"session": ID, "task": "t", "at": "zz"}, errors.NotFound, "the latest steps are n1, n2, n3"),
        ({"session": ID, "task": "t", "swarm": "nope"}, errors.UnknownSwarm, ""),
    ):
        with pytest.raises(error) as caught:
            await call("session.fork", **params)
        assert hint in (caught.value.hint or "")
    with pytest.raises(errors.NotFound, match="has no checkpoint 'x'"):
        await call("session.tree", session=ID, checkpoint="x")


async def test_tree_show_export_and_prime_read_it(call, running):
    tree = await call("session.tree", session=ID, limit=2)
    assert ([step.id for step in tree.steps], tree.more, tree.leaf) == (["n2", "n3"], 1, "n3")
    shown = await call("session.show", session=ID, step="n2")
    assert [step.text for step in shown.steps] == ["do it", "I look"]
    whole = await call("session.export", session=ID, format="jsonl")
    assert (whole.text, whole.next_offset) == ("whole", None)
    assert "## user (n1)" in (await call("session.export", session=ID)).text
    primed = (await call("session.prime", session=ID)).text
    assert "I look" in primed
    assert "It worked in /, without a repository: there is no diff" in primed
    assert [row.id for row in (await call("session.list", swarm=SWARM)).items] == [ID]


async def test_a_list_counts_what_there_is_and_knows_whose_it_is_asked_for(call, scene, running):
    scene.do(lambda tx: seats.add(tx, SWARM, 1))
    (other,) = scene.claim()
    scene.do(lambda tx: sessions.opened(tx, other.attempt_id, scene.attempt(other), SWARM, "command"))
    first = await call("session.list", limit=1)
    assert ([row.id for row in first.items], first.total) == ([ID], 2)
    rest = await call("session.list", swarm=SWARM, limit=2, cursor=first.next_cursor)
    assert ([row.agent for row in rest.items], rest.next_cursor, rest.total) == ([other.agent_id], "", 2)
    assert (await call("session.list", agent=running.agent_id)).total == 1
    with pytest.raises(errors.UnknownSwarm):
        await call("session.list", swarm="nosuch")
    with pytest.raises(errors.UnknownAgent):
        await call("session.list", agent="nosuch")


async def test_a_running_one_is_summed_up_where_its_driver_can(call, core, scene, running, monkeypatch):
    with pytest.raises(errors.Unsupported, match="driver command cannot be told to sum up"):
        await call("session.compact", session=ID)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: driver_abilities("soft", True, compacts=True))
    done = await call("session.compact", session=ID, keep="the names")
    assert (done.session, done.state, done.changed) == (ID, "open", True)
    (row,) = inputs.messages(scene.db, running.attempt_id, 0)
    assert (row.text, row.compacts) == ("the names", 1)
    scene.end(running)
    copied = await call("session.compact", session=ID, keep="the names")
    assert (copied.state, copied.changed) == ("closed", True)
    assert sessions.compacts(scene.db, copied.task)
    assert sessions.summary_keeps(scene.db, copied.task) == "the names"
    assert not sessions.compacts(scene.db, running.task_id)
    assert not sessions.compacts(scene.db, (await call("session.resume", session=ID)).task)


async def test_the_same_key_sums_up_once(call, core, scene, port, running, monkeypatch):
    monkeypatch.setattr(core.drivers, "abilities", lambda _: driver_abilities("soft", True, compacts=True))
    now = [await call("session.compact", session=ID, idempotency_key="now") for _ in range(2)]
    assert [each.deduplicated for each in now] == [False, True]
    assert len(inputs.messages(scene.db, running.attempt_id, 0)) == 1
    scene.end(running)
    later = [await call("session.compact", session=ID, idempotency_key="later") for _ in range(2)]
    assert (later[0].task, later[1].deduplicated) == (later[1].task, True)
    assert len(port.copies) == 1


async def test_who_sums_up_in_a_new_swarm_says_so(call, core, scene, running, monkeypatch):
    monkeypatch.setattr(core.drivers, "abilities", lambda _: driver_abilities("soft", True, compacts=True))
    scene.end(running)
    await call("swarm.destroy", swarm=SWARM)
    copied = await call("session.compact", session=ID)
    (note,) = copied.notes
    assert f"it goes on in a new swarm of one, {copied.swarm}" in note


async def test_a_repetition_keeps_no_further_copy(call, scene, port, running):
    scene.end(running)
    kept = [await call("session.archive", session=ID) for _ in range(2)]
    assert ([each.id for each in kept], kept[1].deduplicated) == ([kept[0].id] * 2, True)
    moved = [await call(f"session.{verb}", session=ID, to="n1") for verb in ("rewind", "switch", "restore")]
    assert {each.head for each in moved} == {moved[0].head}
    await call("session.rewind", session=ID, to="n3")
    assert (await call("session.rewind", session=ID, to="n1")).head == moved[0].head, "there and back"
    assert len(port.copies) == len((await call("session.get", session=ID)).checkpoints) == 3
    told = [event["data"].get("step") for event in scene.events() if event["kind"] == "session.state"]
    assert told == ["n1", "n3", "n1"]
    there = [await call("session.archive", session=ID) for _ in range(2)]
    assert (there[0].step, there[0].id) == ("n1", there[1].id), "an archive says where it goes on, too"
    port.whole = b"more was said"
    assert (await call("session.archive", session=ID)).id != kept[0].id


async def test_two_that_archive_at_once_keep_one_copy(call, scene, port, running):
    scene.end(running)
    keep, others = port.keep, []

    async def meanwhile(checkpoint_id, data):
        port.keep = keep
        others.append(await call("session.archive", session=ID))
        await keep(checkpoint_id, data)

    port.keep = meanwhile
    made = await call("session.archive", session=ID)
    assert (made.id, made.deduplicated) == (others[0].id, True)
    assert set(port.copies) == {made.id}


async def test_a_wrong_step_is_named_as_it_was_given(call, scene, running):
    scene.end(running)
    for verb, name in (("show", "step"), ("rewind", "to"), ("checkpoint", "at"), ("branch", "at")):
        given = {name: "zz"} | ({"name": "x"} if verb == "branch" else {})
        with pytest.raises(errors.NotFound, match="no step 'zz'") as refused:
            await call(f"session.{verb}", session=ID, **given)
        assert refused.value.path == name, verb
