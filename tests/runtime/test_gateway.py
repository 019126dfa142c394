"""What a gateway may use, how its end reads, and what is remembered of its log.

Its life, with a stand-in in a jail and dashd killed around it, is in tests/whole/test_gateway.py.
"""

import msgspec
import pytest
import trio

from dashd.drivers import Programs, openclaw_gateway
from dashd.drivers.openclaw_client import GatewayRefused
from dashd.drivers.openclaw_gateway import session_key
from dashd.drivers.openclaw_protocol import Fault, Session
from dashd.jail.launch import Walls
from dashd.jail.launch_folder import ExitRecord
from dashd.jail.launcher import LaunchFailed
from dashd.runtime import gateway, gateway_state
from dashd.runtime.gateway import Gateway
from dashd.runtime.gateway_connection import DRAIN_S_MAX, GatewayGone
from dashd.runtime.gateway_link import FIRST, run_of
from dashd.runtime.gateway_warmth import REST_S_MAX
from dashd.runtime.write_pace import WRITES_MAX, WRITES_S
from dashd.store import attempts, gateways, seats
from tests.fakes.gateway_attempts import FakeClient
from tests.fakes.scene import SWARM, swarm_row

RECORD = ExitRecord(None, 9, "exit", None, 0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (RECORD, "it ended (signal 9)"),
        (msgspec.structs.replace(RECORD, code=3, signal=None), "it ended (exit code 3)"),
        (msgspec.structs.replace(RECORD, breach="used more than 1 GiB"), "used more than 1 GiB"),
        (msgspec.structs.replace(RECORD, reason="lease"), "dashd was away longer than its lease"),
        (msgspec.structs.replace(RECORD, reason="start", error="no bwrap"), "could not start: no bwrap"),
    ],
)
def test_how_it_ended(record, words) -> None:
    assert gateway._how(record) == words


async def test_its_bounds_are_those_of_all_its_agents(bed) -> None:
    row = swarm_row(bounds='{"processes": 10, "memory_mb": 64, "cpu_s": 5}', walls="required")
    one, many = (gateway._asked(bed.world, row, seats).bounds for seats in (1, 20))
    assert (one.processes, many.processes) == (10, 200)
    assert many.memory_bytes - one.memory_bytes == 19 * gateway.EACH_BYTES
    assert (one.tmp_bytes, one.cpu_s) == (gateway.TMP_BYTES, None)


async def test_the_log_says_why_calls_failed(bed, autojump_clock) -> None:
    made = Gateway(bed.world, Programs(), "s", None)
    line = b"x embedded run agent end: runId=r1 isError=true error=- rawError=400 no"
    made._note([line, b"something else"])
    assert await made.raw("r1", 1.0) == "400 no"


async def test_without_its_program_it_says_what_is_missing_and_what_to_run(bed) -> None:
    bed.world.jails._walls = Walls("B", "/usr/bin/bwrap", 7)
    swarm_id = bed.scene.swarm(agents_made=0, driver="openclaw", mode="gateway")
    made = Gateway(bed.world, Programs(), swarm_id, None)
    await made.run()
    with pytest.raises(GatewayGone) as gone:
        await made.connected()
    assert str(gone.value) == (
        "could not start: openclaw is neither installed nor configured;"
        " dashctl program install openclaw, or set programs.openclaw to the one you have"
    )


async def test_walls_that_are_doubted_while_it_is_made_ready_are_those_it_was_to_have(
    bed, monkeypatch, tmp_path
) -> None:
    """Another start has failed meanwhile, so that the machine is asked again before the next one."""
    for name in ("node", "openclaw"):
        (tmp_path / name).write_text("")
    found = Programs(None, {name: str(tmp_path / name) for name in ("node", "openclaw")})
    bed.world.jails._walls = Walls("B", "/usr/bin/bwrap", 7)
    swarm_id, begin = bed.scene.swarm(agents_made=0, driver="openclaw", mode="gateway"), list[str]()
    made = Gateway(bed.world, found, swarm_id, None)

    async def doubted(world, swarm_id):
        world.jails.doubt()
        begin.append(swarm_id)
        return "/state"

    monkeypatch.setattr(gateway_state, "begin", doubted)
    bed.launcher.refusal = LaunchFailed("as far as that")
    with pytest.raises(LaunchFailed, match="as far as that"):
        await made._launch()
    assert begin == [made.swarm_id]
    assert bed.launcher.specs[0].jail is None, "as a swarm without walls has it"


async def test_only_a_gateway_of_dash_s_own_is_ended_because_it_works_no_more(bed, there) -> None:
    own, added = Gateway(bed.world, Programs(), "s", None), there.gateway
    assert (added.give_up("it is sick"), own.give_up("it is sick")) == (False, True)
    assert (added.ending, own.ending) == (False, True)
    with pytest.raises(GatewayGone, match="it is sick"):
        await own.connected()


