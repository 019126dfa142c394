"""The same key never does the work twice."""

import pytest

from dashd.service.core import Caller
from dashd.service.idempotency import once
from dashd.wire import errors
from dashd.wire.methods import agent, swarm

UID = Caller("operator", 0)
CLAUDE, CODEX = [Caller("orchestrator", 0, key=each) for each in ("claude", "codex")]
DAY_MS = 24 * 3_600 * 1_000


def _create(scene, *, key="k", task="t", fail=False, done=None, caller=UID) -> swarm.SwarmChanged:
    params = swarm.CreateSwarm(task=task, idempotency_key=key)

    def work(tx) -> swarm.SwarmCreated:
        if done is not None:
            done.append(task)
        if fail:
            raise errors.Conflict("no")
        tx.emit("swarm.created")
        return swarm.SwarmCreated(
            id="7k2m9q", name="n", state="active", agents=1, tasks=1, strategy="parallel",
            driver="command", why_driver="w", cursor=tx.seq,
        )  # fmt: skip

    return scene.do(once(caller, "swarm.create", params, params.idempotency_key, work, swarm.SwarmCreated))


def test_a_replay_gives_the_same_answer_and_says_so(scene) -> None:
    done: list[str] = []
    first = _create(scene, done=done)
    second = _create(scene, done=done)
    assert done == ["t"]
    assert not first.deduplicated
    assert second.deduplicated
    assert (second.id, second.cursor) == (first.id, first.cursor)
    assert scene.kinds() == ["swarm.created"]


def test_the_same_key_with_other_parameters_is_a_conflict(scene) -> None:
    _create(scene)
    with pytest.raises(errors.IdempotencyConflict, match=r"swarm\.create") as caught:
        _create(scene, task="other")
    assert (caught.value.path, bool(caught.value.hint)) == ("idempotency_key", True)
    assert scene.kinds() == ["swarm.created"]


def test_the_same_key_for_another_method_is_a_conflict(scene) -> None:
    _create(scene)
    params = agent.SpawnAgent(task="t", idempotency_key="k")
    with pytest.raises(errors.IdempotencyConflict):
        scene.do(once(UID, "agent.spawn", params, "k", lambda tx: None, agent.AgentSpawned))


def test_work_that_failed_may_be_tried_again(scene) -> None:
    with pytest.raises(errors.Conflict, match="no"):
        _create(scene, fail=True)
    assert not _create(scene).deduplicated


def test_a_key_is_free_again_after_a_day(scene, clock) -> None:
    _create(scene)
    clock.advance(DAY_MS - 1)
    assert _create(scene).deduplicated
    clock.advance(1)
    assert not _create(scene, task="other").deduplicated


def test_without_a_key_the_work_is_done_each_time(scene) -> None:
    done: list[str] = []
    params = swarm.DestroySwarm(swarm="x")
    for _ in range(2):
        scene.do(once(UID, "swarm.destroy", params, swarm.CreateSwarm(task="t").idempotency_key,
                      lambda tx: done.append("x"), swarm.SwarmChanged))  # fmt: skip
    assert done == ["x", "x"]


def test_an_answer_without_such_a_field_is_given_as_it_was(scene) -> None:
    params = swarm.DestroySwarm(swarm="x")
    answer = swarm.SwarmChanged(id="x", state="destroyed", changed=True)
    for _ in range(2):
        assert scene.do(once(UID, "m", params, "k", lambda tx: answer, swarm.SwarmChanged)) == answer


def test_nobody_is_told_what_another_s_key_has_made(scene) -> None:
    done: list[str] = []
    made = [_create(scene, done=done, caller=each) for each in (UID, CLAUDE, CODEX)]
    assert (len(done), [each.deduplicated for each in made]) == (3, [False] * 3)
    _create(scene, task="other", key="k2", caller=CODEX)
    assert not _create(scene, key="k2", caller=CLAUDE).deduplicated  # no conflict tells of it either
    assert _create(scene, caller=CLAUDE).cursor == made[1].cursor
    assert _create(scene, caller=Caller("operator", 0, key="ann")).cursor == made[0].cursor
