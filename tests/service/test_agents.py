"""`agent.*`: seats and what sits in them."""

import pytest

from dashd.store import attempts, inputs
from dashd.wire import errors
from tests.fakes.ports import driver_abilities
from tests.fakes.scene import SWARM

FIRST = f"{SWARM}-001"


async def test_spawn_adds_a_seat_with_a_task_of_its_own(call, scene) -> None:
    scene.swarm("a")
    since = scene.seq
    made = await call("agent.spawn", task="judge", item="x", name="judge", swarm=SWARM, priority="high")
    assert (made.id, made.swarm, made.task, made.state) == (f"{SWARM}-002", SWARM, f"{SWARM}-t2", "idle")
    task = scene.task(2)
    assert (task.text, task.item, task.level, task.pinned_to) == ("judge", "x", 1, made.id)
    assert scene.agent(2).name == "judge"
    assert scene.kinds(since) == ["agent.spawned", "task.created"]
    assert made.cursor == scene.seq
    assert scene.row().agents_max == 2
    assert [(claim.agent_id, claim.task_id) for claim in scene.claim()] == [
        (made.id, made.task),
        (FIRST, f"{SWARM}-t1"),
    ]


async def test_spawn_into_room_that_a_swarm_has_does_not_make_it_larger(call, scene) -> None:
    scene.swarm("a", agents_max=5)
    await call("agent.spawn", task="t", swarm=SWARM)
    assert scene.row().agents_max == 5


async def test_spawn_does_not_keep_seats_that_were_scaled_away(call, scene) -> None:
    scene.swarm(*"abcdef", agents_made=3)
    claims = scene.claim()
    await call("swarm.scale", swarm=SWARM, agents=1)
    await call("agent.spawn", task="t", swarm=SWARM)
    for claim in claims:
        scene.end(claim)
    assert scene.seat_states().count("completed") == 2


async def test_spawn_alone_makes_a_swarm_of_one(call, scene) -> None:
    made = await call("agent.spawn", task="t", item="x", argv=["echo"], cwd="/tmp", limits={"retries": 1})
    row = scene.row(made.swarm)
    assert (made.id, made.task) == (f"{made.swarm}-001", f"{made.swarm}-t1")
    assert (row.agents_max, row.retries, row.argv) == (1, 1, '["echo"]')
    assert scene.task(1, made.swarm).item == "x"


@pytest.mark.parametrize("swarm", [None, SWARM])
async def test_a_repeated_key_spawns_once(call, scene, swarm) -> None:
    scene.swarm("a")
    params = {"task": "t", "idempotency_key": "k", **({"swarm": swarm} if swarm else {})}
    first = await call("agent.spawn", **params)
    second = await call("agent.spawn", **params)
    assert (second.id, second.task, second.deduplicated) == (first.id, first.task, True)


@pytest.mark.parametrize(
    ("params", "kind", "path"),
    [
        ({"argv": ["x"]}, errors.InvalidParams, "argv"),
        ({"limits": {}}, errors.InvalidParams, "limits"),
        ({"swarm": "zzzzzz"}, errors.UnknownSwarm, "swarm"),
        ({"item": "\0"}, errors.InvalidParams, "item"),
    ],
)
async def test_a_refused_spawn_leaves_nothing(call, scene, params, kind, path) -> None:
    scene.swarm("a")
    since = scene.seq
    with pytest.raises(kind) as caught:
        await call("agent.spawn", **{"task": "t", "swarm": SWARM, "idempotency_key": "k", **params})
    assert caught.value.path == path
    assert (scene.seq, len(scene.seat_states()), len(scene.states())) == (since, 1, 1)
    assert scene.db.execute("SELECT count(*) FROM idempotency").get == 0


async def test_a_swarm_has_at_most_a_hundred_agents(call, scene) -> None:
    scene.swarm("a", agents_made=100)
    with pytest.raises(errors.Conflict, match="100 agents"):
        await call("agent.spawn", task="t", swarm=SWARM)


async def test_nothing_is_spawned_into_an_ended_swarm(call, scene) -> None:
    scene.swarm("a")
    scene.run("succeeded")
    with pytest.raises(errors.SwarmEnded):
        await call("agent.spawn", task="t", swarm=SWARM)


async def test_lists_are_walked_by_cursor_and_count_what_each_has_done(call, scene) -> None:
    scene.swarm(*"abcdef", agents_made=3)
    scene.run("succeeded", "succeeded")
    (claim,) = scene.claim(1)
    seen, cursor = [], ""
    while True:
        page = await call("agent.list", swarm=SWARM, limit=2, cursor=cursor)
        assert page.total == 3
        seen += page.items
        if not (cursor := page.next_cursor):
            break
    assert [item.id for item in seen] == [f"{SWARM}-00{n}" for n in (1, 2, 3)]
    assert sum(item.tasks_ended for item in seen) == 2
    assert {item.id: item.item for item in seen}[claim.agent_id] == "c"
    assert len((await call("agent.list")).items) == 3
    assert (await call("agent.list", states=["killed"])).total == 0
    with pytest.raises(errors.UnknownSwarm):
        await call("agent.list", swarm="zzzzzz")


