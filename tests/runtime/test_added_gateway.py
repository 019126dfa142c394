"""An added gateway over scripted connections, in virtual time: what is written to it, and what is lost.

tests/whole/test_federation.py does the like with stand-ins, tests/live/test_federation.py with real ones.
"""

import contextlib

import pytest
import trio

from dashd.drivers import openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.runtime import added_gateway
from dashd.runtime.added_gateway import BEGUN_S_MAX, CONNECT_S_MAX, SEATS_MAX, SILENT_S_MAX
from dashd.runtime.gateway_connection import GatewayGone
from dashd.runtime.write_pace import WRITES_MAX, WRITES_S
from dashd.store import added_gateways, attempts
from dashd.store.rows import AttemptRow
from tests.fakes.desk import There, added_claim

CHANGED = GatewayRefused("config.patch", protocol.Fault("INVALID_REQUEST", "config changed since last load"))


async def add(there: There, *agents: str) -> None:
    async with trio.open_nursery() as nursery:
        for each in agents:
            nursery.start_soon(there.gateway.add, each)


async def test_a_swarm_comes_in_one_write_and_goes_in_another(there, autojump_clock) -> None:
    agents = there.swarm("a", "b")
    there.go()
    await add(there, *agents)
    ((_, come, lists),) = there.openclaw.patches
    assert (set(come["agents"]["entries"]), lists) == ({there.name(each) for each in agents}, ())
    entry = come["agents"]["entries"][there.name(agents[0])]
    assert "heartbeat" not in entry  # else only such agents had one
    (provider, _) = come["models"]["providers"].values()
    assert (provider["baseUrl"], provider["apiKey"]) == ("http://127.0.0.1:4000/v1", "a-key")
    there.end_swarm()
    await trio.sleep(30)
    (_, (_, go, lists)) = there.openclaw.patches
    assert go == {"models": {"providers": dict.fromkeys([f"dash-{there.name(each)}" for each in agents])}}
    assert f"models.providers.dash-{there.name(agents[0])}.models" in lists
    assert (there.openclaw.names, there.openclaw.providers, there.doors.keys_of) == (
        {"keeper"},
        {"theirs"},
        {},
    )
    assert (there.gateway.ending, there.doors.was_shut) == (True, True)


