"""A session's folder: made before the launch, inside the walls, and that of the forerunner after a kill."""

import dataclasses
import os

import pytest

from dashd.drivers.driver import Command
from dashd.drivers.pi_transcript import PiSessions
from dashd.runtime import sessions
from dashd.runtime.plan import read_plan
from dashd.runtime.supervisor import Supervisor
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
