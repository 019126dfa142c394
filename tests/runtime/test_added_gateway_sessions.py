"""Sessions of an added gateway's earlier starts: gone on with, and removed once nothing will be."""

import trio

from dashd.drivers import openclaw_gateway
from dashd.runtime.added_gateway import END_LEFT_S_MAX
from dashd.store import attempts
from tests.fakes.desk import added_claim


async def test_the_agent_of_a_session_that_is_gone_on_with_stays_until_its_task_is_done(
    there, autojump_clock
) -> None:
    (agent,) = there.swarm("a", agents=1)
    there.go()
    await there.gateway.add(agent)
    first, before = there.openclaw.boot_id, there.name(agent)
    (lost,) = attempts.open_attempts(there.bed.scene.db)
    there.bed.scene.do(lambda tx: attempts.set_place_boot(tx, lost.launch_id, first))
    there.bed.scene.start(added_claim(lost))
    there.openclaw.boot_id = "boot-2"
    there.openclaw.cut()
    there.bed.scene.end(added_claim(lost), "lost", "it has begun again since")
    await trio.sleep(100)
    assert before in there.openclaw.names
    (claim,) = there.again()
    await there.gateway.add(agent, openclaw_gateway.tag_of(first))
    _, told, _ = there.openclaw.patches[-1]
    assert set(told["agents"]["entries"]) == {before}  # with a key of this start
    row = attempts.get(there.bed.scene.db, claim.attempt_id)
    there.bed.scene.do(lambda tx: attempts.set_place_boot(tx, row.launch_id, "boot-2"))
    there.bed.scene.start(claim)
    there.openclaw.cut()  # the same start of it, after which it is told again
    await there.gateway.add(agent, openclaw_gateway.tag_of(first))
    assert (before in there.openclaw.names, there.doors.made) == (True, 2)
    there.bed.scene.do(lambda tx: attempts.ask_stop(tx, row.id, "timeout"))
    there.bed.scene.end(claim, "failed", "it took too long", retry=False)
    there.openclaw.cut()
    await trio.sleep(30)
    session = openclaw_gateway.session_key(agent, lost.id, openclaw_gateway.tag_of(first))
    assert there.openclaw.aborted == [session]  # that of the first attempt, where both have worked
    assert (there.openclaw.names, there.openclaw.providers) == ({"keeper"}, {"theirs"})
    assert there.gateway.ending


async def test_what_works_in_the_session_of_a_lost_attempt_is_not_ended_with_it(
    there, autojump_clock
) -> None:
    """The gateway stood still for long, in one start of it, and now its connection is made anew."""
    (agent,) = there.swarm("a", agents=1)
    there.go()
    await there.gateway.add(agent)
    scene, boot = there.bed.scene, there.openclaw.boot_id
    (lost,) = attempts.open_attempts(scene.db)
    scene.do(lambda tx: attempts.set_place_boot(tx, lost.launch_id, boot))
    scene.start(added_claim(lost))
    scene.end(added_claim(lost), "lost", "it gave no answer")
    there.openclaw.cut()
    await trio.sleep(30)
    session = openclaw_gateway.session_key(agent, lost.id, openclaw_gateway.tag_of(boot))
    assert there.openclaw.aborted == [session], "nothing else is there yet"
    assert there.gateway.warmth.is_left(there.name(agent))
    (claim,) = there.again()
    await there.gateway.add(agent)
    row = attempts.get(scene.db, claim.attempt_id)
    scene.do(lambda tx: attempts.set_place_boot(tx, row.launch_id, boot))
    scene.start(claim)
    there.openclaw.cut()
    await trio.sleep(30)
    await there.gateway.add(agent)
    assert there.openclaw.aborted == [session]


async def test_many_runs_that_were_given_up_are_ended_once_each_over_several_connections(
    there, autojump_clock
) -> None:
    agents = there.swarm(*map(str, range(21)), agents=21)
    there.go()
    await there.gateway.add(agents[0])
    scene, first = there.bed.scene, there.openclaw.client
    works, *lost = attempts.open_attempts(scene.db)
    for row in lost:
        scene.do(lambda tx, row=row: attempts.set_place_boot(tx, row.launch_id, there.openclaw.boot_id))
        scene.start(added_claim(row))
        scene.end(added_claim(row), "lost", "it gave no answer")
    there.openclaw.abort_s = 10.0
    there.openclaw.cut()
    await trio.sleep(END_LEFT_S_MAX + 1)
    assert (len(there.openclaw.aborted), there.openclaw.client is first) == (5, False)
    with trio.fail_after(300):
        await there.gateway.connected()
    assert len(there.openclaw.aborted) == len(set(there.openclaw.aborted)) == 20
    there.openclaw.cut()
    await trio.sleep(5)
    with trio.fail_after(5):  # there is nothing left to end
        await there.gateway.connected()
    assert len(there.openclaw.aborted) == 20
    assert attempts.get(scene.db, works.id).state == "claimed"
