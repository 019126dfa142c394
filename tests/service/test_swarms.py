"""`swarm.*`: what is decided, written and answered, and that a refusal leaves nothing behind."""

import msgspec
import pytest

from dashd.store import access_keys, attempts
from dashd.wire import errors
from tests.fakes.scene import SWARM


def _counts(scene) -> tuple[int, ...]:
    tables = ("swarm", "agent", "task", "event", "idempotency")
    return tuple(scene.db.execute(f"SELECT count(*) FROM {table}").get for table in tables)


async def test_create_makes_seats_tasks_and_events_in_one_commit(call, scene) -> None:
    batches = []
    scene.store.tail.follow(batches.append)
    made = await call("swarm.create", task="lint", agents=2, items=["a", "b", "c"], argv=["x"], cwd="/tmp")
    assert len(batches) == 1
    assert (made.state, made.agents, made.tasks, made.strategy) == ("active", 2, 3, "parallel")
    assert (made.driver, made.why_driver) == ("command", "it is the only one")
    assert made.notes == ["3 tasks queue for 2 agents"]
    assert made.name == f"swarm-{made.id}"
    assert scene.kinds() == ["swarm.created", *["task.created"] * 3, *["agent.spawned"] * 2]
    assert made.cursor == 1
    row = scene.row(made.id)
    assert (row.goal, row.argv, row.cwd, row.next_task, row.next_agent) == ("lint", '["x"]', "/tmp", 4, 3)
    assert [scene.task(n, made.id).item for n in (1, 2, 3)] == ["a", "b", "c"]
    assert scene.task(1, made.id).text is None  # the goal stands in the swarm, once


async def test_create_without_items_gives_each_agent_a_task(call, scene) -> None:
    made = await call("swarm.create", task="t", agents=3)
    assert (made.agents, made.tasks, made.notes) == (3, 3, [])
    assert [scene.task(n, made.id).item for n in (1, 2, 3)] == ["1", "2", "3"]


async def test_create_makes_no_more_seats_than_tasks_and_says_so(call) -> None:
    made = await call("swarm.create", task="t", agents=5, items=["a", "b"])
    assert (made.agents, made.notes) == (2, ["2 task(s) need no more than 2 agent(s)"])


@pytest.mark.parametrize(
    ("strategy", "states"),
    [
        ("parallel", ["ready", "ready", "ready"]),
        ("pipeline", ["ready", "waiting", "waiting"]),
        ("map-reduce", ["ready", "ready", "waiting"]),
    ],
)
async def test_create_by_strategy(call, scene, strategy, states) -> None:
    made = await call("swarm.create", task="t", items=["a", "b", "c"], strategy=strategy)
    assert scene.states(made.id) == states


async def test_create_keeps_its_limits(call, scene) -> None:
    limits = {"timeout_s": 7.5, "retries": 0, "grace_s": 1}
    made = await call("swarm.create", task="t", limits=limits, lease_s=9, priority="critical")
    got = await call("swarm.get", swarm=made.id)
    assert msgspec.to_builtins(got.limits) == limits
    assert (got.lease_s, got.priority, scene.task(1, made.id).level) == (9, "critical", 0)


@pytest.mark.parametrize(
    ("params", "kind", "path"),
    [
        ({"driver": "openclaw"}, errors.Unsupported, "driver"),
        ({"items": ["a", "b\0"]}, errors.InvalidParams, "items[1]"),
        ({"task": "\0"}, errors.InvalidParams, "task"),
    ],
)
async def test_a_refused_create_leaves_nothing(call, scene, params, kind, path) -> None:
    before = _counts(scene)
    with pytest.raises(kind) as caught:
        await call("swarm.create", **{"task": "t", "idempotency_key": "k", **params})
    assert caught.value.path == path
    assert caught.value.hint
    assert _counts(scene) == before


async def test_what_the_driver_refuses_leaves_nothing(call, core, scene) -> None:
    core.drivers.refusal = errors.InvalidParams("no program", path="argv")
    before = _counts(scene)
    with pytest.raises(errors.InvalidParams, match="no program"):
        await call("swarm.create", task="t")
    assert _counts(scene) == before


async def test_an_id_that_is_taken_leaves_nothing(call, core, scene, monkeypatch) -> None:
    monkeypatch.setattr(core.clock, "token", lambda bits: 5)
    await call("swarm.create", task="t")
    before = _counts(scene)
    with pytest.raises(errors.Conflict, match="is taken"):
        await call("swarm.create", task="t", idempotency_key="k")
    assert _counts(scene) == before


