"""Conversations as trees, over a real dashd and a stand-in for Pi that writes Pi's own files.

tests/live/test_sessions.py does the like with the real one.
"""

import os
import signal
from pathlib import Path

import pytest
import trio

from dashd.drivers.line_conversation import RESUMED
from tests.jail.test_session_lock import is_locked
from tests.whole import daemons
from tests.whole.door import Refused, open_door
from tests.whole.test_pi import CONFIGURED
from tests.workspace.world import World

pytestmark = pytest.mark.slow

OPEN = ("waiting", "ready", "running", "retrying")


@pytest.fixture
def daemon(tmp_path_factory):
    """A dashd of this test's own, that has the stand-in configured."""
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("s"), **CONFIGURED)
    try:
        made.start()
        yield made
    finally:
        made.end()
    assert made.processes() == []


@pytest.fixture
async def dash(daemon):
    async with open_door(daemon.socket) as opened:
        yield opened
        await opened.destroy_all()


async def _talked(dash, tmp_path, gate, task="do `echo one >> marks`") -> dict:
    """A swarm with a conversation that is over, and a second agent that keeps it open."""
    made = await dash.call(
        "swarm.create", task=task, agents=1, items=["a"], cwd=str(tmp_path), idempotency_key="only"
    )
    dash.swarms.append(made["id"])
    await dash.call("agent.spawn", swarm=made["id"], task=f"do `read -r _ < {gate.path}`")
    (closed, *_) = await dash.events(made["id"], "session.closed")
    return await dash.call("session.get", session=closed["data"]["session"])


async def _result(dash, task: str) -> str:
    with trio.fail_after(60):
        while (found := await dash.call("task.get", task=task))["state"] in OPEN:  # noqa: ASYNC110
            await trio.sleep(0.05)
    assert found["state"] == "completed", found
    return found["result"]


async def test_a_conversation_is_listed_shown_and_kept(dash, tmp_path, gate) -> None:
    session = await _talked(dash, tmp_path, gate)
    assert (session["state"], session["driver"]) == ("closed", "pi")
    known = await dash.call("session.get", session=session["agent"])
    assert known["id"] == session["id"]
    (automatic,) = known["checkpoints"]
    assert automatic["kind"] == "automatic"
    tree = await dash.call("session.tree", session=session["id"])
    assert [step["role"] for step in tree["steps"]] == ["user", "assistant", "tool", "assistant"]
    assert tree["leaf"] == tree["steps"][-1]["id"] == automatic["step"]
    assert tree["checkpoints"] == {tree["leaf"]: [automatic["id"]]}
    shown = await dash.call("session.show", session=session["id"], step=tree["steps"][1]["id"])
    assert shown["steps"][0]["text"].startswith("Task: do `echo one >> marks`")
    exported = await dash.call("session.export", session=session["id"], format="jsonl")
    assert exported["text"].count("\n") == 6
    primed = await dash.call("session.prime", session=session["id"])
    assert "Task: do `echo one >> marks`" in primed["text"]
    gate.let()


async def test_a_fork_knows_what_was_said_up_to_its_step_and_nothing_after(dash, tmp_path, gate) -> None:
    session = await _talked(dash, tmp_path, gate)
    tree = await dash.call("session.tree", session=session["id"])
    inside = tree["steps"][1]  # an answer with a tool call that is open there
    forked = await dash.call(
        "session.fork", session=session["id"], at=inside["id"], task="do `echo two >> marks`", name="other"
    )
    assert forked["step"] == tree["steps"][0]["id"]
    await _result(dash, forked["task"])
    (mine,) = [
        each
        for each in (await dash.call("session.list", agent=forked["agent"]))["items"]
        if each["task"] == forked["task"]
    ]
    assert mine["begun_from"] == forked["checkpoint"]
    said = (await dash.call("session.show", session=mine["id"], limit=50))["steps"]
    assert [step["role"] for step in said] == ["user", "user", "assistant", "tool", "assistant"]
    assert said[1]["text"].startswith("Task: do `echo two >> marks`")
    assert (tmp_path / "marks").read_text() == "one\ntwo\n"
    before = (await dash.call("session.show", session=session["id"], limit=50))["steps"]
    assert len(before) == 4, "the session that was forked stays as it was"
    gate.let()


