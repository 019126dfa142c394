"""Driver `openclaw` from a call to its result: a real dashd, real holders and a stand-in for the program.

tests/live/test_openclaw.py does the like with the real one.
"""

import json
import os
import signal
from pathlib import Path

import pytest
import trio

from dashd.drivers.line_conversation import RESUMED
from tests.fakes import openclaw as fake_openclaw
from tests.whole import daemons
from tests.whole.door import Door, Refused, open_door

pytestmark = pytest.mark.slow

FAKE = str(Path(fake_openclaw.__file__))
CONFIGURED = {"DASH_PROGRAMS_NODE": FAKE, "DASH_PROGRAMS_OPENCLAW": FAKE, "DASH_OPENCLAW_MAX_SESSIONS": "2"}


@pytest.fixture(scope="module")
def with_openclaw(tmp_path_factory):
    """A dashd that has the stand-in configured, and two places for it."""
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("o"), **CONFIGURED)
    try:
        made.start()
        yield made
        assert made.stop() == 0
        assert made.processes() == []
    finally:
        made.end()


@pytest.fixture
async def dash(with_openclaw):
    async with open_door(with_openclaw.socket) as opened:
        yield opened
        await opened.destroy_all()


async def _swarm(dash: Door, task: str, folder: Path, **more) -> dict:
    made = await dash.call("swarm.create", task=task, cwd=str(folder), **more)
    dash.swarms.append(made["id"])
    return made


async def test_it_is_chosen_works_and_returns_its_result(dash, tmp_path) -> None:
    made = await _swarm(dash, "do `echo hi > note.txt; ls`", tmp_path)
    assert (made["driver"], made["why_driver"]) == (
        "openclaw",
        "no driver was named, and openclaw is configured",
    )
    report = await dash.ended(made["id"])
    assert report["outcome"] == "complete", report
    assert "the last said: note.txt" in json.loads(report["results"][0]["result"])["summary"]
    assert (tmp_path / "note.txt").read_text() == "hi\n"
    costs = await dash.call("swarm.costs", swarm=made["id"])
    assert costs["held_usd"] == 0.0
    assert costs["calls"] >= 2


async def test_a_refused_budget_is_final(dash, tmp_path, gate) -> None:
    made = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path, budget=1.0)
    await dash.events(made["id"], "agent.progress")
    await dash.call("budget.set", budget=made["id"], limit_usd=0.0001, actions={"at_100": "notify"})
    gate.let()
    report = await dash.ended(made["id"])
    assert report["outcome"] == "none", report
    (failure,) = report["failures"]
    assert failure["cause"] == "its budget did not cover the next call"
    assert report["attempts"]["total"] == 1


async def test_a_message_is_the_next_turn(dash, tmp_path, gate) -> None:
    made = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path)
    await dash.events(made["id"], "agent.progress")
    await dash.call("agent.message", agent=f"{made['id']}-001", text="mind the gap")
    gate.let()
    assert (await dash.ended(made["id"]))["outcome"] == "complete"
    logs = await dash.call("agent.logs", agent=f"{made['id']}-001", stream="stdout")
    turned = [frame for frame in map(json.loads, logs["text"].splitlines()) if frame["type"] == "turned"]
    assert [frame["id"] for frame in turned] == ["turn:1", "message:1"]


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("FAKE-EXIT", "openclaw ended (signal 9) while starting"),
        ("FAKE-ODD", "openclaw ended (exit code 3) without an answer: it was told to be odd"),
    ],
)
async def test_an_end_in_the_middle_is_a_failed_attempt(dash, tmp_path, word, cause) -> None:
    made = await _swarm(dash, word, tmp_path, limits={"retries": 0})
    (failure,) = (await dash.ended(made["id"]))["failures"]
    assert failure["cause"] == cause


async def test_a_kill_takes_its_tools_along(dash, tmp_path, gate) -> None:
    made = await _swarm(dash, f"do `read -r _ < {gate.path}; touch after`", tmp_path)
    await dash.events(made["id"], "agent.progress")
    await dash.call("agent.kill", agent=f"{made['id']}-001")
    await dash.events(made["id"], "agent.killed")
    gate.let()
    assert not (tmp_path / "after").exists()


async def test_no_more_than_there_are_places_and_why_says_so(dash, tmp_path, gate) -> None:
    made = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path, agents=3, items=["a", "b", "c"])
    await dash.events(made["id"], "agent.started", 2)
    why = await dash.call("agent.why", agent=f"{made['id']}-003")
    assert (why["waits_for"], why["text"].split(" of ")[0]) == ("slot", "all 2 slots")
    other = await _swarm(dash, "true", tmp_path, argv=["true"])  # another driver is not held up
    assert (await dash.ended(other["id"]))["outcome"] == "complete"
    await dash.call("swarm.destroy", swarm=made["id"])