async def test_who_comes_in_is_written_down_as_in_this_one_and_behind_its_walls(bed) -> None:
    scene = bed.scene
    scene.swarm("a", "b", agents_made=2, mode="gateway", driver="openclaw")
    made = Gateway(bed.world, Programs(), SWARM, scene.do(lambda tx: gateways.insert(tx, SWARM, "t")))
    first, second = scene.claim()
    scene.do(lambda tx: made.enter(tx, first.attempt_id, None))
    assert attempts.launch(scene.db, first.attempt_id).grade is None  # nobody knows them yet
    made.grade, made.shown = "B", "{}"
    scene.do(lambda tx: made.enter(tx, second.attempt_id, None))
    row = attempts.launch(scene.db, second.attempt_id)
    assert (row.within, row.place_boot, row.grade, row.jail) == (made.launch_id, None, "B", "{}")


async def test_a_run_that_does_not_end_takes_the_gateway_with_it(bed, nursery, autojump_clock) -> None:
    made, client = Gateway(bed.world, Programs(), "s", None), FakeClient()
    made._client = client  # type: ignore[assignment]
    client.session, client.aborts_needed = Session("running", None), 1_000
    nursery.start_soon(made._end_what_is_left)
    await trio.sleep(1_000)
    assert not made.ending
    made.warmth.leave_working("s-001", "agent:s-001:x")
    await trio.sleep(REST_S_MAX - 1)
    assert not made.ending  # it may only be slow
    await trio.sleep(2)
    assert made.ending


async def test_nor_does_one_that_never_says_whether_a_run_has_ended_stay(
    bed, nursery, autojump_clock
) -> None:
    made, client = Gateway(bed.world, Programs(), "s", None), FakeClient()
    made._client = client  # type: ignore[assignment]
    nursery.start_soon(made._end_what_is_left)
    await trio.sleep(1_000)
    client.refuses = GatewayRefused("sessions.describe", Fault("INTERNAL", "its database is locked"))
    made.warmth.leave_working("s-001", "agent:s-001:x")
    await trio.sleep(DRAIN_S_MAX - 1)
    assert not made.ending  # it may only drain
    await trio.sleep(3)
    assert made.ending
    made._client = None
    with pytest.raises(GatewayGone, match="database is locked"):
        await made.connected()


async def test_after_a_restart_of_dashd_it_is_asked_for_runs_that_were_stopped(bed) -> None:
    scene = bed.scene
    scene.swarm("a", "b", "c", agents_made=3, mode="gateway", driver="openclaw")
    row = scene.do(lambda tx: gateways.insert(tx, SWARM, "t"))
    first, second, _ = claims = scene.claim()
    for claim in claims:
        scene.do(lambda tx, claim=claim: gateways.enter(tx, claim.attempt_id, row.launch_id))
        scene.start(claim)
    scene.do(lambda tx: attempts.ask_stop(tx, first.attempt_id, "kill"))
    scene.end(first, "failed")
    scene.end(second, "lost")  # which is gone on with
    left = Gateway(bed.world, Programs(), SWARM, row)._sessions_left(scene.db)
    key = session_key(first.agent_id, first.attempt_id)
    assert left == [(first.agent_id, key, run_of(first.attempt_id, FIRST))]


async def test_many_that_join_in_a_minute_wait_and_come_in_together(bed, autojump_clock, monkeypatch) -> None:
    class Client:
        def __init__(self) -> None:
            self.patches: list[tuple[float, list[str]]] = []

        async def patch(self, seats: list[str]) -> None:
            await trio.lowlevel.checkpoint()
            self.patches.append((trio.current_time(), seats))

    async def seats_of(_swarm, fresh) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [seat.id for seat in fresh]

    bed.scene.swarm(agents_made=1)
    made = Gateway(bed.world, Programs(), SWARM, None)
    client = made._client = Client()  # type: ignore[assignment]
    monkeypatch.setattr(made, "_seats", seats_of)
    monkeypatch.setattr(openclaw_gateway, "change", lambda seats: seats)
    async with trio.open_nursery() as nursery:
        for number in range(2, 62):
            bed.scene.do(lambda tx: seats.add(tx, SWARM, 1))
            nursery.start_soon(made.add, f"{SWARM}-{number:03d}")
            await trio.sleep(0.1)
    assert len({each for _, fresh in client.patches for each in fresh}) == 61
    assert len(client.patches) == WRITES_MAX + 1
    assert client.patches[-1][0] == pytest.approx(WRITES_S)