async def test_rewound_it_goes_on_from_there(dash, tmp_path, gate) -> None:
    session = await _talked(dash, tmp_path, gate)
    tree = await dash.call("session.tree", session=session["id"])
    moved = await dash.call("session.rewind", session=session["id"], to=tree["steps"][0]["id"])
    seen = await dash.call("session.tree", session=session["id"])
    assert (seen["leaf"], seen["steps"]) == (moved["step"], tree["steps"])
    resumed = await dash.call("session.resume", session=session["id"], task="do `echo three >> marks`")
    await _result(dash, resumed["task"])
    mine = await dash.call("session.get", session=resumed["agent"])
    said = (await dash.call("session.show", session=mine["id"], limit=50))["steps"]
    assert [step["role"] for step in said[:2]] == ["user", "user"]
    automatic = (await dash.call("session.get", session=session["id"]))["checkpoints"][0]
    back = await dash.call("session.restore", session=session["id"], to=automatic["id"])
    assert back["step"] == tree["leaf"]
    gate.let()


async def test_a_swarm_begins_from_a_checkpoint_after_the_first_one_is_gone(daemon, tmp_path, gate) -> None:
    async with open_door(daemon.socket) as dash:
        session = await _talked(dash, tmp_path, gate)
        kept = await dash.call("session.checkpoint", session=session["id"], name="good")
        gate.let()
        await dash.ended(session["swarm"])
        await dash.call("swarm.destroy", swarm=session["swarm"])
    daemon.kill()
    daemon.start()
    async with open_door(daemon.socket) as dash:
        with trio.fail_after(30):
            while (await dash.call("session.get", session=session["id"]))["state"] != "gone":  # noqa: ASYNC110
                await trio.sleep(0.05)
        made = await dash.call(
            "swarm.create",
            task="do `echo {item} >> marks`",
            items=["x", "y"],
            agents=2,
            cwd=str(tmp_path),
            begin_from=kept["id"],
        )
        assert (await dash.ended(made["id"]))["outcome"] == "complete"
        for each in (await dash.call("session.list", swarm=made["id"]))["items"]:
            said = (await dash.call("session.show", session=each["id"], limit=50))["steps"]
            assert said[0]["text"].startswith("Task: do `echo one >> marks`")
            assert len(said) == 8
    assert sorted((tmp_path / "marks").read_text().split()) == ["one", "x", "y"]


async def test_a_forked_one_that_was_killed_is_told_its_task_again(dash, tmp_path, gate) -> None:
    session = await _talked(dash, tmp_path, gate)
    task = f"do `echo x >> more; read -r _ < {gate.path}`, then `echo y >> more`"
    forked = await dash.call("session.fork", session=session["id"], task=task)
    with trio.fail_after(30):
        while not (tmp_path / "more").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
    os.kill((await dash.call("agent.get", agent=forked["agent"]))["pid"], signal.SIGKILL)
    gate.let()
    await _result(dash, forked["task"])
    mine = await dash.call("session.get", session=forked["agent"])
    said = [step["text"] for step in (await dash.call("session.show", session=mine["id"], limit=50))["steps"]]
    (again,) = [text for text in said if text.startswith(RESUMED)]
    assert "Task: do `echo x >> more" in again


async def test_what_runs_is_not_moved_and_nonsense_is_refused(dash, tmp_path, gate) -> None:
    session = await _talked(dash, tmp_path, gate)
    every = (await dash.call("session.list", swarm=session["swarm"]))["items"]
    (running,) = [each for each in every if each["state"] == "open"]
    for method, more in (("rewind", {"to": "x"}), ("archive", {}), ("resume", {"task": "more"})):
        with pytest.raises(Refused) as refused:
            await dash.call(f"session.{method}", session=running["id"], **more)
        assert refused.value.kind == "Conflict", method
    with pytest.raises(Refused) as refused:
        await dash.call("session.fork", session=session["id"], at="ffff", task="x")
    assert (refused.value.kind, "the latest steps are" in refused.value.hint) == ("NotFound", True)
    with pytest.raises(Refused) as refused:
        await dash.call("session.get", session="nope")
    assert refused.value.kind == "NotFound"
    for verb, kind, state in (
        ("pause", "agent.paused", "paused"),
        ("resume", "agent.resumed", "open"),
        ("terminate", "agent.killed", "closed"),
    ):
        told = await dash.call(f"session.{verb}", session=running["id"])
        assert told["changed"], verb
        await dash.call(
            "event.wait", since=told["cursor"], swarm=running["swarm"], kinds=[kind], timeout_s=20
        )
        assert (await dash.call("session.get", session=running["id"]))["state"] == state, verb
    gate.let()