async def test_a_repeated_key_gives_the_same_swarm(call, scene) -> None:
    params = {"task": "t", "agents": 2, "idempotency_key": "k"}
    first = await call("swarm.create", **params)
    before = _counts(scene)
    second = await call("swarm.create", **params)
    assert (second.id, second.deduplicated, first.deduplicated) == (first.id, True, False)
    assert _counts(scene) == before


async def test_get_shows_how_it_stands(call, scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.run("succeeded")
    clock.advance(1_500)
    got = await call("swarm.get", swarm=SWARM)
    assert (got.state, got.outcome, got.ending, got.ended_at) == ("active", None, False, None)
    assert (got.tasks, got.agents) == ({"completed": 1, "ready": 1}, {"idle": 2})
    assert (got.duration_s, got.cursor, got.argv) == (1.5, scene.seq, ["true", "{item}"])


async def test_an_unknown_swarm_names_the_open_ones(call, scene) -> None:
    scene.swarm("a")
    for method in ("get", "pause", "resume", "destroy", "report"):
        with pytest.raises(errors.UnknownSwarm) as caught:
            await call(f"swarm.{method}", swarm="zzzzzz")
        assert SWARM in caught.value.hint
    with pytest.raises(errors.UnknownSwarm):
        await call("swarm.scale", swarm="zzzzzz", agents=1)


async def test_lists_are_walked_by_cursor(call, scene, clock) -> None:
    for letter in "abcde":
        scene.swarm("x", "y", swarm_id=letter * 6)
        clock.advance(1)
    scene.run("succeeded")
    seen, cursor = [], ""
    while True:
        page = await call("swarm.list", limit=2, cursor=cursor)
        assert page.total == 5
        seen += page.items
        if not (cursor := page.next_cursor):
            break
    assert [item.id[0] for item in seen] == list("edcba")
    assert (seen[-1].tasks, seen[-1].tasks_ended, seen[-1].agents) == (2, 1, 1)
    assert (await call("swarm.list", states=["failed"])).items == []


async def test_a_foreign_cursor_is_refused(call) -> None:
    for cursor in ("x", ".", "-1.aaaaaa", "9" * 40 + ".aaaaaa"):
        with pytest.raises(errors.InvalidParams) as caught:
            await call("swarm.list", cursor=cursor)
        assert caught.value.path == "cursor"


async def test_pause_and_resume_say_what_changed(call, scene) -> None:
    scene.swarm("a")
    since = scene.seq
    tickets = scene.store.bells.agents.ticket(), scene.store.bells.queue.ticket()
    assert (await call("swarm.pause", swarm=SWARM)).changed
    assert all(ticket.is_set() for ticket in tickets)
    again = await call("swarm.pause", swarm=SWARM)
    assert (again.changed, again.state) == (False, "paused")
    assert scene.claim() == []
    assert (await call("swarm.resume", swarm=SWARM)).changed
    assert not (await call("swarm.resume", swarm=SWARM)).changed
    assert scene.kinds(since) == ["swarm.paused", "swarm.resumed"]
    assert len(scene.claim()) == 1


@pytest.mark.parametrize("method", ["pause", "resume", "scale"])
async def test_an_ended_swarm_cannot_be_changed(call, scene, method) -> None:
    scene.swarm("a")
    scene.run("succeeded")
    before = _counts(scene)
    with pytest.raises(errors.SwarmEnded, match="completed") as caught:
        await call(f"swarm.{method}", swarm=SWARM, **({"agents": 2} if method == "scale" else {}))
    assert "swarm.report" in caught.value.hint
    assert _counts(scene) == before


async def test_a_swarm_that_is_ending_cannot_be_changed(call, scene) -> None:
    scene.swarm("a")
    scene.claim()
    await call("swarm.destroy", swarm=SWARM)
    with pytest.raises(errors.SwarmEnded, match="is ending"):
        await call("swarm.pause", swarm=SWARM)


async def test_scale_up_adds_seats(call, scene) -> None:
    scene.swarm("a", "b", "c")
    since = scene.seq
    got = await call("swarm.scale", swarm=SWARM, agents=3)
    assert (got.agents, got.added, got.removed, got.leaving) == (3, 2, 0, 0)
    assert scene.kinds(since) == ["agent.spawned", "agent.spawned", "swarm.scaled"]
    assert len(scene.claim()) == 3


async def test_scale_down_ends_idle_seats_and_lets_the_others_finish(call, scene) -> None:
    scene.swarm(*"abcdefg", agents_made=4)
    claims = scene.claim(2)
    got = await call("swarm.scale", swarm=SWARM, agents=1)
    assert (got.agents, got.added, got.removed, got.leaving) == (2, 0, 2, 1)
    assert scene.seat_states() == ["spawning", "spawning", "completed", "completed"]
    scene.end(claims[0])
    assert scene.seat_states()[0] == "completed"
    scene.end(claims[1])
    assert scene.seat_states()[1] == "idle"
    again = await call("swarm.scale", swarm=SWARM, agents=1)
    assert (again.added, again.removed, again.leaving) == (0, 0, 0)


async def test_scale_does_not_count_a_seat_that_is_being_killed(call, scene) -> None:
    scene.swarm("a", "b", "c", agents_made=2)
    scene.claim(1)
    await call("agent.kill", agent=f"{SWARM}-001")
    got = await call("swarm.scale", swarm=SWARM, agents=2)
    assert (got.agents, got.added) == (2, 1)


async def test_what_the_driver_remarks_on_is_a_note(call) -> None:
    made = await call("swarm.create", task="t", argv=["true", "odd"], items=["a", "b"])
    assert made.notes == ["2 tasks queue for 1 agents", "a remark on odd"]


async def test_destroy_of_what_does_not_run_is_done_at_once(call, scene) -> None:
    scene.swarm("a", "b", "c", strategy="pipeline", agents_made=2)
    got = await call("swarm.destroy", swarm=SWARM)
    assert (got.state, got.changed) == ("destroyed", True)
    assert (scene.states(), scene.seat_states()) == (["cancelled"] * 3, ["killed"] * 2)
    assert scene.task(1).cause == "its swarm was destroyed"
    again = await call("swarm.destroy", swarm=SWARM)
    assert (again.state, again.changed) == ("destroyed", False)


async def test_destroy_takes_its_keys_at_once(call, scene) -> None:
    """Whatever still runs: they are the swarm's money."""
    scene.swarm("a")
    scene.start(*scene.claim())
    keys = [
        await call("key.create", name=f"k{n}", budget=budget) for n, budget in enumerate([SWARM, "project"])
    ]
    ticket = scene.store.bells.swarms.ticket()
    assert (await call("swarm.destroy", swarm=SWARM)).state == "active"
    assert [access_keys.get(scene.db, each.key.id).revoked_at_ms is None for each in keys] == [False, True]
    assert ticket.is_set()


async def test_destroy_waits_for_the_last_process(call, scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, second = scene.claim()
    got = await call("swarm.destroy", swarm=SWARM)
    assert (got.state, got.changed) == ("active", True)
    assert (await call("swarm.get", swarm=SWARM)).ending
    assert {run.stop for run in attempts.open_attempts(scene.db)} == {"cancel"}
    assert not (await call("swarm.destroy", swarm=SWARM)).changed
    scene.end(first, "failed")
    assert scene.row().state == "active"
    scene.end(second)  # it was faster than the stop
    assert (scene.row().state, scene.row().outcome) == ("destroyed", "partial")
    assert not (await call("swarm.get", swarm=SWARM)).ending


async def test_destroy_of_what_has_ended_removes_its_output_alone(call, scene) -> None:
    scene.swarm("a", retries=0)
    scene.run("succeeded")
    assert (await call("swarm.get", swarm=SWARM)).output_kept
    got = await call("swarm.destroy", swarm=SWARM)
    assert (got.state, got.changed) == ("completed", True)
    assert (scene.row().state, scene.row().output, scene.row().outcome) == ("completed", "going", "complete")
    assert scene.kinds()[-1] == "swarm.swept"
    assert not (await call("swarm.get", swarm=SWARM)).output_kept
    again = await call("swarm.destroy", swarm=SWARM)
    assert (again.state, again.changed) == ("completed", False)


async def test_a_paused_swarm_can_be_destroyed(call, scene) -> None:
    scene.swarm("a")
    await call("swarm.pause", swarm=SWARM)
    assert (await call("swarm.destroy", swarm=SWARM)).state == "destroyed"


async def test_a_repeated_key_is_answered_also_where_the_world_has_changed_since(call, core) -> None:
    made = await call("swarm.create", task="t", idempotency_key="k")
    core.drivers.refusal = errors.InvalidParams("there is no folder any more")
    again = await call("swarm.create", task="t", idempotency_key="k")
    assert (again.id, again.deduplicated) == (made.id, True)
    with pytest.raises(errors.IdempotencyConflict):
        await call("swarm.create", task="other", idempotency_key="k")
