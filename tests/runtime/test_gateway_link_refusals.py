"""Attempts in a gateway that refuses what is asked of it, is away, or does not end what it is told to."""

import pytest
import trio

from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.drivers.openclaw_protocol import Fault, Session
from dashd.jail.holder_link import HolderGone
from dashd.runtime import gateway_entry
from dashd.runtime.gateway_link import ABORT_S_MAX, BEGIN_S_MAX, FIRST, first_run, run_of
from dashd.runtime.gateway_refusals import ANSWER_S_MAX, TAKE_S_MAX
from dashd.runtime.gateway_warmth import ASK_AGAIN_S
from dashd.store import attempts, gateways
from dashd.store.queue import Claim
from tests.fakes.gateway_attempts import (
    ABORTED,
    CLAIM,
    DRAINS,
    NOT_SO,
    OK,
    RUN,
    Bed,
    link_to,
    plan_of,
    settled,
)
from tests.fakes.scene import SWARM


async def test_what_may_be_tried_again_is(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    busy = GatewayRefused("agent", Fault("UNAVAILABLE", "busy", True, 200))
    bed.gateway.client.refusals = [busy, busy]
    bed.gateway.client.ended[RUN] = OK
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == [RUN]


async def test_a_refusal_for_good_is_said(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.client.refusals = [GatewayRefused("agent", Fault("INVALID_REQUEST", "unknown agent"))]
    await bed.give(1, "turn:1")
    await settled()
    (turned,) = bed.heard.of("turned")
    assert "unknown agent" in turned["error"]


async def test_a_run_goes_on_while_its_gateway_refuses_all_that_is_asked(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    await bed.give(1, "turn:1")
    await settled()
    client.refuses = DRAINS
    client.changed.set()
    await trio.sleep(315)  # so long a real one drains
    assert (bed.heard.of("turned"), client.aborted) == ([], 0)
    client.refuses = None
    client.end(RUN, OK)
    await settled()
    assert [(each["text"], each["error"]) for each in bed.heard.of("turned")] == [("fine", "")]
    assert client.started == [RUN]


@pytest.mark.parametrize("refusal", [DRAINS, NOT_SO])
@pytest.mark.parametrize("replayed", [0, 1])
async def test_one_that_never_says_how_a_run_stands_is_lost_and_not_answered(
    nursery, autojump_clock, replayed, refusal
) -> None:
    bed = Bed(nursery, replayed=replayed)
    client = bed.gateway.client
    client.refuses = refusal if replayed else None
    await bed.give(1, "turn:1")
    await settled()
    client.refuses = refusal
    client.changed.set()
    with trio.fail_after(2 * ANSWER_S_MAX), pytest.raises(HolderGone):
        await bed.link.receive()
    assert bed.heard.of("turned") == []


async def test_a_run_that_is_found_at_work_has_begun_though_nobody_says_it_again(
    nursery, autojump_clock
) -> None:
    bed = Bed(nursery, replayed=1)
    bed.gateway.client.fresh = False
    await bed.give(1, "turn:1")
    await settled()
    assert len(bed.heard.of("begun")) == 1


async def test_one_that_was_taken_without_an_answer_has_begun_though_nobody_says_it(
    nursery, autojump_clock
) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    client.slow_s = BEGIN_S_MAX + 1
    await bed.link.take_turn()
    await bed.give(1, "turn:1")
    await trio.sleep(BEGIN_S_MAX / 2)
    client.slow_s, client.fresh = 0, False
    await trio.sleep(BEGIN_S_MAX)
    assert (client.started, len(bed.heard.of("begun"))) == ([RUN], 1)


async def test_one_that_may_have_been_taken_is_lost_where_it_is_refused_afterwards(
    nursery, autojump_clock
) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    client.slow_s = BEGIN_S_MAX + 1  # it is asked, and nobody hears an answer
    await bed.link.take_turn()
    await bed.give(1, "turn:1")
    await settled()
    client.refusals = [DRAINS] * 1_000
    with trio.fail_after(BEGIN_S_MAX + 2 * TAKE_S_MAX), pytest.raises(HolderGone):
        await bed.link.receive()
    assert bed.heard.of("turned") == []


async def test_what_is_refused_for_longer_is_not_asked_for_again_at_once(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=1)
    later = GatewayRefused("agent", Fault("UNAVAILABLE", "later", True, 2_000 * round(TAKE_S_MAX)))
    bed.gateway.client.refusals = [later] * 10
    began = trio.current_time()
    await bed.give(1, "turn:1")
    with pytest.raises(HolderGone):
        await bed.link.receive()
    assert trio.current_time() - began >= TAKE_S_MAX


async def test_a_first_turn_that_is_refused_for_now_has_not_begun(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.client.refusals = [DRAINS] * 1_000
    await bed.give(1, "turn:1")
    await trio.sleep(TAKE_S_MAX + 5)
    (turned,) = bed.heard.of("turned")
    assert (turned["unbegun"], "during gateway restart" in turned["error"]) == (True, True)
    assert len(bed.gateway.shunned) == 1


async def test_a_later_turn_that_is_refused_for_now_is_given_over_the_next_connection(
    nursery, autojump_clock
) -> None:
    bed = Bed(nursery)
    bed.gateway.client.refusals = [DRAINS] * 1_000
    await bed.give(1, "turn:2")
    with trio.fail_after(TAKE_S_MAX + 5), pytest.raises(HolderGone):
        await bed.link.receive()
    assert bed.heard.of("turned") == []


async def test_nor_is_a_first_turn_unbegun_that_may_have_been_given_before(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=1)
    bed.gateway.client.refusals = [DRAINS] * 1_000
    await bed.give(1, "turn:1")
    with trio.fail_after(TAKE_S_MAX + 5), pytest.raises(HolderGone):
        await bed.link.receive()
    assert bed.heard.of("turned") == []


@pytest.mark.parametrize("takes_it", [True, False])
async def test_one_that_does_not_begin_keeps_no_other_waiting_for_long(
    nursery, autojump_clock, takes_it
) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    client.slow_s = BEGIN_S_MAX - 10 if takes_it else 1_000
    await bed.link.take_turn()
    await bed.give(1, "turn:1")
    second = link_to(bed.gateway, claim=Claim("s-t2.1", "s-002", "s-t2", "s"))
    with trio.fail_after(BEGIN_S_MAX + 1):
        await second.take_turn()
    client.slow_s = 0
    await trio.sleep(1_100)
    assert client.started == [RUN]
    client.end(RUN, OK)
    await settled()
    assert [frame["text"] for frame in bed.heard.of("turned")] == ["fine"]


BUSY = GatewayRefused("sessions.abort", Fault("UNAVAILABLE", "busy", True, 200))
RESTARTS = GatewayRefused("sessions.abort", Fault("UNAVAILABLE", "during gateway restart"))


async def test_a_stop_that_is_refused_for_now_is_tried_again(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    await bed.give(1, "turn:1")
    await settled()
    bed.gateway.client.abort_refusals = [BUSY, RESTARTS, BUSY]
    await bed.link.stop(0)
    assert (bed.gateway.client.aborted, bed.gateway.given_up) == (4, [])


async def test_a_stop_is_not_repeated_where_nothing_of_it_is_there(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    await bed.give(1, "turn:1")
    await settled()
    unknown = Fault("INVALID_REQUEST", "unknown session")
    bed.gateway.client.abort_refusals = [GatewayRefused("sessions.abort", unknown)]
    await bed.link.stop(0)
    assert (bed.gateway.client.aborted, bed.gateway.given_up) == (1, [])


async def test_a_gateway_that_stands_still_is_ended(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.speaks = False
    await bed.give(1, "turn:1")
    await settled()
    bed.gateway.client.abort_refusals = [GatewayLost("no answer to sessions.abort")] * 1_000
    began = trio.current_time()
    with trio.fail_after(ABORT_S_MAX + 1):
        await bed.link.stop(0)
    (why,) = bed.gateway.given_up
    assert "no answer" in why
    assert bed.gateway.asked_since == began


@pytest.mark.parametrize("own", [True, False])
async def test_after_a_run_that_cannot_be_ended_nobody_comes_in_its_place(
    nursery, autojump_clock, own
) -> None:
    bed = Bed(nursery)
    client, warmth = bed.gateway.client, bed.gateway.warmth
    bed.gateway.own, bed.gateway.speaks = own, own  # in an added one, whether it speaks or not
    await bed.give(1, "turn:1")
    await settled()
    client.session = Session("running", RUN)
    client.abort_refusals = [BUSY] * 1_000
    with trio.fail_after(ABORT_S_MAX + 1):
        await bed.link.stop(0)
    assert (len(bed.gateway.given_up), warmth.left.ticket().is_set()) == (int(not own), False)
    with pytest.raises(trio.TooSlowError):
        await gateway_entry._resumes(bed.gateway, CLAIM, plan_of("s-t1.2"), "")  # type: ignore[arg-type]
    with pytest.raises(trio.TooSlowError):
        await warmth.end_left(client)  # type: ignore[arg-type]
    client.abort_refusals = []
    await gateway_entry._resumes(bed.gateway, CLAIM, plan_of("s-t1.2"), "")  # type: ignore[arg-type]
    client.session, aborted = Session("running", "the next one's"), client.aborted
    await warmth.enter(client, "s-001", "s-001")  # type: ignore[arg-type]
    await warmth.end_left(client)  # type: ignore[arg-type]
    assert client.aborted == aborted


async def test_a_run_that_is_being_taken_at_a_stop_is_ended_once_it_is(nursery, autojump_clock) -> None:
    """Before that there is nothing to end: told so, whoever took it for an end would have it done later."""
    bed = Bed(nursery)
    client = bed.gateway.client
    client.slow_s = ABORT_S_MAX - 10
    await bed.give(1, "turn:1")
    await trio.sleep(1)
    began = trio.current_time()
    await bed.link.stop(0)
    assert trio.current_time() - began == pytest.approx(client.slow_s - 1)
    assert (client.started, client.ended, client.aborted) == ([RUN], {RUN: ABORTED}, 1)
    assert (bed.gateway.given_up, bed.gateway.warmth.is_left("s-001")) == ([], False)
    await settled()
    assert bed.heard.of("turned") == []


@pytest.mark.parametrize("replayed", [0, 1])
async def test_until_one_that_may_be_taken_later_is_over_nobody_comes_in_its_place(
    nursery, autojump_clock, replayed
) -> None:
    """It was asked for over this connection, or over one before it, maybe of another dashd."""
    bed = Bed(nursery, replayed=replayed)
    client, warmth = bed.gateway.client, bed.gateway.warmth
    client.slow_s = 1_000
    await bed.give(1, "turn:1")
    await trio.sleep(1)
    with trio.fail_after(ABORT_S_MAX + 1):
        await bed.link.stop(0)
    assert warmth.is_left("s-001")

    async def take_it_late() -> None:
        await trio.sleep(10)
        client.started.append(RUN)

    nursery.start_soon(take_it_late)
    began = trio.current_time()
    await gateway_entry._resumes(bed.gateway, CLAIM, plan_of("s-t1.2"), "")  # type: ignore[arg-type]
    assert client.ended == {RUN: ABORTED}
    assert 10 <= trio.current_time() - began < ASK_AGAIN_S
    assert client.started == [RUN]


async def test_nor_before_it_is_known_never_to_be_taken(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    client.slow_s = 1_000
    await bed.give(1, "turn:1")
    await trio.sleep(1)
    await bed.link.stop(0)
    client.slow_s, began = 0, trio.current_time()
    assert client.started == []
    await bed.gateway.warmth.end_left(client)  # type: ignore[arg-type]
    assert (client.started, client.ended) == ([RUN], {RUN: ABORTED})  # under that name nothing comes any more
    assert trio.current_time() - began >= ASK_AGAIN_S


async def test_a_second_answer_says_nothing_of_the_first_one_s_run(nursery, autojump_clock) -> None:
    """Asked for by an earlier dashd, and asked again: a refusal for now is of this request alone."""
    bed = Bed(nursery, replayed=1)
    bed.gateway.client.refusals = [DRAINS] * 1_000
    await bed.give(1, "turn:1")
    await settled()
    await bed.link.stop(0)
    assert bed.gateway.warmth.is_left("s-001")


async def test_nothing_is_asked_for_any_more_after_a_stop(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    client.refusals, client.abort_refusals = [DRAINS], [BUSY] * 10
    await bed.give(1, "turn:1")
    await trio.sleep(0.5)
    await bed.link.stop(0)
    await settled()
    assert (client.refusals, client.started) == ([], [])


@pytest.mark.parametrize("session", [None, Session("done", "the turn before it")])
async def test_the_end_that_was_given_is_no_end_of_a_run_that_may_be_taken_yet(
    nursery, autojump_clock, session
) -> None:
    bed = Bed(nursery, replayed=2)
    bed.gateway.client.session = session
    await bed.give(1, "turn:1")
    await bed.link.send_input(2, b"", eof=True)
    await bed.link.receive()
    assert bed.gateway.warmth.is_left("s-001")


async def test_after_a_restart_of_dashd_a_run_that_may_be_taken_is_known_by_its_name(bed) -> None:
    scene = bed.scene
    scene.swarm("a", "b", agents_made=1, mode="gateway", driver="openclaw")
    row = scene.do(lambda tx: gateways.insert(tx, SWARM, "t"))
    (first,) = scene.claim()
    scene.do(lambda tx: gateways.enter(tx, first.attempt_id, row.launch_id))
    scene.start(first)
    scene.do(lambda tx: attempts.ask_stop(tx, first.attempt_id, "cancel"))
    scene.end(first, "failed")
    over = scene.attempt(first)
    run_id = run_of(first.attempt_id, FIRST)
    assert (first_run(scene.db, over, over.launch_id), first_run(scene.db, over, "another")) == (run_id, "")
    (second,) = scene.claim()
    assert first_run(scene.db, over, over.launch_id) == run_id
    scene.do(lambda tx: gateways.enter(tx, second.attempt_id, row.launch_id))
    assert first_run(scene.db, over, over.launch_id) == run_id, "that one still waits for it"
    scene.start(second)
    assert first_run(scene.db, over, over.launch_id) == ""  # it came in when that was over


async def test_what_never_started_was_never_asked_for(bed) -> None:
    scene = bed.scene
    scene.swarm("a", agents_made=1, mode="gateway", driver="openclaw")
    row = scene.do(lambda tx: gateways.insert(tx, SWARM, "t"))
    (claim,) = scene.claim()
    scene.do(lambda tx: gateways.enter(tx, claim.attempt_id, row.launch_id))
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "requeue"))
    scene.end(claim, "never", "stopped before it started")
    over = scene.attempt(claim)
    assert first_run(scene.db, over, over.launch_id) == ""