@pytest.mark.parametrize("point", ["run.before_end", "run.after_end"])
async def test_a_copy_is_there_or_is_no_more_whenever_dashd_dies(tmp_path_factory, tmp_path, point) -> None:
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("s"), **CONFIGURED)
    try:
        made.start("--crash-at", point)
        async with open_door(made.socket) as dash:
            swarm = await dash.call("swarm.create", task="do `true`", cwd=str(tmp_path))
        with trio.fail_after(30):
            assert await trio.to_thread.run_sync(made.process.wait) == -9
        made.start()
        async with open_door(made.socket) as dash:
            assert (await dash.ended(swarm["id"]))["outcome"] == "complete"
            session = await dash.call("session.get", session=f"{swarm['id']}-001")
        (row,) = session["checkpoints"]
        files = sorted((made.state / "sessions").iterdir())
        assert [path.stem for path in files] == [row["id"]]
    finally:
        made.end()


async def test_a_forgotten_copy_is_no_more_wherever_dashd_dies(tmp_path_factory, tmp_path) -> None:
    told = CONFIGURED | {"DASH_DAEMON_CHECKPOINTS_TOTAL_MIB": "7"}
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("s"), **told)
    try:
        made.start("--crash-at", "session.before_unlink")  # its row is gone, its file is not
        async with open_door(made.socket) as dash:
            swarm = await dash.call("swarm.create", task="do `true`", cwd=str(tmp_path))
            await dash.ended(swarm["id"])
            session = f"{swarm['id']}-001"
            kept = [await dash.call("session.checkpoint", session=session, name=name) for name in "ab"]
            with pytest.raises(AssertionError, match="dashd closed"):
                await dash.call("session.forget", checkpoint=kept[0]["id"])
        with trio.fail_after(30):
            assert await trio.to_thread.run_sync(made.process.wait) == -9
        assert (made.state / "sessions" / f"{kept[0]['id']}.jsonl").exists()
        made.start()
        async with open_door(made.socket) as dash:
            known = [each["id"] for each in (await dash.call("session.get", session=session))["checkpoints"]]
            assert kept[0]["id"] not in known
            assert kept[1]["id"] in known
            files = {path.stem for path in (made.state / "sessions").iterdir()}
            assert files == set(known)
            with pytest.raises(Refused) as refused:
                await dash.call("session.forget", checkpoint=kept[0]["id"])
            assert refused.value.kind == "NotFound"
            (made.state / "sessions" / f"{kept[1]['id']}.jsonl").unlink()  # by somebody
            with pytest.raises(Refused, match="cannot be read"):
                await dash.call("session.tree", session=session, checkpoint="b")
            gone = await dash.call("session.forget", checkpoint=kept[1]["id"])
            assert (gone["name"], gone["bytes_max"]) == ("b", 7 << 20)
    finally:
        made.end()


async def test_one_that_was_made_before_is_begun_in_and_locked_through_a_kill_of_dashd(
    daemon, dash, tmp_path, gate
) -> None:
    made = await dash.call("session.create", name="refactor", cwd=str(tmp_path))
    assert (made["state"], made["driver"]) == ("new", "pi")
    task = f"do `echo one >> marks; read -r _ < {gate.path}`"
    swarm = await dash.call("swarm.create", task=task, cwd=str(tmp_path), begin_from="refactor")
    await dash.events(swarm["id"], "agent.progress")
    session = await dash.call("session.get", session="refactor")
    assert (session["id"], session["state"]) == (f"{swarm['id']}-t1.1", "open")
    lock = daemon.state / "launches" / session["id"] / "session.lock"
    assert is_locked(lock)
    daemon.kill()
    assert is_locked(lock)  # its holder has it, and lives
    daemon.start()
    async with open_door(daemon.socket) as again:
        gate.let()
        assert (await again.ended(swarm["id"]))["outcome"] == "complete"
        assert (await again.call("session.get", session=made["id"]))["state"] == "closed"
    assert not is_locked(lock)


