"""What Pi is told when what was said is to be summed up: at the end of a turn, and then to go on."""

import json
from typing import Any

import pytest

from dashd.drivers.driver import Session, Told
from dashd.drivers.pi_conversation import COMPACTED, PiConversation
from dashd.jail.launch_folder import ExitRecord

READY = {"id": "ready", "type": "response", "success": True, "data": {"model": {"provider": "dash"}}}
TAKEN = {"type": "response", "success": True, "data": {"disposition": "started"}}


def _feed(talk: PiConversation, *frames: dict[str, Any]) -> list[Any]:
    data = b"".join(json.dumps(frame, separators=(",", ":")).encode() + b"\n" for frame in frames)
    return talk.feed(1, data)


def _begun() -> PiConversation:
    talk = PiConversation("the brief", {})
    _feed(talk, READY, TAKEN | {"id": "prompt:1"})
    return talk


USED_TOOLS = {"type": "turn_end", "message": {}, "toolResults": [{"role": "toolResult"}]}


def test_what_was_said_is_summed_up_once_a_turn_with_tools_has_ended() -> None:
    talk = _begun()
    talk.tell(Told("message", "message:1", "mind the gap"))
    talk.tell(Told("compact", "message:2", "the names"))
    before = len(talk.inputs)
    _feed(talk, {"type": "turn_end", "message": {}, "toolResults": []})
    assert len(talk.inputs) == before  # the run is about to end by itself
    _feed(talk, USED_TOOLS)
    clear, compact = (json.loads(each.data) for each in talk.inputs[before:])
    assert clear == {"id": "message:2", "type": "clear_queue"}
    assert compact == {"id": "message:2:compact", "type": "compact", "customInstructions": "the names"}
    talk.tell(Told("message", "message:3", "later"))
    _feed(talk, {"type": "agent_settled", "aborted": True})
    assert len(talk.inputs) == before + 2
    done = {"type": "response", "id": "message:2:compact", "command": "compact", "success": True}
    (progress,) = _feed(talk, done | {"data": {"tokensBefore": 9000, "estimatedTokensAfter": 900}})
    assert progress.note == "summed up: 9000 tokens before, about 900 after"
    prompt = json.loads(talk.inputs[-1].data)
    assert (prompt["type"], prompt["message"]) == ("prompt", f"mind the gap\n\n{COMPACTED}")
    _feed(talk, {"type": "response", "id": prompt["id"], "command": "prompt", "success": True})
    assert json.loads(talk.inputs[-1].data)["type"] == "steer"  # what was said meanwhile


def test_where_nothing_can_be_summed_up_it_goes_on_and_says_so() -> None:
    talk = _begun()
    talk.tell(Told("compact", "message:1"))
    _feed(talk, USED_TOOLS)
    refused = {"type": "response", "id": "message:1:compact", "success": False, "error": "too small"}
    (progress,) = _feed(talk, refused)
    assert progress.note == "not summed up: too small"
    assert json.loads(talk.inputs[-1].data)["message"] == COMPACTED


def test_told_to_leave_while_it_sums_up_it_leaves() -> None:
    talk = _begun()
    talk.tell(Told("compact", "message:1"))
    _feed(talk, USED_TOOLS)
    talk.tell(Told("leave", "leave"))
    before = len(talk.inputs)
    _feed(talk, {"type": "response", "id": "message:1:compact", "success": True, "data": {}})
    assert (len(talk.inputs), talk.stage.name) == (before, "leaving")


def test_what_ends_by_itself_is_summed_up_before_it_is_asked_again() -> None:
    talk = _begun()
    talk.tell(Told("compact", "message:1"))
    said = {"role": "assistant", "content": [{"type": "text", "text": "so"}], "stopReason": "stop"}
    _feed(talk, {"type": "message_end", "message": said}, {"type": "agent_settled", "aborted": False})
    assert [each.key for each in talk.inputs[-2:]] == ["message:1", "message:1:compact"]
    _feed(talk, {"type": "response", "id": "message:1:compact", "success": True, "data": {}})
    assert talk.inputs[-1].key == "prompt:2"


def test_one_that_has_ended_is_not_summed_up() -> None:
    talk = _begun()
    talk.tell(Told("compact", "message:1"))
    result = '{"summary":"done","files_changed":[],"tests":[],"follow_ups":[]}'
    said = {"role": "assistant", "content": [{"type": "text", "text": result}], "stopReason": "stop"}
    _feed(talk, {"type": "message_end", "message": said}, {"type": "agent_settled", "aborted": False})
    assert [each.key for each in talk.inputs] == ["ready", "prompt:1", "end"]


