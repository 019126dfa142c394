"""Turns in a gateway: given once whatever happens, and told as a runner would tell of them."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from dashd.domain.attempt import Ending
from dashd.drivers import openclaw_gateway
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.drivers.openclaw_protocol import Fault, Reply, RunEvent, Session, Waited
from dashd.jail.holder_link import Exited, HolderGone, HolderLink
from dashd.runtime import gateway_link
from dashd.runtime.gateway_link import ABORT_S_MAX, GatewayLink
from dashd.runtime.gateway_refusals import ANSWER_S_MAX, TAKE_S_MAX
from dashd.runtime.gateway_warmth import Warmth
from dashd.runtime.wish import Wish
from dashd.store.queue import Claim

CLAIM = Claim("s-t1.1", "s-001", "s-t1", "s")
RUN = "s-t1.1:turn:1"
OK = Waited("ok", 1.0, terminal_reply=Reply("fine"))


class FakeClient:
    """What the gateway knows of runs; `ended` are those that have, `started` what was asked for."""

    def __init__(self) -> None:
        self.ended: dict[str, Waited] = {}
        self.session: Session | None = None
        self.started: list[str] = []
        self.aborted = 0
        self.aborts_needed = 1
        self.refusals: list[Exception] = []
        self.slow_s = 0.0
        """To take a run."""
        self.refuses: GatewayRefused | None = None
        """Whatever it is asked how something stands."""
        self.asked = 0
        self.abort_refusals: list[Exception] = []
        self.changed = trio.Event()

    async def wait(self, run_id: str, wait_ms: int = 30_000) -> Waited:
        await self._ask()
        if run_id not in self.ended and wait_ms:
            with trio.move_on_after(wait_ms / 1_000):
                await self.changed.wait()
        await trio.lowlevel.checkpoint()
        return self.ended.get(run_id, Waited("timeout"))

    async def describe(self, session: str) -> Session | None:
        await self._ask()
        return self.session

    async def _ask(self) -> None:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.refuses is not None:
            raise self.refuses

    async def start(self, agent: str, session: str, run_id: str, message: str) -> bool:
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop()
        await trio.sleep(self.slow_s)
        self.started.append(run_id)
        return True

    async def abort(self, session: str) -> None:
        await trio.lowlevel.checkpoint()
        self.aborted += 1
        if self.abort_refusals:
            raise self.abort_refusals.pop()
        if self.session is not None and self.aborted >= self.aborts_needed:
            self.session = Session("timeout", None)

    def end(self, run_id: str, how: Waited) -> None:
        self.ended[run_id] = how
        self.changed.set()


class FakeGateway:
    """See runtime.gateway.Gateway."""

    link = None
    boot_id: str | None = None
    tag = ""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.starts = trio.Semaphore(1)
        self.warmth = Warmth()
        self.hearers: dict[str, Any] = {}
        self.raws: dict[str, str] = {}
        self.given_up: list[str] = []
        self.own = self.speaks = True
        self.asked_since: float | None = None
        self.shunned: list[str] = []

    async def connected(self, boot_id: str | None = None) -> FakeClient:
        return self.client

    def shun(self, why: str) -> None:
        self.shunned.append(why)

    def hear(self, run_id, hearer):
        self.hearers[run_id] = hearer
        return lambda: self.hearers.pop(run_id)

    async def raw(self, run_id, within_s) -> str:
        return self.raws.get(run_id, "")

    def has_spoken(self, since: float) -> bool:
        self.asked_since = since
        return self.speaks

    async def add(self, agent_id: str, tag: str) -> None:
        await trio.lowlevel.checkpoint()

    def give_up(self, why: str) -> bool:
        self.given_up.append(why)
        return self.own


class Heard:
    """Stands for the output and the talk."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def hear(self, line: bytes) -> None:
        self.frames.append(json.loads(line))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]


def _link(gateway: FakeGateway, replayed: int = 0, *, claim: Claim = CLAIM, **more: Any) -> GatewayLink:
    return GatewayLink(gateway, claim, claim.attempt_id, replayed, **more)  # type: ignore[arg-type]


