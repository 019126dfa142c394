"""What is said to Pi, as a function of what Pi prints: cut anywhere, fed again, never asked twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import brief
from dashd.domain.asking import Ask
from dashd.drivers.driver import Told
from dashd.drivers.line_conversation import RESUME, RESUMED, RESUMES_MAX
from dashd.drivers.pi_conversation import HEED, PiConversation
from dashd.jail.launch_folder import ExitRecord

RESULT = '{"summary":"done","files_changed":[],"tests":[],"follow_ups":[]}'
READY = {
    "id": "ready",
    "type": "response",
    "success": True,
    "data": {"model": {"provider": "dash", "id": "m"}},
}
SETTLED = {"type": "agent_settled", "aborted": False}
GOLDEN = Path(__file__).parents[2] / "schema/golden/pi-1.5.2"


def _exit(**more: Any) -> ExitRecord:
    record = {
        "code": 0, "signal": None, "reason": "exit", "error": None, "spool_bytes": 9, "spool_dropped": 0,
        "wall_ms": 10, "cpu_ms": 5, "max_rss_kib": 2048,
    }  # fmt: skip
    return ExitRecord.from_json(record | more)


def _accepted(run: int = 1, disposition: str = "started") -> dict[str, Any]:
    data = {"disposition": disposition}
    return {"id": f"prompt:{run}", "type": "response", "command": "prompt", "success": True, "data": data}


def _said(text: str = "", stop: str = "stop", **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": text}] if text else []
    return {
        "type": "message_end",
        "message": {"role": "assistant", "content": content, "stopReason": stop, **more},
    }


def _heard(text: str) -> dict[str, Any]:
    return {"type": "message_end", "message": {"role": "user", "content": [{"type": "text", "text": text}]}}


def _failed(why: str) -> dict[str, Any]:
    return _said(stop="error", errorMessage=why)


def _feed(talk: PiConversation, *frames: dict[str, Any]) -> list[Any]:
    data = b"".join(json.dumps(frame, separators=(",", ":")).encode() + b"\n" for frame in frames)
    return talk.feed(1, data)


def _begun(*frames: dict[str, Any], history=None) -> PiConversation:
    talk = PiConversation("the brief", history or {})
    _feed(talk, READY, _accepted(), *frames)
    return talk


def _keys(talk: PiConversation) -> list[str]:
    return [each.key for each in talk.inputs]


def _prompts(talk: PiConversation) -> list[str]:
    lines = [json.loads(each.data) for each in talk.inputs if each.data]
    return [line["message"] for line in lines if line["type"] == "prompt"]


def _types(talk: PiConversation, since: str) -> list[str]:
    keys = _keys(talk)
    return [json.loads(each.data)["type"] for each in talk.inputs[keys.index(since) :] if each.data]


def test_a_message_for_later_is_a_follow_up() -> None:
    talk = _begun()
    talk.tell(Told("after", "message:1", "then this"))
    assert _types(talk, "message:1") == ["follow_up"]
    _feed(talk, _said(RESULT), _heard("then this"), _said(RESULT), SETTLED)
    assert talk.inputs[-1].eof
    assert _prompts(talk) == ["the brief"]


def test_a_message_for_now_breaks_off_what_it_is_at() -> None:
    talk = _begun()
    talk.tell(Told("message", "message:1", "mind the gap"))
    talk.tell(Told("now", "message:2", "stop that"))
    assert _types(talk, "message:1") == ["steer", "clear_queue", "abort"]
    _feed(talk, _said(stop="aborted"), SETTLED | {"aborted": True})
    assert _prompts(talk) == ["the brief", "mind the gap\n\nstop that"]  # the queue was cleared
    _feed(talk, _accepted(2), _heard("mind the gap\n\nstop that"), _said(RESULT), SETTLED)
    assert talk.ending(_exit()).state == "succeeded"


def test_it_may_have_ended_just_before_it_is_broken_off() -> None:
    talk = _begun()
    talk.tell(Told("now", "message:1", "stop that"))
    talk.tell(Told("message", "message:2", "and that"))  # before it has: said with it
    _feed(talk, _said(RESULT), SETTLED)
    assert _prompts(talk) == ["the brief", "stop that\n\nand that"]


def test_what_is_to_be_heard_now_waits_for_a_run_to_break_off() -> None:
    talk = PiConversation("the brief", {})
    talk.tell(Told("now", "message:1", "stop that"))
    _feed(talk, READY)
    assert _keys(talk) == ["ready", "prompt:1"]
    _feed(talk, _accepted())
    assert _types(talk, "message:1") == ["clear_queue", "abort"]


@pytest.mark.parametrize(("messages", "first"), [(0, "the brief"), (1, "the brief"), (2, RESUMED)])
def test_a_session_with_a_task_in_it_is_gone_on_with(messages, first) -> None:
    talk = PiConversation("the brief", {})
    _feed(talk, READY | {"data": {"model": {"provider": "dash"}, "messageCount": messages}})
    assert _prompts(talk) == [first]


def test_that_a_session_begins_is_no_last_word() -> None:
    talk = _begun()
    talk.feed(2, b"Warning: No project session found with id 'dash'; creating a new session.\nTypeError: x\n")
    assert talk.ending(_exit(code=1)).reason == "pi ended (exit code 1) while working: TypeError: x"


def test_from_ready_to_the_end() -> None:
    talk = PiConversation("the brief", {})
    assert (talk.stage.name, talk.starting, _keys(talk)) == ("ready", True, ["ready"])
    assert json.loads(talk.inputs[0].data) == {"id": "ready", "type": "get_state"}
    _feed(talk, READY)
    assert (talk.stage.name, talk.starting, _prompts(talk)) == ("accepted", False, ["the brief"])
    _feed(talk, _accepted())
    assert (talk.stage.name, talk.stage.limit_s) == ("working", None)
    _feed(talk, {"type": "agent_end", "messages": []}, _said(f"It is done.\n{RESULT}"))
    assert talk.stage.name == "working"
    _feed(talk, SETTLED)
    assert (talk.stage.name, _keys(talk)[-1], talk.inputs[-1].eof) == ("leaving", "end", True)
    ending = talk.ending(_exit())
    assert (ending.state, ending.result, ending.exit_code, ending.cpu_ms) == ("succeeded", RESULT, 0, 5)


def test_its_tools_are_its_progress() -> None:
    talk = _begun()
    tool = {
        "type": "tool_execution_start",
        "toolCallId": "c",
        "toolName": "bash",
        "args": {"command": "ls -l"},
    }
    assert [each.note for each in _feed(talk, tool, tool | {"toolName": "x", "args": None})] == [
        "bash ls -l",
        "x",
    ]


def test_a_missing_result_is_asked_for_once_more() -> None:
    talk = _begun(_said("I think it is done."), SETTLED)
    assert _prompts(talk)[1:] == [brief.ask_again()]
    _feed(talk, _accepted(2), _said(RESULT), SETTLED)
    assert talk.ending(_exit()).result == RESULT


def test_words_are_a_result_where_nothing_better_comes() -> None:
    talk = _begun(_said("First."), SETTLED, _accepted(2), _said("It is done."), SETTLED)
    ending = talk.ending(_exit())
    assert ending.state == "succeeded"
    assert json.loads(ending.result)["summary"] == "It is done."
    assert "without the result in the shape" in ending.reason


def test_nothing_is_no_result() -> None:
    talk = _begun(_said(), SETTLED, _accepted(2), _said(), SETTLED)
    assert (talk.ending(_exit()).state, talk.ending(_exit()).reason) == (
        "failed",
        "it ended without a result",
    )


@pytest.mark.parametrize(
    "why", ['402: {"type":"insufficient_quota","message":"dash: no"}', "insufficient_quota: no"]
)
def test_a_refused_budget_is_final(why: str) -> None:
    talk = _begun(_failed(why), SETTLED)
    ending = talk.ending(_exit())
    assert (ending.state, ending.retry, ending.reason) == (
        "failed",
        False,
        "its budget did not cover the next call",
    )
    assert talk.inputs[-1].eof


def test_a_status_is_an_answer_of_the_proxy_which_has_tried_all_there_is() -> None:
    ending = _begun(_failed("503: overloaded"), SETTLED).ending(_exit())
    assert (ending.state, ending.retry, ending.reason) == (
        "failed",
        True,
        "no model answered: 503: overloaded",
    )


def test_a_cut_stream_is_asked_for_again_in_the_same_session() -> None:
    talk = _begun()
    for number in range(1, RESUMES_MAX + 1):
        _feed(talk, _failed("terminated"), SETTLED, _accepted(number + 1))
        assert _prompts(talk)[-1] == RESUME
    _feed(talk, _said("a step", "toolUse"))  # an answer: it begins to count anew
    for number in range(RESUMES_MAX + 1, 2 * RESUMES_MAX + 1):
        _feed(talk, _failed("Connection error."), SETTLED, _accepted(number + 1))
    _feed(talk, _failed("Connection error."), SETTLED)
    assert len(_prompts(talk)) == 1 + 2 * RESUMES_MAX
    assert talk.ending(_exit()).reason == "no model answered: Connection error."


def test_an_abort_that_nobody_asked_for_is_a_failure() -> None:
    ending = _begun(_said("half", "aborted"), SETTLED | {"aborted": True}).ending(_exit())
    assert (ending.state, ending.retry) == ("failed", True)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (READY | {"success": False, "error": "no home"}, "not_ready: pi has no way to its model: no home"),
        (
            READY | {"data": {"model": {"provider": "other"}}},
            "not_ready: pi has no way to its model: {'model'",
        ),
    ],
)
def test_a_start_without_its_model_fails_at_once(frame, reason) -> None:
    talk = PiConversation("b", {})
    _feed(talk, frame)
    assert talk.ending(_exit()).reason.startswith(reason)
    assert _keys(talk) == ["ready", "end"]


@pytest.mark.parametrize(
    "answer", [_accepted() | {"success": False, "error": "no key"}, _accepted(1, "handled")]
)
def test_a_refused_task_fails_at_once(answer) -> None:
    talk = PiConversation("b", {})
    _feed(talk, READY, answer)
    assert talk.ending(_exit()).reason.startswith("not_accepted: ")


@pytest.mark.parametrize("method", ["select", "confirm", "input", "editor"])
def test_a_dialog_never_blocks(method: str) -> None:
    talk = _begun({"type": "extension_ui_request", "id": "7", "method": method, "title": "trust?"})
    assert json.loads(talk.inputs[-1].data) == {"id": "7", "type": "extension_ui_response", "cancelled": True}
    before = len(talk.inputs)
    _feed(talk, {"type": "extension_ui_request", "id": "8", "method": "notify", "message": "hi"})
    assert len(talk.inputs) == before


def _gate(**asked: Any) -> dict[str, Any]:
    text = json.dumps(asked)
    return {
        "type": "extension_ui_request",
        "id": "7",
        "method": "confirm",
        "title": "dash.tool_call",
        "message": text,
    }


def test_the_gates_question_is_for_others_to_answer() -> None:
    talk = _begun(_gate(tool="bash", command="git push"))
    (asked,) = talk.asks
    assert asked.key == "ask:7"
    assert asked.asks == (Ask("tool", "bash", "7/tool"), Ask("command", "git push", "7/command"))
    assert _keys(talk)[-1] == "prompt:1"  # nothing is said until somebody has decided
    talk.tell(Told("answer", "ask:7", "allow"))
    said = json.loads(talk.inputs[-1].data)
    assert said == {"id": "7", "type": "extension_ui_response", "confirmed": True}


def test_only_allow_is_a_yes_and_paths_are_asked_about_too() -> None:
    talk = _begun(_gate(tool="write", path="/w/a"))
    assert [ask.kind for ask in talk.asks[0].asks] == ["tool", "path"]
    talk.tell(Told("answer", "ask:7", "deny"))
    assert json.loads(talk.inputs[-1].data)["confirmed"] is False


def test_a_question_that_is_not_understood_is_refused_at_once() -> None:
    talk = _begun(_gate(command="rm"))
    assert talk.asks == []
    assert json.loads(talk.inputs[-1].data)["cancelled"] is True


def test_an_answer_that_comes_after_the_end_is_not_said() -> None:
    talk = _begun(_gate(tool="bash", command="x"))
    talk.tell(Told("leave", "leave"))
    talk.tell(Told("answer", "ask:7", "allow"))
    assert _keys(talk)[-1] == "leave:end"


def test_a_message_steers_a_run_and_waits_for_one() -> None:
    talk = PiConversation("b", {})
    talk.tell(Told("message", "message:1", "early"))
    assert _keys(talk) == ["ready"]
    _feed(talk, READY, _accepted())
    assert json.loads(talk.inputs[-1].data) == {"id": "message:1", "type": "steer", "message": "early"}
    _feed(talk, _heard("early"), _said(RESULT), SETTLED)
    assert talk.stage.name == "leaving"
    talk.tell(Told("message", "message:2", "late"))
    assert _keys(talk)[-1] == "end"


def test_a_message_that_came_too_late_for_the_run_gets_another_one() -> None:
    talk = _begun()
    talk.tell(Told("message", "message:1", "also this"))
    _feed(talk, _said(RESULT), SETTLED)
    assert _prompts(talk)[-1] == HEED
    _feed(talk, _accepted(2), _heard(HEED), _heard("also this"), _said(RESULT), SETTLED)
    assert talk.stage.name == "leaving"


def test_leaving_clears_the_queue_first() -> None:
    talk = _begun()
    talk.tell(Told("leave", "leave"))
    lines = [json.loads(each.data)["type"] if each.data else "eof" for each in talk.inputs[-3:]]
    assert (lines, talk.inputs[-1].eof) == (["clear_queue", "abort", "eof"], True)
    _feed(talk, _said("half", "aborted"), SETTLED | {"aborted": True})
    assert len(talk.inputs) == 5
    assert talk.ending(_exit()).reason == "pi ended (exit code 0) while leaving"


def test_what_expires_fails_at_its_stage() -> None:
    talk = PiConversation("b", {})
    talk.feed(2, b"Error: no such model\n")
    talk.tell(Told("expire", "expire:ready", "ready"))
    assert (_keys(talk), talk.inputs[-1].eof) == (["ready", "expire:ready"], True)
    assert talk.ending(_exit()).reason == "not_ready: pi did not answer within 120 s of its start"


def test_an_end_of_its_own_says_its_last_words() -> None:
    talk = PiConversation("b", {})
    talk.feed(2, b"x" * 5_000 + b" Cannot find module\n")
    ending = talk.ending(_exit(code=1))
    assert ending.reason.startswith("pi ended (exit code 1) while ready: xxx")
    assert "signal 9" in talk.ending(_exit(code=None, signal=9)).reason
    assert talk.ending(_exit(reason="start", error="ENOENT")).reason == "could not start: ENOENT"


@pytest.mark.parametrize(
    "noise", [b"\xff\n", b"{\n", b"[]\n", b'{"type":"message_end"}\n', b'{"type":"agent_settled"\n']
)
def test_noise_means_nothing(noise: bytes) -> None:
    talk = _begun()
    before = list(talk.inputs)
    assert talk.feed(1, noise) == []
    assert talk.inputs == before


def test_a_line_without_end_takes_no_memory() -> None:
    talk = _begun()
    for _ in range(100):
        talk.feed(1, b"x" * 65_536)
    assert talk.pending
    assert len(talk._lines._line) == 0
    talk.feed(1, b"\n")
    _feed(talk, _said(RESULT), SETTLED)
    assert talk.ending(_exit()).state == "succeeded"


def _story() -> tuple[bytes, PiConversation]:
    """A talk with everything in it, and all that Pi printed."""
    frames = [
        READY, _accepted(), _failed("terminated"), SETTLED, _accepted(2), _heard("also"),
        _said("x", "toolUse"), _said("words"), SETTLED, _accepted(3), _said(RESULT), SETTLED,
    ]  # fmt: skip
    talk = PiConversation("b", {})
    printed = b""
    for number, frame in enumerate(frames):
        printed += json.dumps(frame, separators=(",", ":")).encode() + b"\n"
        _feed(talk, frame)
        if number == 4:
            talk.tell(Told("message", "message:1", "also"))
    return printed, talk


@given(st.lists(st.integers(1, 400), max_size=20))
def test_fed_again_in_any_pieces_it_says_the_same(sizes: list[int]) -> None:
    printed, first = _story()
    history = {"prompt:2": [Told("message", "message:1", "also")]}
    again = PiConversation("b", history)
    for size in sizes:
        piece, printed = printed[:size], printed[size:]
        again.feed(1, piece)
    again.feed(1, printed)
    assert {each.key: each for each in again.inputs} == {each.key: each for each in first.inputs}
    assert again.ending(_exit()) == first.ending(_exit())


def test_told_again_after_a_crash_it_leaves_as_before() -> None:
    history = {"prompt:1": [Told("leave", "leave")]}
    talk = _begun(_said(RESULT), SETTLED, history=history)
    assert _keys(talk) == ["ready", "prompt:1", "leave", "leave:abort", "leave:end"]


# --- what the real one printed, recorded once, must be understood for ever ----------------------------------

RECORDED = {
    "tool": ("succeeded", "finished", ["ready", "prompt:1", "prompt:2", "end"]),
    "steered": ("succeeded", "finished", ["ready", "prompt:1", "message:1", "end"]),
    "cut": ("succeeded", "finished", ["ready", "prompt:1", "prompt:2", "end"]),
    "refused": ("failed", "its budget did not cover the next call", ["ready", "prompt:1", "end"]),
    "down": ("failed", "no model answered: 503: {", ["ready", "prompt:1", "end"]),
    "aborted": (
        "failed",
        "pi ended (exit code 0) while leaving",
        ["ready", "prompt:1", "leave", "leave:abort", "leave:end"],
    ),
}
TOLD = {
    "steered": [Told("message", "message:1", "mind the gap")],
    "aborted": [Told("leave", "leave")],
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_the_real_one_printed(name: str) -> None:
    """The word from outside comes where it came then: once the tool was at work."""
    talk = PiConversation("the brief", {})
    for line in (GOLDEN / f"{name}.ndjson").read_bytes().splitlines(keepends=True):
        progress = talk.feed(1, line)
        for told in TOLD.get(name, ()) if progress else ():
            talk.tell(told)
    state, reason, keys = RECORDED[name]
    ending = talk.ending(_exit())
    assert (ending.state, _keys(talk)) == (state, keys)
    assert ending.reason.startswith(reason)
    if state == "succeeded":
        assert json.loads(ending.result)["files_changed"] == ["note.txt"]


def test_every_recording_is_read() -> None:
    assert {path.stem for path in GOLDEN.glob("*.ndjson")} == set(RECORDED)
