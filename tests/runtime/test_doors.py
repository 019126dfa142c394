"""What a run asks of its way to a model, over made-up doors: opens one, and closes it whatever its end is."""

import json
import socket

import pytest
import trio
import trio.testing

from dashd.jail.launcher import LaunchFailed
from dashd.runtime import attach
from dashd.runtime.run import Run
from dashd.store import agents
from tests.fakes.holders import FakeHolder
from tests.fakes.scene import SWARM

LAUNCH = f"{SWARM}-t1.1"
RESULT = json.dumps({"summary": "done", "files_changed": [], "tests": [], "follow_ups": []}).encode() + b"\n"


def _finishes(holder: FakeHolder) -> None:
    holder.prints(RESULT)
    holder.exits(0)


@pytest.fixture
def embedded(bed):
    bed.scene.swarm("a", driver="embedded", argv="[]", retries=0)
    return bed


async def test_the_program_starts_with_a_way_to_a_model_and_its_holder_with_the_listener(
    embedded, autojump_clock
) -> None:
    embedded.launcher.script = _finishes
    embedded.go()
    await embedded.until("task.completed")
    (spec,) = embedded.launcher.specs
    assert spec.env["DASH_MODEL_URL"] == "http://127.0.0.1:9/v1"
    assert (spec.env["DASH_MODEL_KEY"], spec.env["DASH_MODEL"]) == ("dk_1", "offline")
    assert "canary" not in repr(spec)
    (given,) = embedded.doors.given
    assert embedded.launcher.listeners != [None]
    assert given.fileno() == -1  # the runtime keeps none of its own
    await trio.testing.wait_all_tasks_blocked()
    assert embedded.doors.asked == [("open", LAUNCH), ("close", LAUNCH)]


async def test_a_command_has_no_door(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    bed.launcher.script = lambda holder: holder.exits(0)
    bed.go()
    await bed.until("task.completed")
    await trio.testing.wait_all_tasks_blocked()
    assert (bed.launcher.listeners, bed.doors.asked) == ([None], [])


async def test_a_launch_that_fails_closes_its_door(embedded, autojump_clock) -> None:
    embedded.launcher.refusal = LaunchFailed("no such program")
    embedded.go()
    await embedded.until("task.dead")
    await trio.testing.wait_all_tasks_blocked()
    assert embedded.doors.asked == [("open", LAUNCH), ("close", LAUNCH)]
    assert embedded.doors.given[0].fileno() == -1


async def test_without_a_door_the_start_has_failed(embedded, autojump_clock) -> None:
    embedded.doors.refusal = OSError(24, "Too many open files")
    embedded.go()
    dead = await embedded.until("task.dead")
    assert "no way to a model: Too many open files" in json.dumps(dead)
    assert embedded.launcher.specs == []


async def test_a_refused_budget_is_not_tried_again(bed, autojump_clock) -> None:
    bed.scene.swarm("a", driver="embedded", argv="[]", retries=3)
    bed.launcher.script = lambda holder: holder.exits(3)
    bed.go()
    dead = await bed.until("task.dead")
    assert "its budget did not cover the next call" in json.dumps(dead)
    assert bed.launcher.ids == [LAUNCH]


async def test_a_soft_pause_is_a_fact_at_once_and_the_holder_hears_nothing_of_it(
    embedded, autojump_clock
) -> None:
    embedded.go()
    holder = await embedded.running(LAUNCH)

    def want(wanted: str) -> None:
        def operation(tx) -> None:
            agents.set_wanted(tx, f"{SWARM}-001", wanted)
            tx.ring("agents")

        embedded.scene.do(operation)

    began = trio.current_time()
    want("pause")
    await embedded.until("agent.paused")
    assert embedded.scene.agent().state == "paused"
    assert trio.current_time() - began < 1
    await trio.sleep(50_000)  # its time does not run on
    want("run")
    await embedded.until("agent.resumed")
    assert embedded.scene.agent().state == "running"
    _finishes(holder)
    await embedded.until("task.completed")
    assert holder.verbs() == ["adopt"]


async def test_a_listener_that_cannot_be_served_lets_go_of_the_holder(embedded, autojump_clock) -> None:
    closed = []

    class Link:
        def __init__(self, listener: socket.socket) -> None:
            self.listener = listener

        async def aclose(self) -> None:
            closed.append("link")

    embedded.doors.refusal = OSError("no")
    run = Run(embedded.world, embedded.claim())
    await run.prepare()
    with pytest.raises(OSError, match="no"), socket.socket() as listener:
        await attach.serve_kept(Link(listener), run._serve_kept)  # type: ignore[arg-type]
    assert closed == ["link"]
