"""Which of the turns that an attempt was given are over: known by what was given after them."""

import json

import pytest
import trio

from dashd.drivers.driver import Told
from dashd.drivers.openclaw_conversation import OpenClawConversation
from dashd.drivers.openclaw_protocol import Reply, Session, Waited
from dashd.jail.holder_link import Exited
from dashd.runtime.gateway_turns import BEGINS_CHARACTERS, INPUTS_MAX, Then, Turn, Turns
from tests.fakes.gateway_attempts import CLAIM, OK, RUN, Bed, settled


def _data(key: str, message: str = "do it") -> bytes:
    return json.dumps({"id": key, "message": message}).encode()


def test_of_those_that_were_given_before_only_the_last_may_work() -> None:
    turns = Turns(3)
    turns.take(1, _data("turn:1"))
    turns.take(2, _data("turn:2", "go on " * 100))
    assert turns.first is None  # what came after it is not known yet
    turns.take(3, _data("turn:3"))
    turns.take(4, _data("turn:4"))
    found = []
    while (turn := turns.first) is not None:
        found.append(turn)
        turns.end()
    assert found == [
        Turn("turn:1", "", replayed=True, then=Then("turn:2", ("go on " * 100)[:BEGINS_CHARACTERS])),
        Turn("turn:2", "", replayed=True, then=Then("turn:3", "do it")),
        Turn("turn:3", "do it", replayed=True),
        Turn("turn:4", "do it"),
    ]
    assert not turns.may_work


def test_the_end_is_no_turn_and_leaves_the_last_one_as_it_is() -> None:
    turns = Turns(2)
    turns.take(1, _data("turn:1"))
    assert turns.first is None
    turns.take(2, b"")
    assert turns.first == Turn("turn:1", "do it", replayed=True)


def test_what_was_taken_is_passed_over() -> None:
    turns = Turns(0)
    turns.take(1, _data("turn:1"))
    turns.take(1, _data("turn:1"))
    turns.end()
    assert turns.first is None


def test_however_many_were_given_before_none_is_dropped_and_of_others_so_many_wait() -> None:
    turns, count = Turns(3 * INPUTS_MAX), 0
    for number in range(1, 5 * INPUTS_MAX):
        turns.take(number, _data(f"turn:{number}"))
    while (turn := turns.first) is not None:
        count += turn.replayed
        turns.end()
    assert count == 3 * INPUTS_MAX
    for number in range(6 * INPUTS_MAX, 8 * INPUTS_MAX):
        turns.take(number, _data(f"turn:{number}"))
    while turns.first is not None:
        count += 1
        turns.end()
    assert count == 4 * INPUTS_MAX


def test_before_all_have_come_that_were_given_one_may_work() -> None:
    turns = Turns(1)
    assert turns.may_work
    turns.take(1, b"")
    assert not turns.may_work


async def test_nothing_is_begun_any_more_once_the_end_was_given(nursery, autojump_clock) -> None:
    bed = Bed(nursery, replayed=2)
    bed.gateway.client.session = Session("done", None)  # the gateway has forgotten its run
    await bed.give(1, "turn:1")
    await bed.link.send_input(2, b"", eof=True)
    with trio.fail_after(60):
        await bed.link.receive()
    assert (len(bed.heard.of("turned")), bed.gateway.client.started) == (1, [])


@pytest.mark.parametrize("session", [None, Session("done", RUN)])
async def test_an_attempt_whose_last_turn_is_forgotten_is_lost_and_not_failed(
    nursery, autojump_clock, session
) -> None:
    """Dashd died once it had said the end, before that was written down, and came back after ten minutes."""
    bed = Bed(nursery, replayed=2)
    bed.talk = talk = OpenClawConversation("the brief", {})
    bed.gateway.client.session = session
    await bed.give(1, "turn:1")
    await bed.link.send_input(2, b"", eof=True)
    ended = await bed.link.receive()
    assert isinstance(ended, Exited)
    ending = talk.ending(ended.record)
    assert (ending.state, ending.reason) == (
        "lost",
        "it had ended, and what it came to is not known any more",
    )
    assert [each.key for each in talk.inputs] == ["turn:1", "end"]


async def test_a_turn_after_which_another_was_given_is_never_given_again(nursery, autojump_clock) -> None:
    """Ten minutes after its end the gateway knows nothing of its run, while the next one works."""
    bed = Bed(nursery, replayed=2)
    client = bed.gateway.client
    client.session, client.fresh = Session("running", None), False
    await bed.give(1, "turn:1")
    await settled()
    assert (client.asked, bed.heard.of("turned")) == (0, [])
    await bed.give(2, "turn:2")
    await settled()
    assert client.started == [f"{CLAIM.attempt_id}:turn:2"]  # which works already
    (over,) = bed.heard.of("turned")
    assert (over["id"], over["then"]) == ("turn:1", {"id": "turn:2", "begins": "do it"})
    client.end(f"{CLAIM.attempt_id}:turn:2", OK)
    await settled()
    assert [frame["id"] for frame in bed.heard.of("turned")] == ["turn:1", "turn:2"]


async def test_its_conversation_goes_on_from_what_was_given_last(nursery, autojump_clock) -> None:
    """A first turn whose session changed, the second one for it, a message, and then a new connection."""
    told = Told("message", "message:1", "mind the gap")
    history = {"turn:2": [told]}
    bed = Bed(nursery, replayed=3)
    bed.talk = talk = OpenClawConversation("the brief", history)
    bed.gateway.client.session, bed.gateway.client.fresh = Session("running", None), False
    for number, key in enumerate(("turn:1", "turn:2", "message:1"), 1):
        await bed.give(number, key)
    await settled()
    assert bed.gateway.client.started == [f"{CLAIM.attempt_id}:message:1"]
    result = '{"summary":"done","files_changed":[],"tests":[],"follow_ups":[]}'
    bed.gateway.client.end(f"{CLAIM.attempt_id}:message:1", Waited("ok", 1.0, terminal_reply=Reply(result)))
    await settled()
    assert [each.key for each in talk.inputs] == ["turn:1", "turn:2", "message:1", "end"]