def test_after_a_crash_of_dashd_it_is_not_asked_for_twice() -> None:
    """Fed the same again, with what was told where it was told, it comes to the same inputs."""
    frames = [READY, TAKEN | {"id": "prompt:1"}, USED_TOOLS, {"type": "agent_settled", "aborted": True}]
    frames.append({"type": "response", "id": "message:1:compact", "success": True, "data": {}})
    first = PiConversation("the brief", {})
    _feed(first, *frames[:2])
    first.tell(Told("compact", "message:1"))
    _feed(first, *frames[2:])
    again = PiConversation("the brief", {"prompt:1": [Told("compact", "message:1")]})
    _feed(again, *frames)
    assert [each.key for each in again.inputs] == [each.key for each in first.inputs]
    assert again.inputs == first.inputs


@pytest.mark.parametrize(
    ("answer", "state", "word", "retry"),
    [
        (
            {"success": True, "data": {"tokensBefore": 9, "estimatedTokensAfter": 1}},
            "succeeded",
            "9 tokens",
            True,
        ),
        ({"success": False, "error": "Already compacted"}, "succeeded", "already", True),
        ({"success": False, "error": "Nothing to compact (session too small)"}, "failed", "too small", False),
        ({"success": False, "error": "402: insufficient_quota"}, "failed", "budget", False),
        ({"success": False, "error": "terminated"}, "failed", "terminated", True),
    ],
)
def test_a_task_may_be_that_alone(answer: dict[str, Any], state: str, word: str, retry: bool) -> None:
    talk = PiConversation("the brief", {}, Session("/s", forked=True, compacts=True))
    _feed(talk, READY)
    assert [json.loads(each.data)["type"] for each in talk.inputs] == ["get_state", "compact"]
    assert (talk.stage.name, talk.starting) == ("working", False)
    _feed(talk, {"id": "compact", "type": "response", "command": "compact"} | answer)
    assert talk.inputs[-1].eof
    ending = talk.ending(ExitRecord(0, None, "exit", None, 0, 0, 1, 1, 1))
    assert (ending.state, ending.retry, word in ending.result + ending.reason) == (state, retry, True)


def test_that_task_says_what_is_to_be_kept() -> None:
    talk = PiConversation("the brief", {}, Session("/s", forked=True, compacts=True, keep="the names"))
    _feed(talk, READY)
    said = json.loads(talk.inputs[-1].data)
    assert (said["type"], said["customInstructions"]) == ("compact", "the names")


def _asks(key: str) -> dict[str, Any]:
    asked = {"type": "extension_ui_request", "id": key, "method": "confirm", "title": "dash.tool_call"}
    return asked | {"message": json.dumps({"tool": "bash", "command": "rm"})}


def test_what_is_broken_off_asks_no_more() -> None:
    """Pi has ended the dialog with its run, and passes over what is said to it."""
    talk = _begun()
    _feed(talk, _asks("7"))
    talk.tell(Told("now", "message:1", "do not"))
    assert [each.key for each in talk.inputs][-3:] == ["message:1", "message:1:abort", "ask:7"]
    assert json.loads(talk.inputs[-1].data)["confirmed"] is False
    talk.tell(Told("answer", "ask:7", "deny"))  # the request was withdrawn
    assert [each.key for each in talk.inputs][-1] == "ask:7"


def test_what_it_asks_before_it_hears_that_it_is_broken_off_is_refused() -> None:
    """No request is left that would hold its next call; the run after it asks anew."""
    talk = _begun()
    talk.tell(Told("now", "message:1", "do not"))
    _feed(talk, _asks("7"))
    assert talk.asks == []
    assert json.loads(talk.inputs[-1].data) == {
        "id": "7", "type": "extension_ui_response", "confirmed": False
    }  # fmt: skip
    _feed(talk, {"type": "agent_settled", "aborted": True}, TAKEN | {"id": "prompt:2"}, _asks("8"))
    assert [each.key for each in talk.asks] == ["ask:8"]
    assert talk.inputs[-1].key == "prompt:2"


def test_so_is_what_it_asks_before_it_hears_that_it_sums_up() -> None:
    talk = _begun()
    talk.tell(Told("compact", "message:1"))
    _feed(talk, USED_TOOLS, _asks("7"))
    assert talk.asks == []
    assert json.loads(talk.inputs[-1].data)["confirmed"] is False
    _feed(talk, {"type": "response", "id": "message:1:compact", "success": True}, _asks("8"))
    assert [each.key for each in talk.asks] == ["ask:8"]


def test_for_one_that_leaves_nobody_is_asked() -> None:
    talk = _begun()
    talk.tell(Told("leave", "leave"))
    before = len(talk.inputs)
    _feed(talk, _asks("7"))
    assert (talk.asks, len(talk.inputs)) == ([], before)


def test_one_that_sums_up_before_it_takes_its_task_has_longer_for_that() -> None:
    """As one that was killed at that does, and goes on in its session."""
    talk = PiConversation("the brief", {})
    _feed(talk, READY, {"type": "compaction_start", "reason": "threshold"})
    assert (talk.stage.name, talk.stage.limit_s) == ("summing", None)
    _feed(talk, {"type": "compaction_end"}, TAKEN | {"id": "prompt:1"})
    assert talk.stage.name == "working"
    _feed(talk, {"type": "compaction_start", "reason": "threshold"})
    assert talk.stage.name == "working"
