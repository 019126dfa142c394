"""How an attempt comes into a gateway: in whose session it goes on, and what follows where it does not."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from dashd.domain.attempt import Ending
from dashd.drivers import openclaw_gateway
from dashd.drivers.openclaw_client import GatewayLost
from dashd.drivers.openclaw_protocol import Session
from dashd.runtime import gateway_entry
from dashd.runtime.gateway_entry import LOST_S_MAX
from dashd.runtime.gateway_link import ABORT_S_MAX, GatewayLink
from dashd.runtime.wish import Wish
from dashd.store.queue import Claim
from tests.fakes.gateway_attempts import (
    ABORTED,
    CLAIM,
    DRAINS,
    NOT_SO,
    RUN,
    FakeClient,
    FakeGateway,
    Heard,
    commit,
    plan_of,
    settled,
)


@pytest.mark.parametrize(
    ("session", "plan", "found"),
    [
        (Session("done", "x"), plan_of("s-t1.1"), True),  # it had ended, and dashd did not hear of it
        (None, plan_of("s-t1.1"), False),  # the one before never came to say anything
        (Session("running", "x"), plan_of("s-t1.2"), False),  # no attempt was before this one
        (Session("running", RUN), plan_of("s-t1.1", ("turn:1",)), False),  # what works in it is its own
    ],
)
async def test_whether_an_attempt_goes_on_in_a_session(autojump_clock, session, plan, found) -> None:
    gateway = FakeGateway()
    gateway.warmth.warm.add("s-001")
    gateway.client.session = session
    assert await gateway_entry._resumes(gateway, CLAIM, plan, "") is found  # type: ignore[arg-type]
    assert gateway.client.aborted == 0


async def _let_in(gateway: FakeGateway, plan: Any) -> Ending:
    """It is not let in; a gateway of Dash's own, or one that was added."""
    with trio.fail_after(2 * LOST_S_MAX):
        found = await gateway_entry._let_in(SimpleNamespace(commit=commit), gateway, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(found, Ending)
    return found


@pytest.mark.parametrize(("begun", "state"), [(False, "never"), (True, "lost")])
async def test_a_connection_that_always_ends_is_not_tried_for_ever(autojump_clock, begun, state) -> None:
    class Flaps(FakeGateway):
        tries = 0

        async def add(self, agent_id: str, tag: str = "") -> None:
            await trio.lowlevel.checkpoint()
            self.tries += 1
            assert self.tries < 200
            raise GatewayLost("cut")

    gateway, plan = Flaps(), plan_of("s-t1.2")
    plan.begun = begun
    ending = await _let_in(gateway, plan)
    assert (ending.state, "cut" in ending.reason) == (state, True)
    assert (gateway.tries > 10, bool(gateway.given_up)) == (True, begun)


@pytest.mark.parametrize(
    ("session", "killed", "told"),
    [
        (Session("done", "x"), True, (True, False)),
        (None, True, (False, True)),  # it was in another gateway, or another agent's
        (None, False, (False, False)),
    ],
)
async def test_what_was_before_it_is_said_first(nursery, autojump_clock, session, killed, told) -> None:
    class Known(FakeGateway):
        boot_id, tag, door = "boot-2", "b", "desk"
        added: tuple[str, str]

        async def add(self, agent_id: str, tag: str = "") -> None:
            await trio.lowlevel.checkpoint()
            self.added = agent_id, tag

    class Doors:
        async def let_in(self, _door: str, _claim: Claim) -> None:
            await trio.lowlevel.checkpoint()

    gateway, heard = Known(), Heard()
    gateway.warmth.warm.add(f"s-001-{openclaw_gateway.tag_of('boot-1')}")
    gateway.client.session = session
    plan = plan_of("s-t1.1")
    plan.begun, plan.follows_killed, plan.session_boot = False, killed, "boot-1"
    world = SimpleNamespace(commit=commit, gateway_doors=Doors())
    link = await gateway_entry._let_in(world, gateway, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(link, GatewayLink)
    assert gateway.added == (CLAIM.agent_id, openclaw_gateway.tag_of("boot-1"))
    nursery.start_soon(link.carry, heard, None)
    await settled()
    assert heard.frames == [{"type": "ready", "resumed": told[0], "again": told[1]}]


@pytest.mark.parametrize(("begun", "refusal"), [(False, DRAINS), (False, NOT_SO), (True, NOT_SO)])
async def test_a_gateway_that_takes_no_work_is_shunned_for_it(autojump_clock, begun, refusal) -> None:
    class Refuses(FakeGateway):
        async def add(self, agent_id: str, tag: str = "") -> None:
            await trio.lowlevel.checkpoint()
            raise refusal

    async def of(_name: str) -> FakeGateway:
        return gateway

    gateway, plan = Refuses(), plan_of("s-t1.2")
    gateway.own, plan.place, plan.begun, plan.work = False, "desk", begun, SimpleNamespace(asks=())
    world = SimpleNamespace(commit=commit, added=SimpleNamespace(of=of))
    ending = await gateway_entry.enter(world, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(ending, Ending)
    assert [why in ending.reason for why in gateway.shunned] == [True] * (not begun)


@pytest.mark.parametrize(("refusal", "least_s"), [(DRAINS, LOST_S_MAX), (NOT_SO, 0)])
async def test_one_that_has_begun_is_never_failed_by_a_refusal(autojump_clock, refusal, least_s) -> None:
    gateway, plan = FakeGateway(), plan_of("s-t1.2", ("turn:1",))
    gateway.own, plan.begun, plan.place, plan.place_boot = False, True, "desk", "b1"
    gateway.client.refuses = refusal
    ending = await _let_in(gateway, plan)
    assert (ending.state, trio.current_time() >= least_s) == ("lost", True)
    gateway.client.session = Session("running", RUN)
    gateway.client.refuses, gateway.client.aborts_needed = None, 3
    await gateway.warmth.enter(gateway.client, "s-001", "s-001")  # type: ignore[arg-type]
    assert gateway.client.aborted == 3  # nobody comes in beside it


@pytest.mark.parametrize(("begun", "state", "after_s"), [(False, "never", 0), (True, "lost", ABORT_S_MAX)])
async def test_a_stop_does_not_wait_for_a_gateway_that_is_away(autojump_clock, begun, state, after_s) -> None:
    class Away(FakeGateway):
        async def connected(self, boot_id: str | None = None) -> FakeClient:
            await trio.sleep_forever()
            raise AssertionError

    async def of(_name: str) -> FakeGateway:
        await trio.lowlevel.checkpoint()
        return gateway

    gateway, plan, wish = Away(), plan_of("s-t1.2", ("turn:1",) * begun), Wish()
    gateway.own, plan.place, plan.begun, plan.work = False, "desk", begun, SimpleNamespace(asks=())
    world = SimpleNamespace(commit=commit, added=SimpleNamespace(of=of))
    wish.set(stop="cancel", hold=False, hard=False, waits=False)
    ending = await gateway_entry.enter_unless_stopped(world, CLAIM, plan, wish)  # type: ignore[arg-type]
    assert isinstance(ending, Ending)
    assert (ending.state, trio.current_time()) == (state, pytest.approx(after_s, abs=1))
    assert gateway.warmth.is_left("s-001") is begun  # its run may go on
    client = gateway.client
    with trio.move_on_after(10):
        await gateway.warmth.end_left(client)  # type: ignore[arg-type]
        assert not begun
    assert gateway.warmth.is_left("s-001") is begun  # or even begin: nothing is known of it yet
    client.end(RUN, ABORTED)
    await gateway.warmth.end_left(client)  # type: ignore[arg-type]
    assert not gateway.warmth.is_left("s-001")


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("begun", "state"), [(False, "never"), (True, "lost")])
async def test_whose_session_does_not_come_to_rest_is_not_followed_by_another(
    autojump_clock, own, begun, state
) -> None:
    gateway, plan = FakeGateway(), plan_of("s-t1.1")
    gateway.own, plan.begun = own, begun
    client = gateway.client
    client.session, client.aborts_needed = Session("running", RUN), 1_000
    ending = await _let_in(gateway, plan)
    assert (ending.state, "not at rest" in ending.reason) == (state, True)
    assert len(gateway.given_up) == 1
    if not own:
        with pytest.raises(trio.TooSlowError):
            await gateway.warmth.enter(client, "s-001", "s-001")  # type: ignore[arg-type]
        client.aborts_needed = 0
        await gateway.warmth.enter(client, "s-001", "s-001")  # type: ignore[arg-type]


async def test_a_run_that_is_left_is_not_forgotten_over_an_attempt_that_it_kept_out(autojump_clock) -> None:
    class Client(FakeClient):
        async def describe(self, session: str) -> Session | None:
            await trio.lowlevel.checkpoint()
            return Session("running", RUN) if session == "agent:s-001:left" else None

    gateway = FakeGateway()
    gateway.own, gateway.client = False, Client()
    gateway.warmth.leave_working("s-001", "agent:s-001:left")
    for _ in range(2):
        ending = await _let_in(gateway, plan_of("s-t1.2"))
        assert (ending.state, "not at rest" in ending.reason) == ("never", True)


@pytest.mark.parametrize(
    ("place", "refusal", "state"),
    [
        ("desk", DRAINS, "never"),
        (None, DRAINS, "never"),
        ("desk", NOT_SO, "failed"),
        (None, NOT_SO, "failed"),
    ],
)
async def test_one_that_has_not_begun_waits_for_its_own_gateway_or_goes_elsewhere(
    autojump_clock, place, refusal, state
) -> None:
    class Refuses(FakeGateway):
        async def add(self, agent_id: str, tag: str = "") -> None:
            await trio.lowlevel.checkpoint()
            raise refusal

    plan = plan_of("s-t1.2")
    plan.place = place
    ending = await _let_in(Refuses(), plan)
    assert ending.state == state
    waits = place is None and refusal.for_now
    assert (trio.current_time() > LOST_S_MAX) is waits


async def test_the_start_that_is_written_down_is_the_one_that_it_came_into(autojump_clock) -> None:
    """The gateway begins again while the first is written down: nothing of it ran, and it comes in anew."""

    class Begins(FakeGateway):
        door = "desk"

    async def commit(operation: Callable[[object], None]) -> None:
        await trio.lowlevel.checkpoint()
        gateway.boot_id = "boot-2"
        operation(None)

    class Doors:
        async def let_in(self, _door: str, _claim: Claim) -> None:
            await trio.lowlevel.checkpoint()

    gateway, plan = Begins(), plan_of("s-t1.2")
    gateway.boot_id, plan.follows_killed = "boot-1", False
    world = SimpleNamespace(commit=commit, gateway_doors=Doors())
    link = await gateway_entry._let_in(world, gateway, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(link, GatewayLink)
    assert gateway.entered == [(plan.launch_id, "boot-1"), (plan.launch_id, "boot-2")]
    assert link._boot_id == "boot-2"