@pytest.mark.parametrize("ended", ["runner", "openclaw"])
async def test_killed_in_a_tool_it_goes_on_in_its_session(dash, with_openclaw, tmp_path, gate, ended) -> None:
    task = f"do `echo x >> marks; read -r _ < {gate.path}`, then `echo y >> marks`"
    made = await _swarm(dash, task, tmp_path)
    agent = f"{made['id']}-001"
    with trio.fail_after(30):
        while not (tmp_path / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
    runner = (await dash.call("agent.get", agent=agent))["pid"]
    os.kill(runner if ended == "runner" else _only_child(runner), signal.SIGKILL)
    gate.let()
    report = await dash.ended(made["id"])
    assert (report["outcome"], report["attempts"]["total"]) == ("complete", 2), report
    assert (tmp_path / "marks").read_text() == "x\ny\n"
    (failed,) = await dash.events(made["id"], "task.failed")
    assert ended == "runner" or failed["data"]["reason"] == "openclaw ended (signal 9) while working"
    (session,) = (await dash.call("session.list", agent=agent))["items"]
    assert (session["id"], session["state"], session["driver"]) == (
        f"{made['id']}-t1.1",
        "closed",
        "openclaw",
    )
    tree = await dash.call("session.tree", session=agent)
    assert any(RESUMED[:40] in step["text"] for step in tree["steps"])


async def test_its_session_is_read_copied_and_forked_at_a_step(dash, tmp_path) -> None:
    made = await _swarm(dash, "do `echo one >> marks`, then `echo two >> marks`", tmp_path)
    await dash.ended(made["id"])
    session = f"{made['id']}-001"
    tree = (await dash.call("session.tree", session=session))["steps"]
    assert [step["role"] for step in tree] == ["user", *["assistant", "tool"] * 2, "assistant"]
    shown = (await dash.call("session.show", session=session, step=tree[1]["id"]))["steps"]
    assert [step["id"] for step in shown] == [step["id"] for step in tree[:2]]
    assert "echo two" in (await dash.call("session.export", session=session, format="jsonl"))["text"]
    assert "What was said last" in (await dash.call("session.prime", session=session))["text"]
    assert (await dash.call("session.archive", session=session))["steps"] == len(tree)
    kept = await dash.call("session.checkpoint", session=session, name="half", at=tree[2]["id"])
    assert kept["step"] == tree[2]["id"]
    forked = await dash.call("session.fork", session=session, at=tree[2]["id"], task="do `echo 3 >> marks`")
    assert (await dash.ended(forked["swarm"]))["outcome"] == "complete"
    mine = (await dash.call("session.show", session=forked["agent"], limit=50))["steps"]
    assert [step["id"] for step in mine[:3]] == [step["id"] for step in tree[:3]]
    assert mine[3]["text"].startswith("Task: do `echo 3 >> marks`")
    assert "echo two" not in str(mine[3:])
    assert (tmp_path / "marks").read_text() == "one\ntwo\n3\n"
    moved = await dash.call("session.rewind", session=session, to=tree[2]["id"])
    assert moved["step"] == tree[2]["id"]
    resumed = await dash.call("session.resume", session=session, task="do `echo 4 >> marks`")
    assert (await dash.ended(resumed["swarm"]))["outcome"] == "complete"
    assert len((await dash.call("session.show", session=resumed["agent"], limit=50))["steps"]) == 7
    begun = await _swarm(dash, "do `echo 5 >> marks`", tmp_path, begin_from=kept["id"], driver="openclaw")
    assert (await dash.ended(begun["id"]))["outcome"] == "complete"
    assert (tmp_path / "marks").read_text() == "one\ntwo\n3\n4\n5\n"
    with pytest.raises(Refused, match="cannot be told to sum up"):
        await dash.call("session.compact", session=session)


async def test_a_fork_that_was_killed_goes_on_in_its_session(dash, tmp_path, gate) -> None:
    """What it began with is taken over once."""
    made = await _swarm(dash, "do `echo one >> marks`", tmp_path)
    await dash.ended(made["id"])
    task = f"do `echo x >> more; read -r _ < {gate.path}`"
    forked = await dash.call("session.fork", session=f"{made['id']}-001", task=task)
    dash.swarms.append(forked["swarm"])
    with trio.fail_after(30):
        while not (tmp_path / "more").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
    os.kill((await dash.call("agent.get", agent=forked["agent"]))["pid"], signal.SIGKILL)
    gate.let()
    report = await dash.ended(forked["swarm"])
    assert (report["outcome"], report["attempts"]["total"]) == ("complete", 2), report
    said = (await dash.call("session.show", session=forked["agent"], limit=50))["steps"]
    assert [step["text"].startswith("Task: do `echo one") for step in said].count(True) == 1
    assert any(step["text"].startswith(RESUMED) for step in said)


async def test_what_is_not_taken_over_fails_the_attempt_and_says_so(dash, tmp_path) -> None:
    made = await _swarm(dash, "do `echo FAKE-DOCTOR`", tmp_path, limits={"retries": 0})
    await dash.ended(made["id"])
    forked = await dash.call("session.fork", session=f"{made['id']}-001", task="do `touch no`")
    (failure,) = (await dash.ended(forked["swarm"]))["failures"]
    assert "it did not take over what was said before" in failure["cause"]
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "point", ["talk.before_commit:1", "talk.after_commit:1", "talk.after_send:1", "talk.after_send:2"]
)
async def test_no_turn_is_lost_or_given_twice(start_daemon_at, tmp_path, point) -> None:
    """dashd is killed around a turn that it gives, or the end of the talk."""
    daemon = start_daemon_at(point)
    async with open_door(daemon.socket) as dash:
        made = await dash.call("swarm.create", task="do `echo x >> marks`", cwd=str(tmp_path))
    with trio.fail_after(30):
        assert await trio.to_thread.run_sync(daemon.process.wait) == -9
    daemon.start()
    async with open_door(daemon.socket) as dash:
        report = await dash.ended(made["id"])
    assert (report["outcome"], report["attempts"]["total"], report["attempts"]["lost"]) == (
        "complete",
        1,
        0,
    ), report
    assert (tmp_path / "marks").read_text() == "x\n"


def _only_child(pid: int) -> int:
    (found,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found)


@pytest.fixture
def start_daemon_at(tmp_path_factory):
    """`start_daemon_at(POINT)`: a dashd that dies there, once."""
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("c"), **CONFIGURED)

    def start(point: str) -> daemons.DaemonProcess:
        made.start("--crash-at", point)
        return made

    yield start
    made.end()
