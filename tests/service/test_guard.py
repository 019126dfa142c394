"""Every method that changes something is on record, in the same transaction, and so is who was refused."""

import dataclasses

import msgspec
import pytest
import trio

from dashd.service import HANDLERS
from dashd.service.core import REFUSALS_PER_MINUTE_MAX, Caller
from dashd.service.guard import guarded
from dashd.store import audit
from dashd.wire import errors, methods
from dashd.wire.methods import daemon, swarm
from tests.fakes.ports import FakeKeys

ORCHESTRATOR = Caller("orchestrator", 7, "mcp", "claude", "proof of claude")


def actions(core):
    return [row.action for row in audit.after(core.store.db, 0, 1_000)]


def test_no_handler_is_without_its_guard():
    assert all(handler.__module__ == "dashd.service.guard" for handler in HANDLERS.values())


async def test_a_question_leaves_no_trace(core, call):
    await call("daemon.ping")
    await call("swarm.list")
    assert actions(core) == []


async def test_the_record_and_the_change_are_one(core, call, clock):
    """Whatever the operation raises after its work, neither is there."""

    async def failing(core, caller, params):
        def operation(tx):
            tx.emit("system.alert")
            raise errors.Conflict("late")

        return await core.store.writer.apply(operation)

    with pytest.raises(errors.Conflict):
        await guarded("swarm.pause", failing)(core, Caller("operator", 0), swarm.PauseSwarm(swarm="s"))
    assert actions(core) == []
    assert core.store.tail.last_seq == 0


async def test_a_repetition_is_not_recorded_twice(core, call):
    for _ in range(2):
        made = await call("swarm.create", task="t", idempotency_key="k")
    assert made.deduplicated
    assert actions(core) == ["swarm.create"]


async def test_what_changes_no_row_is_recorded_too(core, call):
    await call("daemon.stop")
    (row,) = audit.after(core.store.db, 0, 9)
    assert (row.action, row.data) == ("daemon.stop", '{"params":{},"uid":0}')


async def test_a_full_disk_does_not_keep_the_daemon_from_stopping(core, call):
    core.store.writer.refusal = errors.StoreFull()
    assert (await call("daemon.stop")).agents == "detach"
    assert core.daemon.warnings == ["stop detach"]


async def test_the_answer_is_not_kept_but_what_came_of_it_is(core, call):
    made = await call("swarm.create", task="t")
    spawned = await call("agent.spawn", swarm=made.id, task="secret task")
    row = audit.after(core.store.db, 1, 1)[0]
    assert row.subject == made.id
    assert msgspec.json.decode(row.data)["made"] == spawned.id
    assert "secret task" not in row.data


async def test_a_refusal_is_recorded_and_changes_nothing(core):
    core = dataclasses.replace(core, keys=FakeKeys())
    with pytest.raises(errors.Forbidden, match="not for orchestrator:claude"):
        await HANDLERS["daemon.stop"](core, ORCHESTRATOR, daemon.Stop())
    (row,) = audit.after(core.store.db, 0, 9)
    assert (row.actor, row.action) == ("orchestrator:claude", "daemon.stop")
    assert "is not for" in row.data
    assert core.daemon.warnings == []


async def test_a_key_that_was_revoked_is_refused_at_the_next_call(core):
    keys = FakeKeys()
    core = dataclasses.replace(core, keys=keys)
    await HANDLERS["swarm.list"](core, ORCHESTRATOR, swarm.ListSwarms())
    keys.revoke("claude")
    with pytest.raises(errors.Unauthorized):
        await HANDLERS["swarm.list"](core, ORCHESTRATOR, swarm.ListSwarms())
    with pytest.raises(errors.Unauthorized):
        HANDLERS["daemon.ping"](core, ORCHESTRATOR, daemon.Ping())


async def test_a_call_that_waited_for_longer_than_its_key_lasted_says_nothing(core):
    keys = FakeKeys()
    core = dataclasses.replace(core, keys=keys)

    async def slow(*_: object) -> swarm.SwarmList:
        keys.revoke("claude")
        await trio.lowlevel.checkpoint()
        return swarm.SwarmList(items=[], next_cursor="", total=0)

    with pytest.raises(errors.Unauthorized):
        await guarded("swarm.list", slow)(core, ORCHESTRATOR, swarm.ListSwarms())


async def test_a_loop_of_refusals_fills_no_disk_and_is_counted(core, autojump_clock):
    core = dataclasses.replace(core, keys=FakeKeys())

    async def refused():
        with pytest.raises(errors.Forbidden):
            await HANDLERS["daemon.stop"](core, ORCHESTRATOR, daemon.Stop())

    for _ in range(REFUSALS_PER_MINUTE_MAX + 5):
        await refused()
    assert len(actions(core)) == REFUSALS_PER_MINUTE_MAX
    await trio.sleep(60)
    await refused()
    (last,) = audit.after(core.store.db, REFUSALS_PER_MINUTE_MAX, 9)
    assert msgspec.json.decode(last.data)["not_recorded_before"] == 5


def test_a_handler_that_cannot_wait_may_not_change_anything():
    with pytest.raises(AssertionError, match="must be able to wait"):
        guarded("daemon.stop", lambda core, caller, params: None)
    assert methods.METHODS["daemon.stop"].changes