class Bed:
    def __init__(self, nursery, *, replayed: int = 0) -> None:
        self.gateway = FakeGateway()
        self.heard = Heard()
        self.link = _link(self.gateway, replayed)
        nursery.start_soon(self.link.carry, self.heard, None)

    async def give(self, number: int, key: str) -> None:
        await self.link.send_input(number, json.dumps({"id": key, "message": "do it"}).encode())


async def settled() -> None:
    await trio.sleep(5)


def test_nothing_of_a_holder_s_link_is_left_that_needs_its_socket() -> None:
    asked = {name for name, each in vars(HolderLink).items() if callable(each) and not name.startswith("_")}
    assert asked <= set(vars(GatewayLink))


async def test_a_turn_is_a_run_of_that_name_and_its_answer_is_told(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == [RUN]
    bed.gateway.hearers[RUN](RunEvent(RUN, "lifecycle", {"phase": "start"}))
    bed.gateway.hearers[RUN](RunEvent(RUN, "tool", {"phase": "start", "name": "exec"}))
    bed.gateway.client.end(RUN, OK)
    await settled()
    assert [frame["type"] for frame in bed.heard.frames] == ["ready", "turn", "begun", "tool", "turned"]
    (turned,) = bed.heard.of("turned")
    assert (turned["id"], turned["text"], turned["error"], turned["answered"]) == ("turn:1", "fine", "", True)


async def test_one_that_ended_while_dashd_was_away_is_not_given_again(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=1)
    bed.gateway.client.end(RUN, OK)
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == []
    assert [frame["text"] for frame in bed.heard.of("turned")] == ["fine"]


async def test_one_whose_answer_is_gone_is_not_given_again_either(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=1)
    bed.gateway.client.session = Session("done", RUN)
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == []
    assert [frame["error"] for frame in bed.heard.of("turned")] == ["it ended while nobody listened"]


async def test_one_that_never_arrived_is_given(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=1)
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == [RUN]


async def test_the_end_that_was_given_before_comes_after_what_was_before_it(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=2)
    await bed.give(1, "turn:1")
    await bed.link.send_input(2, b"", eof=True)
    with trio.move_on_after(10) as waited:
        await bed.link.receive()
    assert waited.cancelled_caught
    bed.gateway.client.end(RUN, OK)
    with trio.fail_after(60):
        assert isinstance(await bed.link.receive(), Exited)
    assert len(bed.heard.of("turned")) == 1
    assert bed.gateway.client.aborted == 0


async def test_a_stop_ends_the_run_and_says_no_more_of_it(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    await bed.give(1, "turn:1")
    await settled()
    await bed.link.stop(0)
    bed.gateway.client.end(RUN, Waited("error", 1.0, stop_reason="rpc"))
    ended = await bed.link.receive()
    assert isinstance(ended, Exited)
    assert (ended.record.reason, bed.gateway.client.aborted) == ("stop", 1)
    await settled()
    assert bed.heard.of("turned") == []


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
    with trio.fail_after(gateway_link.ABORT_S_MAX + 1):
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
    with trio.fail_after(gateway_link.ABORT_S_MAX + 1):
        await bed.link.stop(0)
    assert (len(bed.gateway.given_up), warmth.left.ticket().is_set()) == (int(not own), False)
    with pytest.raises(trio.TooSlowError):
        await gateway_link._resumes(bed.gateway, CLAIM, _plan("s-t1.2"), "")  # type: ignore[arg-type]
    with pytest.raises(trio.TooSlowError):
        await warmth.end_left(client)  # type: ignore[arg-type]
    client.abort_refusals = []
    await gateway_link._resumes(bed.gateway, CLAIM, _plan("s-t1.2"), "")  # type: ignore[arg-type]
    client.session, aborted = Session("running", "the next one's"), client.aborted
    await warmth.enter(client, "s-001")  # type: ignore[arg-type]
    await warmth.end_left(client)  # type: ignore[arg-type]
    assert client.aborted == aborted


async def test_where_nothing_runs_nothing_is_aborted(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    await bed.link.send_input(1, b"", eof=True)
    assert isinstance(await bed.link.receive(), Exited)
    assert bed.gateway.client.aborted == 0


async def test_how_the_call_failed_comes_from_the_log(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.raws[RUN] = "400 dash: no"
    bed.gateway.client.end(RUN, Waited("error", 1.0, error="LLM request failed"))
    await bed.give(1, "turn:1")
    await settled()
    (turned,) = bed.heard.of("turned")
    assert (turned["error"], turned["raw"]) == ("LLM request failed", "400 dash: no")


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


async def test_a_run_whose_session_changed_meanwhile_is_asked_for_again(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.client.end(RUN, Waited("error", 1.0, error='Session "x" changed while starting work. Retry.'))
    bed.gateway.client.end(f"{RUN}~1", OK)
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == [RUN, f"{RUN}~1"]
    assert [frame["text"] for frame in bed.heard.of("turned")] == ["fine"]


def _plan(session: str, rows: tuple[str, ...] = ()) -> Any:
    journal = SimpleNamespace(rows=rows)
    return SimpleNamespace(
        launch_id="s-t1.2",
        session=session,
        journal=journal,
        place=None,
        place_boot=None,
        session_boot=None,
        begun=False,
    )


@pytest.mark.parametrize(
    ("session", "plan", "found"),
    [
        (Session("done", "x"), _plan("s-t1.1"), True),  # it had ended, and dashd did not hear of it
        (None, _plan("s-t1.1"), False),  # the one before never came to say anything
        (Session("running", "x"), _plan("s-t1.2"), False),  # no attempt was before this one
        (Session("running", RUN), _plan("s-t1.1", ("turn:1",)), False),  # what works in it is its own
    ],
)
async def test_whether_an_attempt_goes_on_in_a_session(autojump_clock, session, plan, found) -> None:
    gateway = FakeGateway()
    gateway.warmth.warm.add("s-001")
    gateway.client.session = session
    assert await gateway_link._resumes(gateway, CLAIM, plan, "") is found  # type: ignore[arg-type]
    assert gateway.client.aborted == 0


async def _commit(_operation: object) -> None:
    await trio.lowlevel.checkpoint()


async def _let_in(gateway: FakeGateway, plan: Any) -> Ending:
    """It is not let in; a gateway of Dash's own, or one that was added."""
    with trio.fail_after(2 * gateway_link.LOST_S_MAX):
        found = await gateway_link._let_in(SimpleNamespace(commit=_commit), gateway, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(found, Ending)
    return found


DRAINS = GatewayRefused("agent.wait", Fault("UNAVAILABLE", "during gateway restart", True, 1000))
NOT_SO = GatewayRefused("agent.wait", Fault("INVALID_REQUEST", "not so"))


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


async def test_a_first_turn_that_is_refused_for_now_has_not_begun(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.client.refusals = [DRAINS] * 1_000
    await bed.give(1, "turn:1")
    await trio.sleep(TAKE_S_MAX + 5)
    (turned,) = bed.heard.of("turned")
    assert (turned["unbegun"], "during gateway restart" in turned["error"]) == (True, True)
    assert len(bed.gateway.shunned) == 1


@pytest.mark.parametrize(("begun", "refusal"), [(False, DRAINS), (False, NOT_SO), (True, NOT_SO)])
async def test_a_gateway_that_takes_no_work_is_shunned_for_it(autojump_clock, begun, refusal) -> None:
    class Refuses(FakeGateway):
        async def add(self, agent_id: str, tag: str) -> None:
            await trio.lowlevel.checkpoint()
            raise refusal

    async def of(_name: str) -> FakeGateway:
        return gateway

    gateway, plan = Refuses(), _plan("s-t1.2")
    gateway.own, plan.place, plan.begun, plan.work = False, "desk", begun, SimpleNamespace(asks=())
    world = SimpleNamespace(commit=_commit, added=SimpleNamespace(of=of))
    ending = await gateway_link.enter(world, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(ending, Ending)
    assert [why in ending.reason for why in gateway.shunned] == [True] * (not begun)


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


@pytest.mark.parametrize(("refusal", "least_s"), [(DRAINS, gateway_link.LOST_S_MAX), (NOT_SO, 0)])
async def test_one_that_has_begun_is_never_failed_by_a_refusal(autojump_clock, refusal, least_s) -> None:
    gateway, plan = FakeGateway(), _plan("s-t1.2", ("turn:1",))
    gateway.own, plan.begun, plan.place, plan.place_boot = False, True, "desk", "b1"
    gateway.client.refuses = refusal
    ending = await _let_in(gateway, plan)
    assert (ending.state, trio.current_time() >= least_s) == ("lost", True)
    gateway.client.session = Session("running", RUN)
    gateway.client.refuses, gateway.client.aborts_needed = None, 3
    await gateway.warmth.enter(gateway.client, "s-001")  # type: ignore[arg-type]
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

    gateway, plan, wish = Away(), _plan("s-t1.2"), Wish()
    gateway.own, plan.place, plan.begun, plan.work = False, "desk", begun, SimpleNamespace(asks=())
    world = SimpleNamespace(commit=_commit, added=SimpleNamespace(of=of))
    wish.set(stop="cancel", hold=False, hard=False, waits=False)
    ending = await gateway_link.enter_unless_stopped(world, CLAIM, plan, wish)  # type: ignore[arg-type]
    assert isinstance(ending, Ending)
    assert (ending.state, trio.current_time()) == (state, pytest.approx(after_s, abs=1))
    assert gateway.warmth.is_left("s-001") is begun  # its run may go on


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("begun", "state"), [(False, "never"), (True, "lost")])
async def test_whose_session_does_not_come_to_rest_is_not_followed_by_another(
    autojump_clock, own, begun, state
) -> None:
    gateway, plan = FakeGateway(), _plan("s-t1.1")
    gateway.own, plan.begun = own, begun
    client = gateway.client
    client.session, client.aborts_needed = Session("running", RUN), 1_000
    ending = await _let_in(gateway, plan)
    assert (ending.state, "not at rest" in ending.reason) == (state, True)
    assert len(gateway.given_up) == 1
    if not own:
        with pytest.raises(trio.TooSlowError):
            await gateway.warmth.enter(client, "s-001")  # type: ignore[arg-type]
        client.aborts_needed = 0
        await gateway.warmth.enter(client, "s-001")  # type: ignore[arg-type]


async def test_a_run_that_is_left_is_not_forgotten_over_an_attempt_that_it_kept_out(autojump_clock) -> None:
    class Client(FakeClient):
        async def describe(self, session: str) -> Session | None:
            await trio.lowlevel.checkpoint()
            return Session("running", RUN) if session == "agent:s-001:left" else None

    gateway = FakeGateway()
    gateway.own, gateway.client = False, Client()
    gateway.warmth.leave_working("s-001", "agent:s-001:left")
    for _ in range(2):
        ending = await _let_in(gateway, _plan("s-t1.2"))
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
        async def add(self, agent_id: str, tag: str) -> None:
            await trio.lowlevel.checkpoint()
            raise refusal

    plan = _plan("s-t1.2")
    plan.place = place
    ending = await _let_in(Refuses(), plan)
    assert ending.state == state
    waits = place is None and refusal.for_now
    assert (trio.current_time() > gateway_link.LOST_S_MAX) is waits


@pytest.mark.parametrize(("begun", "state"), [(False, "never"), (True, "lost")])
async def test_a_connection_that_always_ends_is_not_tried_for_ever(autojump_clock, begun, state) -> None:
    class Flaps(FakeGateway):
        tries = 0

        async def add(self, agent_id: str, tag: str) -> None:
            await trio.lowlevel.checkpoint()
            self.tries += 1
            assert self.tries < 200
            raise GatewayLost("cut")

    gateway, plan = Flaps(), _plan("s-t1.2")
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

        async def add(self, agent_id: str, tag: str) -> None:
            await trio.lowlevel.checkpoint()
            self.added = agent_id, tag

    async def commit(_operation: object) -> None:
        await trio.lowlevel.checkpoint()

    class Doors:
        async def let_in(self, _door: str, _claim: Claim) -> None:
            await trio.lowlevel.checkpoint()

    gateway, heard = Known(), Heard()
    gateway.warmth.warm.add(f"s-001-{openclaw_gateway.tag_of('boot-1')}")
    gateway.client.session = session
    plan = _plan("s-t1.1")
    plan.begun, plan.follows_killed, plan.session_boot = False, killed, "boot-1"
    world = SimpleNamespace(commit=commit, gateway_doors=Doors())
    link = await gateway_link._let_in(world, gateway, CLAIM, plan)  # type: ignore[arg-type]
    assert isinstance(link, GatewayLink)
    assert gateway.added == (CLAIM.agent_id, openclaw_gateway.tag_of("boot-1"))
    nursery.start_soon(link.carry, heard, None)
    await settled()
    assert heard.frames == [{"type": "ready", "resumed": told[0], "again": told[1]}]


@pytest.mark.parametrize("own", [True, False])
async def test_a_gateway_that_has_lost_an_agents_database_is_given_up(nursery, autojump_clock, own) -> None:
    bed = Bed(nursery)
    bed.gateway.own = own
    await bed.give(1, "turn:1")
    await settled()
    bed.gateway.client.end(RUN, Waited("error", 1.0, error="Agent database cleanup failed"))
    if own:
        with pytest.raises(HolderGone):
            await bed.link.receive()
        assert bed.heard.of("turned") == []
    else:
        await settled()
        assert bed.heard.of("turned")[0]["error"] == "Agent database cleanup failed"
    assert bed.gateway.given_up == ["Agent database cleanup failed"]


async def test_a_connection_that_ends_is_a_holder_that_is_gone(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.client.refusals = [GatewayLost("cut")]
    await bed.give(1, "turn:1")
    with pytest.raises(HolderGone):
        await bed.link.receive()


@pytest.mark.parametrize("takes_it", [True, False])
async def test_one_that_does_not_begin_keeps_no_other_waiting_for_long(
    nursery, autojump_clock, takes_it
) -> None:
    bed = Bed(nursery)
    client = bed.gateway.client
    client.slow_s = gateway_link.BEGIN_S_MAX - 10 if takes_it else 1_000
    await bed.link.take_turn()
    await bed.give(1, "turn:1")
    second = _link(bed.gateway, claim=Claim("s-t2.1", "s-002", "s-t2", "s"))
    with trio.fail_after(gateway_link.BEGIN_S_MAX + 1):
        await second.take_turn()
    client.slow_s = 0
    await trio.sleep(1_100)
    assert client.started == [RUN]
    client.end(RUN, OK)
    await settled()
    assert [frame["text"] for frame in bed.heard.of("turned")] == ["fine"]


async def test_few_agents_begin_at_once_that_never_ran_there(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    second = _link(bed.gateway, claim=Claim("s-t2.1", "s-002", "s-t2", "s"))
    await bed.link.take_turn()
    with trio.move_on_after(1_000) as waited:  # longer than any start may take
        await second.take_turn()
    assert waited.cancelled_caught
    await bed.give(1, "turn:1")
    await settled()
    with trio.move_on_after(10) as waited:
        await second.take_turn()
    assert waited.cancelled_caught
    bed.gateway.hearers[RUN](RunEvent(RUN, "lifecycle", {"phase": "start"}))
    with trio.fail_after(10):
        await second.take_turn()
    await bed.link.aclose()
    await second.aclose()
    third = _link(bed.gateway)
    with trio.fail_after(1):
        await third.take_turn()  # it has run there
        await third.take_turn()
