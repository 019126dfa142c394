"""Agents are warmed ahead by a run that nothing comes of, which never passes for one of an attempt's."""

import pytest
import trio

from dashd.drivers.openclaw_client import GatewayRefused
from dashd.drivers.openclaw_protocol import Fault, Session, Waited
from dashd.runtime import gateway_warmth
from dashd.runtime.gateway_warmth import Warmth, at_rest
from tests.fakes.gateway_attempts import FakeClient

AGENT, RUN = "s-001", "s-g1:warm:s-001"
REFUSED = Waited("error", 1.0, error="400")


async def test_an_agent_is_warm_once_its_run_was_refused(autojump_clock) -> None:
    warmth, client = Warmth(), FakeClient()
    client.end(RUN, REFUSED)
    assert warmth.cold([AGENT, "s-002"]) == [AGENT, "s-002"]
    await warmth.make_warm(client, AGENT, "s-g1")  # type: ignore[arg-type]
    assert client.started == [RUN]
    assert warmth.cold([AGENT, "s-002"]) == ["s-002"]


async def test_an_attempt_waits_until_the_run_is_over(nursery, autojump_clock) -> None:
    warmth, client = Warmth(), FakeClient()
    nursery.start_soon(warmth.make_warm, client, AGENT, "s-g1")
    await trio.sleep(5)
    with trio.move_on_after(50) as waited:
        await warmth.enter(client, AGENT, AGENT)  # type: ignore[arg-type]
    assert waited.cancelled_caught
    client.end(RUN, REFUSED)
    await warmth.enter(client, AGENT, AGENT)  # type: ignore[arg-type]
    assert client.aborted == 0


async def test_an_attempt_ends_a_run_that_was_cut_off(autojump_clock) -> None:
    warmth, client = Warmth(), FakeClient()
    client.session = Session("running", None)
    await warmth.enter(client, AGENT, AGENT)  # type: ignore[arg-type]
    assert client.aborted == 1
    assert warmth.cold([AGENT]) == []  # its attempt warms it


async def test_one_that_takes_too_long_or_is_refused_is_left_to_its_attempt(autojump_clock) -> None:
    warmth, client = Warmth(), FakeClient()
    await warmth.make_warm(client, AGENT, "s-g1")  # type: ignore[arg-type]
    client.refusals = [GatewayRefused("agent", Fault("INVALID_REQUEST", "unknown agent"))]
    await warmth.make_warm(client, "s-002", "s-g1")  # type: ignore[arg-type]
    assert warmth.cold([AGENT, "s-002"]) == []
    assert warmth.warm == set()


async def test_what_a_gateway_takes_up_by_itself_is_ended(autojump_clock) -> None:
    client = FakeClient()
    client.session, client.aborts_needed = Session("running", None), 2
    assert await at_rest(client, "agent:s-001:x")  # type: ignore[arg-type]
    assert (client.aborted, client.session) == (2, Session("timeout", None))


async def test_a_session_that_does_not_come_to_rest_is_given_up(autojump_clock) -> None:
    client = FakeClient()
    client.session, client.aborts_needed = Session("running", None), 1_000
    with pytest.raises(trio.TooSlowError):
        await at_rest(client, "agent:s-001:x")  # type: ignore[arg-type]
    assert trio.current_time() == pytest.approx(gateway_warmth.REST_S_MAX)


async def test_a_run_that_was_left_is_ended_without_anybody_coming_in(autojump_clock) -> None:
    warmth, client = Warmth(), FakeClient()
    left = warmth.left.ticket()
    client.session, client.aborts_needed = Session("running", None), 3
    warmth.leave_working(AGENT, f"agent:{AGENT}:x")
    assert left.is_set()
    await warmth.end_left(client)  # type: ignore[arg-type]
    client.session = Session("running", None)
    await warmth.end_left(client)  # type: ignore[arg-type]
    assert client.aborted == 3


async def test_a_gateway_that_does_not_say_how_a_session_stands_is_asked_again(autojump_clock) -> None:
    class Refuses(FakeClient):
        fault = Fault("UNAVAILABLE", "busy")

        async def describe(self, session: str) -> Session | None:
            await trio.lowlevel.checkpoint()
            raise GatewayRefused("sessions.describe", self.fault)

    warmth, client = Warmth(), Refuses()
    warmth.leave_working(AGENT, f"agent:{AGENT}:x")
    for fault in (Fault("UNAVAILABLE", "busy"), Fault("INTERNAL", "its database is locked")):
        client.fault = fault
        with pytest.raises(GatewayRefused):
            await warmth.end_left(client)  # type: ignore[arg-type]
        assert warmth.is_left(AGENT)  # so that no other comes in beside it
    client.fault = Fault("INVALID_REQUEST", "no such session")
    await warmth.end_left(client)  # type: ignore[arg-type]
    await warmth.end_left(FakeClient())  # type: ignore[arg-type]


@pytest.mark.parametrize(("session", "waits"), [(None, True), (Session("done", None), False)])
async def test_whether_the_run_that_begins_a_session_was_taken_is_seen_by_the_session(
    autojump_clock, session, waits
) -> None:
    """An earlier dashd has left it, and nobody knows for how long."""
    warmth, client = Warmth(), FakeClient()
    client.session = session
    warmth.leave_working(AGENT, f"agent:{AGENT}:x", "s-t1.1:turn:1", first=True)
    await warmth.end_left(client)  # type: ignore[arg-type]
    assert not warmth.is_left(AGENT)
    assert (client.started, trio.current_time() >= gateway_warmth.ASK_AGAIN_S) == (
        ["s-t1.1:turn:1"] * waits,
        waits,
    )


async def test_a_run_left_under_another_of_its_names_keeps_its_agent_out(nursery, autojump_clock) -> None:
    """Whatever it is called there, an agent's keys are the same."""
    warmth, client = Warmth(), FakeClient()
    warmth.leave_working("s-001-0123456789", "agent:s-001-0123456789:x", RUN)
    with trio.move_on_after(30) as waited:
        await warmth.enter(client, "s-001-abcdefabcd", "s-001")  # type: ignore[arg-type]
    assert waited.cancelled_caught
    await warmth.enter(client, "s-0011", "s-0011")  # type: ignore[arg-type]  # is somebody else
    client.end(RUN, REFUSED)
    await warmth.enter(client, "s-001-abcdefabcd", "s-001")  # type: ignore[arg-type]
    assert not warmth.is_left("s-001-0123456789")