async def test_get_shows_the_run_and_what_it_waits_for(call, scene, clock) -> None:
    scene.swarm("a", "b")
    scene.run("failed")
    clock.advance(1_000)
    (claim,) = scene.claim()
    scene.start(claim, pid=77)
    clock.advance(2_500)
    got = await call("agent.get", agent=FIRST)
    assert (got.state, got.liveness, got.wanted, got.pid, got.pause) == (
        "running",
        "alive",
        "run",
        77,
        "hard",
    )
    assert (got.task, got.task_state, got.item) == (claim.task_id, "running", "a")
    assert [(run.number, run.state) for run in got.attempts] == [(2, "running"), (1, "failed")]
    assert got.attempts[0].active_s == 2.5
    assert got.why.waits_for == "nothing"


async def test_get_says_in_which_gateway_it_runs(call, scene) -> None:
    scene.swarm("a", mode="gateway")
    assert (await call("agent.get", agent=FIRST)).gateway is None
    (claim,) = scene.claim()
    scene.do(lambda tx: tx.execute("UPDATE launch SET place = 'desk' WHERE id = ?", (claim.attempt_id,)))
    scene.do(lambda tx: attempts.set_walls(tx, claim.attempt_id, "0", None))
    found = await call("agent.get", agent=FIRST)
    assert (found.mode, found.gateway, found.grade) == ("gateway", "desk", "0")


@pytest.mark.parametrize("method", ["get", "why", "pause", "resume", "kill", "retry", "logs", "result"])
async def test_an_unknown_agent_is_refused(call, scene, method) -> None:
    scene.swarm("a")
    with pytest.raises(errors.UnknownAgent) as caught:
        await call(f"agent.{method}", agent=f"{SWARM}-009")
    assert FIRST in caught.value.hint


async def test_why_says_when_a_retry_is_due(call, scene, clock) -> None:
    scene.swarm("a")
    scene.run("failed")
    why = await call("agent.why", agent=FIRST)
    assert (why.waits_for, why.on, why.until) == ("retry", [f"{SWARM}-t1"], "2026-11-20T10:00:01.000Z")


async def test_why_of_a_seat_without_a_slot(call, core, scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.claim(1)
    object.__setattr__(core, "agents_max", 1)
    why = await call("agent.why", agent=f"{SWARM}-002")
    assert why.waits_for == "slot"


async def test_why_of_a_seat_whose_driver_has_no_place_left(call, core, scene, monkeypatch) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.claim(1)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: driver_abilities("soft", False, at_once=1))
    why = await call("agent.why", agent=f"{SWARM}-002")
    assert (why.waits_for, why.text.split(" of ")[0]) == ("slot", "all 1 slots")
    monkeypatch.setattr(core.drivers, "abilities", lambda _: driver_abilities("soft", False, at_once=2))
    assert (await call("agent.why", agent=f"{SWARM}-002")).waits_for == "start"


async def test_why_of_a_seat_that_waits_for_others(call, scene) -> None:
    scene.swarm("a", "b", "c", strategy="map-reduce", agents_made=3)
    scene.claim(2)
    why = await call("agent.why", agent=f"{SWARM}-003")
    assert (why.waits_for, sorted(why.on)) == ("dependency", [f"{SWARM}-t1", f"{SWARM}-t2"])


async def test_pause_and_resume_record_the_wish(call, scene) -> None:
    scene.swarm("a")
    got = await call("agent.pause", agent=FIRST)
    assert (got.wanted, got.state, got.changed) == ("pause", "idle", True)
    assert not (await call("agent.pause", agent=FIRST)).changed
    assert (await call("agent.pause", agent=FIRST, hard=True)).changed
    assert not (await call("agent.pause", agent=FIRST, hard=True)).changed
    assert (await call("agent.get", agent=FIRST)).pause == "hard"
    assert scene.claim() == []
    ticket = scene.store.bells.queue.ticket()
    assert (await call("agent.resume", agent=FIRST)).changed
    assert ticket.is_set()
    assert len(scene.claim()) == 1


