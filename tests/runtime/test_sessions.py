"""A session's folder: made before the launch, inside the walls, and that of the forerunner after a kill."""

import dataclasses
import logging
import os

import pytest

from dashd.domain.session_tree import NotASession, NotReadInTime, SessionTree
from dashd.drivers.driver import Command
from dashd.drivers.pi_transcript import PiSessions
from dashd.runtime import sessions
from dashd.runtime.plan import read_plan
from dashd.runtime.supervisor import Supervisor
from dashd.store import session_moves
from dashd.store import sessions as rows
from dashd.store.sessions import CheckpointRow
from tests.drivers.test_pi_transcript import ENTRIES, file
from tests.fakes.scene import SWARM
from tests.fakes.talking import TalkingDriver


class Keeping(TalkingDriver):
    """It keeps a session."""

    keeps_session = True
    sessions = PiSessions()

    def command(self, work, environ) -> Command:
        folder = work.session.folder if work.session else "none"
        return dataclasses.replace(super().command(work, environ), argv=("counting", folder))


@pytest.fixture
def kept(bed):
    """The bed with a driver that keeps sessions."""
    bed.world = dataclasses.replace(bed.world, drivers={"command": Keeping()})
    bed.supervisor = Supervisor(bed.world, bed.nursery)
    return bed


async def test_a_killed_one_is_followed_by_one_in_the_same_session(kept, autojump_clock) -> None:
    kept.scene.swarm("a", cwd="/")
    kept.go()
    first = await kept.running(f"{SWARM}-t1.1")
    folder = kept.world.folder(f"{SWARM}-t1.1") / sessions.NAME
    assert folder.stat().st_mode & 0o777 == 0o700
    first.exits(None, sig=9)
    second = await kept.running(f"{SWARM}-t1.2")
    second.exits(0)
    await kept.until("task.failed")
    third = await kept.running(f"{SWARM}-t1.3")
    told = [spec.argv[1] for spec in kept.launcher.specs]
    fresh = kept.world.folder(f"{SWARM}-t1.3") / sessions.NAME
    assert told == [str(folder), str(folder), str(fresh)]
    locks = [spec.session_lock for spec in kept.launcher.specs]
    assert locks == [str(each.with_name("session.lock")) for each in (folder, folder, fresh)]
    third.exits(0)


async def test_a_folder_that_cannot_be_made_fails_the_attempt(kept, autojump_clock) -> None:
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.world.folder(f"{SWARM}-t1.1").write_text("in the way")
    kept.go()
    await kept.until("task.dead")
    assert (kept.scene.task().cause or "").startswith("could not start: no folder for its session: ")


async def test_it_is_inside_the_walls_of_those_that_keep_one(kept) -> None:
    kept.scene.swarm("a", cwd="/w")
    claim = kept.claim()
    plan = sessions.planned(kept.world, read_plan(kept.store.db, claim, 0))
    (shown,) = sessions.shown(kept.world, plan, plan.asked).write_too
    assert shown.at == str(kept.world.folder(plan.session) / "session")
    without = dataclasses.replace(kept.world, drivers={"command": TalkingDriver()})
    plan = read_plan(kept.store.db, claim, 0)
    assert sessions.planned(without, plan) is plan
    assert sessions.shown(without, plan, plan.asked) is plan.asked
    within = dataclasses.replace(plan, gateway=True)
    assert sessions.planned(kept.world, within) is within


async def test_one_that_is_to_sum_up_is_told_what_to_keep(kept) -> None:
    kept.scene.swarm("a", cwd="/")
    claim = kept.claim()
    row = rows.CheckpointRow("c-1", f"{SWARM}-t1.1", "fork", "", "n1", 1, 5, 0)

    def operation(tx):
        rows.opened(tx, f"{SWARM}-t1.1", kept.scene.attempt(claim), SWARM, "command")
        rows.keep(tx, row, 1_000)
        rows.sow(tx, claim.task_id, row.id)
        rows.only_compact(tx, claim.task_id, "the names")

    kept.scene.do(operation)
    session = sessions.planned(kept.world, read_plan(kept.store.db, claim, 0)).work.session
    assert (session.forked, session.compacts, session.keep) == (True, True, "the names")


async def test_a_session_that_its_agent_has_put_something_else_in_place_of(kept, autojump_clock) -> None:
    """Of a name, too, that no row takes as it is."""
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    holder = await kept.running(f"{SWARM}-t1.1")
    folder = os.fsencode(kept.world.folder(f"{SWARM}-t1.1") / sessions.NAME)
    os.mkfifo(folder + b"/\xff_%s.jsonl" % PiSessions.session_id.encode())
    holder.exits(1)
    told = (await kept.until("session.error"))["data"]["reason"]
    assert told.endswith("is no plain file")
    await kept.until("task.dead")


class Talkative(PiSessions):
    """What is wrong with its files takes more words than anybody reads."""

    def read(self, data):
        raise NotASession("x" * 1_000_000)