async def test_where_its_swarm_has_ended_a_fork_is_a_new_swarm_of_one(dash, tmp_path) -> None:
    made = await dash.call("swarm.create", task="do `echo one >> marks`", cwd=str(tmp_path))
    await dash.ended(made["id"])
    forked = await dash.call("session.fork", session=f"{made['id']}-001", task="do `echo two >> marks`")
    assert forked["swarm"] != made["id"]
    assert (await dash.ended(forked["swarm"]))["outcome"] == "complete"
    said = (await dash.call("session.show", session=forked["agent"], limit=50))["steps"]
    assert said[0]["text"].startswith("Task: do `echo one >> marks`")
    assert (tmp_path / "marks").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("point", ["", "run.before_end", "run.after_end"])
async def test_migrated_it_goes_on_once_whenever_dashd_dies(
    tmp_path_factory, tmp_path, gate, second_gate, point
) -> None:
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("s"), **CONFIGURED)
    try:
        made.start(*(("--crash-at", point) if point else ()))
        async with open_door(made.socket) as dash:
            task = f"do `echo one >> marks; read -r _ < {second_gate.path}`, then `echo no >> marks`"
            old = await dash.call("swarm.create", task=task, cwd=str(tmp_path))
            other = await dash.call("swarm.create", task=f"do `read -r _ < {gate.path}`", cwd=str(tmp_path))
            await _marked(tmp_path / "marks")
            move = {"session": f"{old['id']}-001", "swarm": other["id"], "task": "do `echo two >> marks`"}
            move["idempotency_key"] = "k"
            if point:
                with pytest.raises(AssertionError, match="dashd closed"):
                    await dash.call("session.migrate", **move)
            else:
                await dash.call("session.migrate", **move)
        if point:
            with trio.fail_after(30):
                assert await trio.to_thread.run_sync(made.process.wait) == -9
            made.start()
        async with open_door(made.socket) as dash:
            moved = await dash.call("session.migrate", **move)
            assert moved["deduplicated"]
            await _result(dash, moved["task"])
            gate.let()
            assert (await dash.ended(other["id"]))["outcome"] == "complete"
            assert (await dash.call("agent.get", agent=f"{old['id']}-001"))["state"] == "killed"
            mine = await dash.call("session.get", session=moved["agent"])
            assert mine["begun_from"] == moved["checkpoint"]
            said = (await dash.call("session.show", session=mine["id"], limit=50))["steps"]
            assert any(step["text"].startswith(RESUMED) for step in said)
        assert (tmp_path / "marks").read_text() == "one\ntwo\n"
    finally:
        made.end()
    assert made.processes() == []


async def test_on_a_repository_it_goes_on_with_the_files_too(dash, tmp_path, gate, second_gate) -> None:
    world = World(tmp_path.resolve())
    world.make_repo()
    other = await dash.call("swarm.create", task=f"do `read -r _ < {gate.path}`", repo=str(world.repo))
    task = f"do `echo work > done.txt; echo x > {{item}}; read -r _ < {second_gate.path}`"
    old = await dash.call("swarm.create", task=task, repo=str(world.repo), items=["un.txt"])
    dash.swarms += [other["id"], old["id"]]
    (tree,) = (await dash.events(old["id"], "worktree.created"))[:1]
    await _marked(Path(tree["data"]["path"]) / "done.txt")
    primed = (await dash.call("session.prime", session=f"{old['id']}-001"))["text"]
    assert "\nadded done.txt (+1 -0)\n" in primed, "also while it works"
    assert "\n+work\n" in primed
    forked = await dash.call(
        "session.fork", session=f"{old['id']}-001", swarm=other["id"], task="do `cat done.txt`"
    )
    assert "what " in forked["notes"][0]
    moved = await dash.call(
        "session.migrate", session=f"{old['id']}-001", swarm=other["id"], task="do `cat done.txt`"
    )
    assert "begins with what" in moved["notes"][0]
    assert "the last said: work" in await _result(dash, moved["task"])
    gate.let()


async def _marked(path: Path) -> None:
    with trio.fail_after(60):
        while not path.exists():  # noqa: ASYNC110, ASYNC240  # a file rings no bell
            await trio.sleep(0.02)
