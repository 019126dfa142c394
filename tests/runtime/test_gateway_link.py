"""Turns in a gateway: given once whatever happens, and told as a runner would tell of them."""

import json

import pytest
import trio

from dashd.drivers.driver import Stage
from dashd.drivers.line_conversation import LineConversation
from dashd.drivers.openclaw_client import GatewayLost
from dashd.drivers.openclaw_conversation import NOT_TAKEN
from dashd.drivers.openclaw_protocol import Reply, RunEvent, Session, Waited
from dashd.jail.holder_link import Exited, HolderGone, HolderLink
from dashd.runtime.gateway_link import GatewayLink
from dashd.store.queue import Claim
from tests.fakes.gateway_attempts import OK, RUN, Bed, link_to, settled


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


@pytest.mark.parametrize("ok", [True, False])
async def test_however_long_its_answer_or_fault_is_it_is_heard(nursery, autojump_clock, ok) -> None:
    bed, words = Bed(nursery), "\U0001f600" * 800_000  # twelve bytes each, as they are said
    bed.talk = LineConversation(Stage("working", None), {})
    heard: list[bytes] = []
    bed.talk._read = heard.append
    how = Waited("ok", 1.0, terminal_reply=Reply(f"{words}{{}}")) if ok else Waited("error", 1.0, error=words)
    bed.gateway.client.end(RUN, how)
    await bed.give(1, "turn:1")
    await settled()
    turned = json.loads(heard[-1])
    assert (turned["type"], turned["text"].endswith("{}"), bool(turned["error"])) == ("turned", ok, not ok)


async def test_one_that_ended_while_dashd_was_away_is_not_given_again(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=1)
    bed.gateway.client.end(RUN, OK)
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == []
    assert [frame["text"] for frame in bed.heard.of("turned")] == ["fine"]
    assert [frame["again"] for frame in bed.heard.of("turn")] == [True]


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
    bed.gateway.client.session = Session("running", None)
    await bed.give(1, "turn:1")
    await bed.link.send_input(2, b"", eof=True)
    with trio.move_on_after(10) as waited:
        await bed.link.receive()
    assert waited.cancelled_caught
    bed.gateway.client.end(RUN, OK)
    with trio.fail_after(60):
        assert isinstance(await bed.link.receive(), Exited)
    assert len(bed.heard.of("turned")) == 1
    assert (bed.gateway.client.aborted, bed.gateway.client.started) == (0, [])


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


async def test_that_its_session_changed_meanwhile_is_said_so_that_it_is_given_again(
    nursery, autojump_clock
) -> None:
    bed = Bed(nursery)
    bed.gateway.client.end(RUN, Waited("error", 1.0, error='Session "x" changed while starting work. Retry.'))
    await bed.give(1, "turn:1")
    await settled()
    assert bed.gateway.client.started == [RUN]
    assert [frame["changed"] for frame in bed.heard.of("turned")] == [True]


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
        (turned,) = bed.heard.of("turned")
        assert (turned["error"], turned["raw"]) == ("Agent database cleanup failed", NOT_TAKEN)
        assert bed.gateway.shunned == ["it must be restarted for agent s-001: Agent database cleanup failed"]
    assert bed.gateway.given_up == ["Agent database cleanup failed"]


async def test_an_agent_that_gets_another_name_has_its_gateway_shunned_by_nobody(
    nursery, autojump_clock
) -> None:
    bed = Bed(nursery)
    bed.gateway.own, bed.gateway.renews = False, True
    await bed.give(1, "turn:1")
    await settled()
    bed.gateway.client.end(RUN, Waited("error", 1.0, error="Agent database cleanup failed"))
    await settled()
    assert [turned["raw"] for turned in bed.heard.of("turned")] == [NOT_TAKEN]
    assert (bed.gateway.renewed, bed.gateway.shunned) == ([("s-001", "s-001")], [])


async def test_a_connection_that_ends_is_a_holder_that_is_gone(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    bed.gateway.client.refusals = [GatewayLost("cut")]
    await bed.give(1, "turn:1")
    with pytest.raises(HolderGone):
        await bed.link.receive()


async def test_few_agents_begin_at_once_that_never_ran_there(nursery, autojump_clock) -> None:
    bed = Bed(nursery)
    second = link_to(bed.gateway, claim=Claim("s-t2.1", "s-002", "s-t2", "s"))
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
    third = link_to(bed.gateway)
    with trio.fail_after(1):
        await third.take_turn()  # it has run there
        await third.take_turn()