async def test_what_is_wrong_with_a_session_is_said_in_few_words(kept, autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(Keeping, "sessions", Talkative())
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    await ended_talk(kept)
    (said,) = [event["data"] for event in kept.scene.events() if event["kind"] == "session.error"]
    assert said["reason"] == "x" * sessions.PROBLEM_CHARACTERS_MAX


async def ended_talk(bed) -> str:
    """An attempt has said something and ended: its session."""
    holder = await bed.running(f"{SWARM}-t1.1")
    folder = bed.world.folder(f"{SWARM}-t1.1") / sessions.NAME
    (folder / PiSessions().file_name(0)).write_bytes(file(*ENTRIES))
    holder.exits(0)
    await bed.until("session.closed")
    return f"{SWARM}-t1.1"


def files(bed) -> list[str]:
    folder = bed.world.launches.parent / "sessions"
    return sorted(path.stem for path in folder.iterdir()) if folder.exists() else []


async def test_at_the_end_of_an_attempt_a_copy_is_kept(kept, autojump_clock) -> None:
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    session = await ended_talk(kept)
    (row,) = rows.checkpoints(kept.store.db, session)
    assert (row.kind, row.bytes, files(kept)) == ("automatic", len(file(*ENTRIES)), [row.id])


async def test_so_it_is_where_none_of_its_threads_can_be_started_at_first(
    kept, autojump_clock, scarce
) -> None:
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    await kept.running(f"{SWARM}-t1.1")
    tries = scarce(2)
    session = await ended_talk(kept)
    assert {each: tries.count(each) for each in ("read_newest", "read", "_write")} == {
        "read_newest": 3,
        "read": 3,
        "_write": 3,
    }
    assert files(kept) == [row.id for row in rows.checkpoints(kept.store.db, session)] != []


class Slow(PiSessions):
    """Those of a machine that is too busy a few times."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def live(self, folder):
        self.left -= 1
        if self.left >= 0:
            raise NotReadInTime("it did not end within 10 s")
        return await super().live(folder)


@pytest.mark.parametrize(("moves", "times", "copied"), [(True, 2, True), (True, 3, False), (False, 1, False)])
async def test_one_that_somebody_waits_for_is_read_again_on_a_busy_machine(
    kept, autojump_clock, monkeypatch, moves, times, copied
) -> None:
    monkeypatch.setattr(Keeping, "sessions", Slow(times))
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    holder = await kept.running(f"{SWARM}-t1.1")
    kept.scene.swarm("b", swarm_id="other1", cwd="/", state="paused")
    session, waits = f"{SWARM}-t1.1", "other1-t1"
    if moves:
        kept.scene.do(lambda tx: session_moves.begin(tx, session, waits, copied=False))
    folder = kept.world.folder(session) / sessions.NAME
    (folder / PiSessions().file_name(0)).write_bytes(file(*ENTRIES))
    holder.exits(0)
    await kept.until("session.closed")
    assert bool(rows.checkpoints(kept.store.db, session)) is copied
    if moves:
        assert (rows.seed(kept.store.db, waits) is not None) is copied
        assert (kept.scene.task(1, "other1").state == "cancelled") is not copied


async def test_where_there_is_no_room_for_it_that_is_said_and_its_file_goes(
    kept, autojump_clock, caplog
) -> None:
    kept.world = dataclasses.replace(kept.world, checkpoints_bytes_max=100)
    kept.supervisor = Supervisor(kept.world, kept.nursery)
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    with caplog.at_level(logging.WARNING):
        session = await ended_talk(kept)
    assert rows.checkpoints(kept.store.db, session) == []
    assert files(kept) == []
    (said,) = [event["data"] for event in kept.scene.events() if event["kind"] == "session.error"]
    assert said["reason"].startswith("no checkpoint of it was kept: the copies of sessions take")
    assert "raise daemon.checkpoints_total_mib" in said["reason"]
    assert [record.why for record in caplog.records if record.message == "no checkpoint"] == [said["reason"]]
    assert (await kept.until("session.closed"))["data"]["checkpoint"] is None


async def begun(bed, data: bytes, step: str, *, broken_off: bool = False) -> SessionTree:
    """What the next task's conversation holds before its program starts, from this copy at this step."""
    row = CheckpointRow("c-9", f"{SWARM}-t1.1", "named", "", step, 1, len(data), 0)
    await bed.world.transcripts.keep(row.id, data)
    bed.scene.swarm("c", swarm_id="other1", cwd="/", retries=0)

    def operation(tx) -> None:
        rows.keep(tx, row, 10_000)
        rows.sow(tx, "other1-t1", row.id, broken_off=broken_off)
        tx.ring("queue")

    bed.scene.do(operation)
    await bed.running("other1-t1.1")
    return PiSessions().read(await bed.world.transcripts.live(PiSessions(), "other1-t1.1")).tree


async def test_it_begins_where_the_copy_goes_on_and_with_no_other_branch(kept, autojump_clock) -> None:
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    await ended_talk(kept)
    tree = await begun(kept, file(*ENTRIES), "2d27aae3")
    assert [node.role for node in tree.path(tree.leaf)][2:] == ["user", "assistant", "tool"]
    assert "bfc382a1" not in tree.nodes


@pytest.mark.parametrize(
    ("broken_off", "last"), [(False, "user"), (True, "assistant")], ids=["copied at work", "killed at work"]
)
async def test_a_call_that_is_open_is_seen_by_those_alone_that_are_told_of_it(
    kept, autojump_clock, broken_off, last
) -> None:
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    await ended_talk(kept)
    tree = await begun(kept, file(*ENTRIES[:4]), "77643750", broken_off=broken_off)
    assert tree.nodes[tree.leaf].role == last


async def test_one_whose_checkpoint_has_lost_its_file_does_not_start_and_says_why(
    kept, autojump_clock
) -> None:
    kept.scene.swarm("a", cwd="/", retries=0)
    kept.go()
    session = await ended_talk(kept)
    row = CheckpointRow("c-9", session, "named", "", "n", 1, 1, 0)
    kept.scene.swarm("c", swarm_id="other1", cwd="/", retries=0)

    def other(tx) -> None:
        rows.keep(tx, row, 1_000)
        rows.sow(tx, "other1-t1", row.id)

    kept.scene.do(other)
    kept.scene.do(lambda tx: tx.ring("queue"))
    await kept.until("task.dead", 2)  # the first one ended without a word
    cause = kept.scene.task(1, "other1").cause or ""
    assert "cannot begin from checkpoint c-9: somebody has removed its file" in cause
