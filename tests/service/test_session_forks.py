"""Going on with a copy of a session: as it is, and in a new swarm where its own has ended."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.domain.session_tree import Node, SessionTree
from dashd.store import sessions, swarms, tasks, workspaces
from dashd.wire import errors
from tests.fakes.scene import SWARM
from tests.service.test_sessions import ID, Talk, core, port, running

__all__ = ["core", "port", "running"]
OTHER = "other1"


class Killed(Talk):
    """Its last call has no result."""

    tree = SessionTree([*Talk.tree.nodes.values(), Node("n4", "n3", "assistant", "again", calls=("d",))])


async def test_one_that_was_killed_in_a_tool_is_gone_on_with_as_it_is(call, scene, port, running) -> None:
    async def live(_driver, _launch):
        return Killed()

    port.live = live
    scene.end(running, "failed", "crashed", exit_code=1)
    scene.do(lambda tx: tx.execute("UPDATE task SET state = 'dead' WHERE id = ?", (f"{SWARM}-t1",)))
    resumed = await call("session.resume", session=ID, idempotency_key="r")
    copy = sessions.seed(scene.db, resumed.task)
    assert port.copies[copy] == b"whole"
    assert sessions.is_broken_off(scene.db, resumed.task)
    again = await call("session.resume", session=ID, idempotency_key="r")
    assert (again.agent, again.deduplicated) == (resumed.agent, True)
    forked = await call("session.fork", session=ID, at="n4", task="t")
    assert (forked.step, sessions.is_broken_off(scene.db, forked.task)) == ("n3", False)


async def test_where_its_swarm_has_ended_it_goes_on_in_a_new_one_on_the_same_terms(
    call, scene, port, running
) -> None:
    scene.end(running)
    for claim in scene.claim():
        scene.start(claim)
        scene.end(claim)
    assert scene.row().ended_at_ms is not None
    forked = await call("session.fork", session=ID, task="more", idempotency_key="k")
    assert forked.swarm != SWARM
    old, new = scene.row(), swarms.get(scene.db, forked.swarm)
    same = ("driver", "cwd", "timeout_s", "retries", "lease_s", "grace_s", "priority", "walls")
    assert [getattr(old, name) for name in same] == [getattr(new, name) for name in same]
    assert new.agents_max == 1
    assert sessions.seed(scene.db, forked.task) == forked.checkpoint
    assert [claim.agent_id for claim in scene.claim()] == [forked.agent]
    assert f"swarm {SWARM} has ended: it goes on in a new swarm of one, {forked.swarm}" in forked.notes[0]
    assert (await call("session.fork", session=ID, task="more", idempotency_key="k")).deduplicated
    resumed = await call("session.resume", session=ID)
    assert resumed.swarm not in (SWARM, forked.swarm)
    with pytest.raises(errors.Conflict, match="has ended"):
        await call("session.fork", session=ID, task="more", swarm=SWARM)


async def test_a_fork_of_one_that_runs_on_a_repository_says_that_it_has_none_of_its_files(
    call, scene
) -> None:
    repo = repository.to_json(Terms("/repo", "b" * 40))
    scene.swarm("a", repo=repo, cwd="/repo", agents_max=4)
    (claim,) = scene.claim(1)
    scene.start(claim)
    owner = claim.agent_id

    def operation(tx):
        sessions.opened(tx, ID, scene.attempt(claim), SWARM, "command")
        workspaces.begin(tx, owner, SWARM, "b" * 40)
        workspaces.set_ready(tx, owner, place="p", path="/w/1", branch="dash/x")

    scene.do(operation)
    forked = await call("session.fork", session=ID, task="go on")
    note = f"its clone begins at {'b' * 12}; what {owner} has done is in the clone of {owner}, /w/1"
    assert forked.notes == [f"{note}, and comes back when that has ended"]
    assert tasks.get(scene.db, forked.task).text.endswith(
        f"Your files are not those that you saw: {note}, and comes back when that has ended."
    )


async def test_it_goes_on_in_no_swarm_that_shares_a_gateway(call, scene, running) -> None:
    scene.swarm("w", swarm_id=OTHER, mode="gateway")
    for method in ("fork", "migrate"):
        with pytest.raises(errors.Unsupported, match=f"{OTHER} is of mode gateway"):
            await call(f"session.{method}", session=ID, swarm=OTHER, task="go on")