async def test_a_large_swarm_comes_in_several_writes_and_who_works_first(there, autojump_clock) -> None:
    agents = there.swarm("a", agents=100)
    there.go()
    await there.gateway.add(agents[-1])
    ((_, told, _),) = there.openclaw.patches
    assert there.name(agents[-1]) in told["agents"]["entries"]
    assert len(told["agents"]["entries"]) == SEATS_MAX
    await add(there, *agents)
    assert len(there.openclaw.patches) == -(-100 // SEATS_MAX)
    assert there.openclaw.names == {"keeper", *map(there.name, agents)}


async def test_what_it_is_too_busy_to_delete_goes_later(there, autojump_clock) -> None:
    agents = there.swarm("a", "b")
    there.go()
    await add(there, *agents)
    there.openclaw.busy = 3
    there.end_swarm()
    await trio.sleep(10)
    assert len(there.openclaw.names) == 3
    await trio.sleep(100)
    assert (there.openclaw.names, there.openclaw.providers) == ({"keeper"}, {"theirs"})
    assert there.gateway.ending


async def test_another_swarm_s_agents_stay_and_a_stranger_s_are_not_touched(there, autojump_clock) -> None:
    agents, others = there.swarm("a"), there.swarm("b", swarm_id="bbbbbb")
    there.openclaw.names |= {"zzzzzz-001-0a0b0c", "aaaaaa-001"}
    there.go()
    await add(there, agents[0], others[0])
    there.end_swarm()
    await trio.sleep(30)
    left = {"keeper", "zzzzzz-001-0a0b0c", "aaaaaa-001", *map(there.name, others)}
    assert there.openclaw.names == left
    assert not there.gateway.ending


async def test_it_is_not_written_to_more_often_than_it_takes(there, autojump_clock) -> None:
    swarms = [f"aaaa{number:02d}" for number in range(WRITES_MAX + 5)]
    agents = [there.swarm("a", agents=1, swarm_id=each)[0] for each in swarms]
    there.go()
    for each in agents:
        await there.gateway.add(each)
    times = [at for at, _, _ in there.openclaw.patches]
    assert len(times) == len(agents)
    assert max(len([at for at in times if now <= at < now + WRITES_S]) for now in times) <= WRITES_MAX


async def test_a_write_that_came_in_between_is_no_reason_to_fail(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.openclaw.refusals = [CHANGED, CHANGED]
    there.go()
    await there.gateway.add(agents[0])
    assert len(there.openclaw.patches) == 1
    (other, made) = there.swarm("b", swarm_id="bbbbbb", agents=1)[0], there.doors.made
    there.openclaw.refusals = [CHANGED] * added_gateway.TRIES_MAX
    with pytest.raises(GatewayRefused):
        await there.gateway.add(other)
    await there.gateway.add(other)
    assert there.doors.made == made + 1


async def test_another_start_of_it_ends_what_ran_in_the_former(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.go()
    await there.gateway.add(agents[0])
    first, before = there.openclaw.boot_id, there.name(agents[0])
    await there.gateway.connected(first)
    there.openclaw.boot_id = "boot-2"
    there.openclaw.cut()
    await trio.sleep(5)
    with pytest.raises(GatewayGone, match="begun again"):
        await there.gateway.connected(first)
    assert (there.doors.keys_of, there.doors.held) == ({}, False)
    await trio.sleep(10)
    assert before not in there.openclaw.names  # it went before anybody came
    await there.gateway.add(agents[0])
    assert there.name(agents[0]) in there.openclaw.names


async def test_one_that_returns_as_it_was_ends_what_was_given_up_meanwhile(there, autojump_clock) -> None:
    there.swarm("a")
    there.go()
    await there.gateway.connected()
    (row,) = attempts.open_attempts(there.bed.scene.db)
    there.bed.scene.do(lambda tx: attempts.set_place_boot(tx, row.launch_id, there.openclaw.boot_id))
    there.openclaw.there = False
    there.openclaw.cut()
    await trio.sleep(1)
    assert (there.probes.hurried, there.doors.held) == (["desk"], True)
    there.bed.scene.start(added_claim(row))
    there.bed.scene.end(added_claim(row), "lost", "it is dead")
    busy = protocol.Fault("UNAVAILABLE", "busy", True, 200)
    there.openclaw.abort_refusals = [GatewayRefused("sessions.abort", busy)] * 100
    there.openclaw.there = True
    await trio.sleep(60)
    assert there.doors.held  # its calls would be those of the agent's next attempt
    there.openclaw.abort_refusals = []
    await there.gateway.connected(there.openclaw.boot_id)
    session = openclaw_gateway.session_key(row.agent_id, row.id, there.gateway.tag)
    assert there.openclaw.aborted == [session]


async def test_who_comes_in_is_written_down_as_in_this_start_and_behind_no_walls(there) -> None:
    there.swarm("a")
    (row,) = attempts.open_attempts(there.bed.scene.db)
    there.bed.scene.do(lambda tx: there.gateway.enter(tx, row.launch_id, "boot-1"))
    found = attempts.launch(there.bed.scene.db, row.launch_id)
    assert (found.within, found.place_boot, found.grade, found.jail) == (None, "boot-1", "0", None)


def _begin(there: There, agent: str) -> AttemptRow:
    """Its attempt is in, under the name that it has now."""
    row = attempts.open_of_agent(there.bed.scene.db, agent)
    assert row is not None
    there.bed.scene.do(lambda tx: there.gateway.enter(tx, row.launch_id, there.gateway.start_of(agent)))
    there.bed.scene.start(added_claim(row))
    return row


async def test_an_agent_of_which_nothing_works_any_more_gets_another_name(there, autojump_clock) -> None:
    agent, other = there.swarm("a", "b")
    there.go()
    await add(there, agent, other)
    gateway, first = there.gateway, there.name(agent)
    row = _begin(there, agent)
    assert gateway.renew(agent, first)
    assert gateway.renew(agent, first)  # said once more, of the same name
    there.bed.scene.end(added_claim(row), "failed", "the gateway did not take its turn")
    (claim,) = there.again()
    await gateway.add(agent, gateway.tag_for(agent))
    second = openclaw_gateway.agent_name(agent, gateway.tag_for(agent))
    assert second != first
    assert {first, second, there.name(other)} <= there.openclaw.names  # its task may still want the first
    assert there.doors.made == 2  # and the way to a model is that of the agent, whatever it is called
    row = _begin(there, agent)
    assert row.id == claim.attempt_id
    await gateway.connected(attempts.launch(there.bed.scene.db, row.launch_id).place_boot)
    assert not gateway.renew(agent, second)  # another name does not help
    there.bed.scene.end(added_claim(row))
    await trio.sleep(60)
    assert there.openclaw.names & {first, second} == set()
    assert there.name(other) in there.openclaw.names


async def test_another_dashd_knows_the_names_and_another_start_begins_with_the_first(
    there, autojump_clock
) -> None:
    (agent,) = there.swarm("a", agents=1)
    row = attempts.open_of_agent(there.bed.scene.db, agent)
    assert row is not None
    tag = openclaw_gateway.tag_of("boot-1~1")
    there.bed.scene.do(lambda tx: there.gateway.enter(tx, row.launch_id, "boot-1~1"))  # an earlier dashd
    there.bed.scene.start(added_claim(row))
    there.go()
    await there.gateway.connected("boot-1~1")
    await add(there, agent)
    assert openclaw_gateway.agent_name(agent, tag) in there.openclaw.names
    assert there.gateway.tag_for(agent) == tag != there.gateway.tag
    there.bed.scene.end(added_claim(row), "lost", "it was given up")
    there.openclaw.cut()
    await trio.sleep(5)
    assert there.openclaw.aborted == [openclaw_gateway.session_key(agent, row.id, tag)]
    there.openclaw.boot_id = "boot-2"
    there.openclaw.cut()
    await trio.sleep(5)
    assert there.gateway.tag_for(agent) == there.gateway.tag


async def test_nobody_waits_for_one_that_is_dead_or_cannot_be_connected_to(there, autojump_clock) -> None:
    there.swarm("a")
    there.openclaw.there = False
    there.go()
    with trio.move_on_after(CONNECT_S_MAX - 10) as waited:
        await there.gateway.connected()
    assert waited.cancelled_caught
    with pytest.raises(GatewayGone, match="could not be connected to"):
        await there.gateway.connected()
    there.openclaw.there = True
    await trio.sleep(10)
    await there.gateway.connected()
    there.openclaw.there = False
    there.openclaw.cut()
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(GatewayGone, match="no answer"):
                await there.gateway.connected()

        nursery.start_soon(wait)
        await trio.sleep(1)
        there.probes.say("dead", "no answer")


@pytest.mark.parametrize("begun", [False, True])
async def test_nobody_waits_for_ever_for_one_that_lets_dashd_in_and_refuses_the_rest(
    there, autojump_clock, begun
) -> None:
    there.swarm("a")
    there.go()
    if begun:
        await there.gateway.connected()
        there.openclaw.cut()
    suspended = protocol.Fault("UNAVAILABLE", "suspended", True, 1_000)
    there.openclaw.refuses = GatewayRefused("config.get", suspended)
    await trio.sleep(1)
    most_s = BEGUN_S_MAX if begun else CONNECT_S_MAX
    with trio.fail_after(most_s + 20), pytest.raises(GatewayGone, match="could not be connected to"):
        await there.gateway.connected(there.openclaw.boot_id if begun else None)
    for _ in range(100):  # it is let in again and again meanwhile
        await trio.sleep(0.3)
        with trio.fail_after(0.1), pytest.raises(GatewayGone):
            await there.gateway.connected()
    there.openclaw.refuses = None
    await trio.sleep(10)
    await there.gateway.connected()


async def test_one_that_stands_still_is_let_go_of_and_one_that_is_only_busy_is_not(
    there, autojump_clock
) -> None:
    there.swarm("a")
    there.go()
    client = await there.gateway.connected()
    await trio.sleep(SILENT_S_MAX + 10)
    assert not client.lost.is_set()  # nobody has asked, and the probes are content
    client.heard_at = trio.current_time()
    there.probes.say("dead", "no answer")
    for _ in range(10):
        await trio.sleep(SILENT_S_MAX - 1)
        client.heard_at = trio.current_time()
        there.probes.say("dead", "no answer again")
    assert await there.gateway.connected() is client  # it ticks
    there.openclaw.there = False
    await trio.sleep(SILENT_S_MAX + 1)
    assert client.lost.is_set()
    with trio.fail_after(1), pytest.raises(GatewayGone, match="it is dead: no answer"):
        await there.gateway.connected()


async def _lost_after_s(there: There) -> float:
    began = trio.current_time()
    with trio.fail_after(2 * BEGUN_S_MAX), pytest.raises(GatewayGone, match="it is dead"):
        await there.gateway.connected(there.openclaw.boot_id)
    return trio.current_time() - began


async def _goes_away(there, why: str, *, ended: bool = False) -> None:
    """Its connection ends, and it counts as dead a moment later."""
    there.openclaw.there = False
    there.openclaw.cut()
    await trio.sleep(1)
    there.probes.say("dead", why, ended=ended)


async def test_what_has_begun_waits_while_one_only_says_nothing(there, autojump_clock) -> None:
    there.swarm("a")
    there.go()
    await there.gateway.connected()
    await _goes_away(there, "no answer within 5 s")
    with trio.fail_after(1), pytest.raises(GatewayGone, match="it is dead"):
        await there.gateway.connected()  # nothing new goes there
    with trio.move_on_after(100) as waited:
        await there.gateway.connected(there.openclaw.boot_id)
    assert waited.cancelled_caught
    there.openclaw.there = True
    with trio.fail_after(10):
        await there.gateway.connected(there.openclaw.boot_id)
    await _goes_away(there, "no answer within 5 s")
    assert BEGUN_S_MAX - 2 <= await _lost_after_s(there) <= BEGUN_S_MAX


async def test_what_an_earlier_dashd_began_waits_as_long(there, autojump_clock) -> None:
    there.swarm("a")
    there.openclaw.there = False
    there.probes.say("dead", "no answer within 5 s")
    there.go()
    assert await _lost_after_s(there) == pytest.approx(BEGUN_S_MAX, abs=1)


async def test_what_ran_in_one_that_has_ended_is_lost_at_once(there, autojump_clock) -> None:
    there.swarm("a")
    there.go()
    await there.gateway.connected()
    await _goes_away(there, "Connection refused", ended=True)
    assert await _lost_after_s(there) < 1


async def test_agents_that_begin_in_it_keep_no_other_program_from_starting(there) -> None:
    for _ in range(100):
        with contextlib.suppress(trio.WouldBlock):
            there.gateway.starts.acquire_nowait()
            there.fresh().starts.acquire_nowait()  # nor those of another one
    there.world.starts.acquire_nowait()


async def test_without_a_token_it_is_tried_again(there, autojump_clock) -> None:
    there.swarm("a")
    there.probes.missing = True
    there.go()
    await trio.sleep(1)
    there.probes.missing = False
    with trio.fail_after(10):
        await there.gateway.connected()


async def test_the_port_is_kept_and_where_it_is_lost_all_are_told_again(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.go()
    await there.gateway.add(agents[0])
    row = added_gateways.find(there.bed.scene.db, "desk")
    assert (row.port, there.doors.asked) == (4_000, [None])
    again = there.gateway = there.fresh()  # as after a restart of dashd
    there.go()
    await again.add(agents[0])
    assert (there.doors.asked, len(there.openclaw.patches)) == ([None, 4_000], 1)
    there.doors.port = 5_000
    moved = there.gateway = there.fresh()
    there.go()
    await moved.add(agents[0])
    _, told, _ = there.openclaw.patches[-1]
    assert {each["baseUrl"] for each in told["models"]["providers"].values()} == {"http://127.0.0.1:5000/v1"}
    assert added_gateways.find(there.bed.scene.db, "desk").port == 5_000


async def test_how_a_call_failed_is_in_the_end_of_its_log(there, autojump_clock) -> None:
    there.swarm("a")
    there.go()
    line = b"embedded run agent end: runId=%s isError=true error=- rawError=400 dash: no"
    there.openclaw.lines = [line % b"r1", line % b"r2", b"else"]
    assert await there.gateway.raw("r2", 2.0) == "400 dash: no"
    assert await there.gateway.raw("r3", 2.0) == ""


async def test_one_that_was_removed_is_let_go_of_and_keeps_nothing(there, autojump_clock) -> None:
    agents = there.swarm("a")
    there.go()
    await there.gateway.add(agents[0])
    there.bed.scene.do(lambda tx: added_gateways.remove(tx, "desk"))
    await trio.sleep(5)
    assert (there.gateway.ending, there.doors.was_shut, there.openclaw.names) == (True, True, {"keeper"})
    with pytest.raises(GatewayGone, match="removed"):
        await there.gateway.connected()
    with pytest.raises(GatewayLost):
        await there.gateway._token()