async def test_an_ended_or_ending_agent_cannot_be_paused(call, scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.claim(1)
    await call("agent.kill", agent=FIRST)
    await call("agent.kill", agent=f"{SWARM}-002")
    with pytest.raises(errors.IllegalTransition, match="is ending"):
        await call("agent.pause", agent=FIRST)
    with pytest.raises(errors.IllegalTransition, match="has ended: killed") as caught:
        await call("agent.resume", agent=f"{SWARM}-002")
    assert "agent.retry" in caught.value.hint


@pytest.mark.parametrize(("requeue", "task"), [(False, "cancelled"), (True, "ready")])
async def test_kill_ends_with_the_process(call, scene, requeue, task) -> None:
    scene.swarm("a", "b", agents_made=2)
    claim, _ = scene.claim()
    got = await call("agent.kill", agent=FIRST, requeue=requeue)
    assert (got.wanted, got.changed) == ("kill", True)
    assert not (await call("agent.kill", agent=FIRST)).changed
    scene.end(claim, "failed")
    assert (scene.agent().state, scene.task().state) == ("killed", task)
    assert not (await call("agent.kill", agent=FIRST)).changed


async def test_killing_the_last_idle_seat_of_a_swarm_whose_work_is_over_ends_the_swarm(call, scene) -> None:
    scene.swarm("a")
    scene.run("failed")
    got = await call("agent.kill", agent=FIRST)
    assert got.state == "killed"
    assert (scene.states(), scene.row().state) == (["cancelled"], "failed")


async def test_retry_makes_task_and_seat_ready_again(call, scene) -> None:
    scene.swarm("a", "b", agents_made=2, retries=0)
    first, _ = scene.claim()
    scene.end(first, "failed")
    assert (scene.task().state, scene.agent().state) == ("dead", "failed")
    got = await call("agent.retry", agent=FIRST)
    assert (got.state, got.changed) == ("idle", True)
    assert (scene.task().state, scene.task().attempts) == ("ready", 0)
    (again,) = scene.claim()
    assert (again.agent_id, again.task_id) == (first.agent_id, first.task_id)


async def test_retry_reopens_the_seat_that_was_asked_also_where_another_ran_the_task_since(
    call, scene
) -> None:
    scene.swarm("a", "b", "c", agents_made=3, retries=0)
    first, second, _ = scene.claim()
    scene.end(second)
    await call("agent.kill", agent=FIRST, requeue=True)
    scene.end(first, "failed")
    await call("swarm.scale", swarm=SWARM, agents=2)
    (again,) = scene.claim()
    assert again.agent_id != FIRST
    scene.end(again, "failed")
    got = await call("agent.retry", agent=FIRST)
    assert (got.id, got.state) == (FIRST, "idle")
    assert scene.task().state == "ready"


async def test_retry_of_an_agent_that_has_run_nothing(call, scene) -> None:
    scene.swarm("a")
    with pytest.raises(errors.Conflict, match="has run no task"):
        await call("agent.retry", agent=FIRST)


async def test_retry_in_an_ended_swarm_is_refused(call, scene) -> None:
    scene.swarm("a", retries=0)
    scene.run("failed")
    with pytest.raises(errors.SwarmEnded):
        await call("agent.retry", agent=FIRST)


async def test_when_a_message_is_heard_is_kept_or_refused(call, scene, core, monkeypatch) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    talks = driver_abilities("soft", True)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: talks)
    with pytest.raises(errors.Unsupported, match="cannot be broken off"):
        await call("agent.message", agent=FIRST, text="stop", when="now")
    await call("agent.message", agent=FIRST, text="then", when="after")
    talks = driver_abilities("soft", True, breaks_off=True)
    await call("agent.message", agent=FIRST, text="stop", when="now")
    found = inputs.messages(scene.db, claim.attempt_id, 0)
    assert [(row.text, row.heard) for row in found] == [("then", "after"), ("stop", "now")]


async def test_message_is_unsupported_and_says_what_to_do(call, scene) -> None:
    scene.swarm("a")
    with pytest.raises(errors.Unsupported, match="driver command") as caught:
        await call("agent.message", agent=FIRST, text="hello")
    assert caught.value.hint
    with pytest.raises(errors.UnknownAgent):
        await call("agent.message", agent="nobody", text="hello")


async def test_result_is_the_last_tasks(call, scene) -> None:
    scene.swarm("a", "b", retries=0)
    nothing = await call("agent.result", agent=FIRST)
    assert (nothing.task, nothing.result, nothing.task_state) == (None, "", None)
    (claim,) = scene.claim()
    scene.end(claim, result="42")
    got = await call("agent.result", agent=FIRST)
    assert (got.task, got.task_state, got.result, got.cause) == (f"{SWARM}-t1", "completed", "42", "")
    scene.run("failed")
    assert (await call("agent.result", agent=FIRST)).cause == "failed it"
    assert attempts.open_count(scene.db) == 0


async def test_resuming_one_agent_of_a_paused_swarm_says_what_holds_it(call, scene) -> None:
    scene.swarm("a")
    await call("swarm.pause", swarm=SWARM)
    with pytest.raises(errors.Conflict, match="its swarm") as caught:
        await call("agent.resume", agent=FIRST)
    assert caught.value.hint == f"swarm.resume {SWARM}"
