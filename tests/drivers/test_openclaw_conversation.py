"""What is said to OpenClaw, as a function of what it prints: cut anywhere, fed again, never asked twice."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import brief
from dashd.domain.speech import FormatName
from dashd.drivers import openclaw_config
from dashd.drivers.driver import Session, Told
from dashd.drivers.line_conversation import AGAIN, RESUME, RESUMED, RESUMES_MAX
from dashd.drivers.openclaw_conversation import (
    HEED,
    LOOK,
    NOT_TAKEN,
    REFUSED,
    UNREAD,
    OpenClawConversation,
)
from dashd.jail.launch_folder import ExitRecord
from dashd.proxy.formats import FORMATS
from dashd.runtime.gateway_turns import BEGINS_CHARACTERS


def test_a_log_that_names_tools_without_end_is_read_at_once() -> None:
    def took_s(count: int) -> float:
        best = 9.9
        for _ in range(3):
            talk = OpenClawConversation("the brief", {})
            began = time.process_time()
            talk.feed(2, b"embedded run tool start: " * count + b"\n")
            best = min(best, time.process_time() - began)
        return best

    small = max(took_s(2_000), 1e-4)
    assert took_s(64_000) < 200 * small


RESULT = '{"summary":"done","files_changed":[],"tests":[],"follow_ups":[]}'
GOLDEN = Path(__file__).parents[2] / "schema/golden/openclaw-2026.9.6"
BEGUN = "[agent/embedded] embedded run agent start: runId=1"
TOOL = "[agent/embedded] embedded run tool start: runId=1 tool=exec toolCallId=call_1"
FAILED = "[agent/embedded] embedded run agent end: runId=1 isError=true error=no rawError="


def _exit(**more: Any) -> ExitRecord:
    record = {
        "code": 0, "signal": None, "reason": "exit", "error": None, "spool_bytes": 9, "spool_dropped": 0,
        "wall_ms": 10, "cpu_ms": 5, "max_rss_kib": 2048,
    }  # fmt: skip
    return ExitRecord.from_json(record | more)


def _turned(key: str = "turn:1", text: str = RESULT, **more: Any) -> dict[str, Any]:
    told = {"type": "turned", "id": key, "answered": True, "text": text, "error": "", "code": 0}
    return told | {"signal": None, "session": "s", "tokens": {}} | more


def _feed(talk: OpenClawConversation, *frames: dict[str, Any] | str) -> list[Any]:
    """Frames come from the runner, words from OpenClaw's log."""
    found = []
    for frame in frames:
        line = frame if isinstance(frame, str) else json.dumps(frame)
        found += talk.feed(2 if isinstance(frame, str) else 1, line.encode() + b"\n")
    return found


def _begun(*frames: dict[str, Any] | str, history=None) -> OpenClawConversation:
    talk = OpenClawConversation("the brief", history or {})
    _feed(talk, {"type": "ready"}, {"type": "turn", "id": "turn:1"}, BEGUN, *frames)
    return talk


def _said(talk: OpenClawConversation) -> list[tuple[str, str]]:
    """(key, message) of each input; the end of file has no message."""
    return [(each.key, json.loads(each.data)["message"] if each.data else "") for each in talk.inputs]


def test_from_ready_to_the_end() -> None:
    talk = OpenClawConversation("the brief", {})
    assert (talk.stage.name, talk.starting, talk.inputs) == ("ready", True, [])
    _feed(talk, {"type": "ready"})
    assert (talk.stage.name, talk.starting, _said(talk)) == ("starting", True, [("turn:1", "the brief")])
    _feed(talk, BEGUN)
    assert (talk.stage.name, talk.stage.limit_s, talk.starting) == ("working", None, False)
    _feed(talk, _turned())
    assert _said(talk)[1:] == [("end", "")]
    assert talk.stage.name == "leaving"
    ending = talk.ending(_exit())
    assert (ending.state, ending.result, ending.cpu_ms) == ("succeeded", RESULT, 5)


def test_the_one_after_a_kill_is_told_of_it_and_of_its_task() -> None:
    killed = {"resumed": True}, {"forked": True, "broken_off": True}
    for more, before in (*((each, f"{RESUMED}\n\n") for each in killed), ({"forked": True}, "")):
        talk = OpenClawConversation("the brief", {}, Session("/s", **more))
        _feed(talk, {"type": "ready"})
        assert _said(talk) == [("turn:1", f"{before}the brief")]


def test_a_turn_that_is_over_before_its_log_says_that_it_began() -> None:
    talk = OpenClawConversation("the brief", {})
    _feed(talk, {"type": "ready"}, _turned())
    assert talk.ending(_exit()).state == "succeeded"


def test_progress_is_the_turn_and_its_tools() -> None:
    talk = OpenClawConversation("the brief", {})
    found = _feed(talk, {"type": "ready"}, {"type": "turn", "id": "turn:1"}, BEGUN, TOOL)
    assert [each.note for each in found] == ["turn 1", "exec"]


def test_a_result_is_asked_for_once_more_in_the_same_session() -> None:
    talk = _begun(_turned(text="it is done"))
    assert _said(talk)[1:] == [("turn:2", brief.ask_again())]
    assert (talk.stage.name, talk.starting) == ("starting", False)  # others may start meanwhile
    _feed(talk, _turned("turn:2", text="really"))
    assert json.loads(talk.ending(_exit()).result)["summary"] == "really"


@pytest.mark.parametrize("refused", REFUSED)
def test_a_refused_budget_is_final(refused: str) -> None:
    talk = _begun(FAILED + refused + "; end here", _turned(text="", error="provider rejected", code=1))
    ending = talk.ending(_exit(code=0))
    assert (ending.reason, ending.retry) == ("its budget did not cover the next call", False)


def test_a_first_turn_that_a_gateway_does_not_take_is_no_attempt() -> None:
    refused = {"unbegun": True, "error": "agent: UNAVAILABLE: busy", "raw": "400 refused"}
    talk = _begun(_turned(text="", **refused))
    ending = talk.ending(_exit())
    assert (ending.state, "busy" in ending.reason) == ("never", True)
    assert talk.inputs[-1].eof


def test_a_model_that_is_down_fails_the_attempt() -> None:
    talk = _begun(FAILED + "503 dash: nobody answers", _turned(text="", error="failed", code=1))
    ending = talk.ending(_exit())
    assert (ending.reason, ending.retry) == ("no model answered: 503 dash: nobody answers", True)


def test_what_a_gateway_does_not_take_is_said_in_its_words() -> None:
    words = "agent: INVALID_REQUEST: unknown agent \x1b[31m s-001\n" + "x" * 900
    talk = _begun(_turned(text="", error=words, raw=NOT_TAKEN))
    ending = talk.ending(_exit())
    assert ending.reason.startswith(
        "the gateway did not take its turn: agent: INVALID_REQUEST: unknown agent  s-001 x"
    )
    assert (len(ending.reason) < 600, ending.retry) == (True, True)


@pytest.mark.parametrize("status", [400, 403, 429])
@pytest.mark.parametrize("form", openclaw_config.APIS)
def test_a_refusal_that_is_no_budgets_is_not_called_one(form: FormatName, status: int) -> None:
    _, body = FORMATS[form].refusal(status, "x", "too many calls", style="openclaw")
    told = json.loads(body)
    said = told["error"]["message"] if form == "openai-chat" else json.dumps(told, sort_keys=True)
    raw = f"400 {said}" if form == "openai-chat" else f"400: {said}"
    ending = _begun(f"{FAILED}{raw}", _turned(text="", error="rejected", code=1)).ending(_exit())
    assert (ending.reason, ending.retry) == (f"no model answered: {raw}", True)


def test_a_call_that_was_cut_is_asked_for_again_but_not_for_ever() -> None:
    talk = _begun(TOOL)
    for number in range(1, RESUMES_MAX + 1):
        _feed(talk, FAILED + "terminated", _turned(f"turn:{number}", text="", error="cut", code=1))
        assert _said(talk)[-1] == (f"turn:{number + 1}", RESUME)
    _feed(talk, _turned(f"turn:{RESUMES_MAX + 1}", text="", error="cut", code=1))
    assert talk.ending(_exit()).reason == "no model answered: cut"


def test_a_turn_in_whose_session_somebody_else_began_to_work_is_given_once_more() -> None:
    talk = _begun()
    changed = {"text": "", "error": "changed while starting work", "changed": True}
    for number in range(1, RESUMES_MAX + 1):
        _feed(talk, _turned(f"turn:{number}", **changed))
        assert _said(talk)[-1] == (f"turn:{number + 1}", "the brief")
    _feed(talk, _turned(f"turn:{RESUMES_MAX + 1}", **changed))
    assert talk.ending(_exit()).reason == "no model answered: changed while starting work"


def test_what_a_turn_came_to_is_seen_by_what_was_given_after_it_whatever_was_told_since() -> None:
    unread = f"{RESUME} {UNREAD}\n\nthe brief"
    missed = f"{RESUME} {LOOK} {UNREAD}\n\nthe brief"
    for told in (RESUME, unread, missed, brief.ask_again(), "the brief"):
        talk = _begun()
        talk.tell(Told("message", "message:9", "this came after dashd did"))
        _feed(talk, _turned(text="", then={"id": "turn:2", "begins": told[:BEGINS_CHARACTERS]}))
        assert _said(talk)[1:] == [("turn:2", told)]
        _feed(talk, _turned("turn:2"))
        assert _said(talk)[-1][0] == "message:9"


def test_what_failed_in_one_turn_says_nothing_about_the_next() -> None:
    talk = _begun(FAILED + REFUSED[0], _turned(text="so"))  # its own next call went through
    _feed(talk, _turned("turn:2", text="", error="cut", code=1))
    assert _said(talk)[-1][0] == "turn:3"
    assert _said(talk)[-1][1].startswith(RESUME)


def test_what_a_turn_that_broke_may_not_have_read_is_said_again_until_a_tool_works() -> None:
    talk = _begun()
    talk.tell(Told("message", "m", "mind the gap"))
    owned = {"text": "", "error": "another OpenClaw process owns state-lifecycle", "code": 1}
    for number in (1, 2):
        _feed(talk, _turned(f"turn:{number}", **owned))
        assert _said(talk)[-1] == (f"turn:{number + 1}", f"{RESUME} {UNREAD}\n\nthe brief")
    _feed(talk, TOOL, _turned("turn:3", **owned))
    assert _said(talk)[-1] == ("turn:4", RESUME)
    _feed(talk, _turned("turn:4", text="so far"))
    assert _said(talk)[-1] == ("m", f"mind the gap\n\n{HEED}")
    _feed(talk, _turned("m", **owned))
    assert _said(talk)[-1] == ("turn:6", f"{RESUME} {UNREAD}\n\nmind the gap\n\n{HEED}")


@pytest.mark.parametrize("heard", [True, False])
def test_nobody_is_told_to_begin_anew_at_what_may_be_done_though_nobody_heard_of_it(heard: bool) -> None:
    """A tool is heard of once: not by who comes back to a gateway, or over another connection."""
    talk = OpenClawConversation("the brief", {})
    broken = {"text": "", "error": "Connection error."}
    tool = [{"type": "tool", "name": "exec"}] * heard
    _feed(talk, {"type": "ready"}, {"type": "turn", "id": "turn:1", "again": True}, {"type": "begun"}, *tool)
    _feed(talk, _turned(**broken))
    told = RESUME if heard else f"{RESUME} {LOOK} {UNREAD}\n\nthe brief"
    assert _said(talk)[-1] == ("turn:2", told)
    _feed(talk, {"type": "turn", "id": "turn:2"}, {"type": "begun"}, _turned("turn:2", **broken))
    assert _said(talk)[-1] == ("turn:3", told)
    _feed(talk, {"type": "tool", "name": "exec"}, _turned("turn:3", **broken))
    assert _said(talk)[-1] == ("turn:4", RESUME)


@pytest.mark.parametrize(
    ("turned", "reason"),
    [
        ({"code": None, "signal": 9, "answered": False}, "openclaw ended (signal 9) while working"),
        ({"code": 1, "answered": False}, "openclaw ended (exit code 1) without an answer: no space"),
    ],
)
def test_an_end_without_an_answer_fails_and_says_how(turned: dict[str, Any], reason: str) -> None:
    talk = OpenClawConversation("the brief", {})
    _feed(talk, {"type": "ready"}, BEGUN)
    talk._last_words = b""
    _feed(talk, "no space", _turned(text="", **turned))
    ending = talk.ending(_exit())
    assert (ending.state, ending.reason, ending.retry) == ("failed", reason, True)
    assert ending.exit_signal == turned.get("signal")  # after which the next one goes on in its session


def test_messages_are_the_next_turns_and_the_last_answer_counts() -> None:
    talk = _begun()
    talk.tell(Told("message", "message:1", "mind the gap"))
    talk.tell(Told("message", "message:2", "and the door"))
    assert len(talk.inputs) == 1
    _feed(talk, _turned(text="early"))
    assert _said(talk)[1:] == [("message:1", f"mind the gap\n\n{HEED}")]  # that it was given says more so
    _feed(talk, _turned("message:1"))
    assert _said(talk)[2:] == [("message:2", f"and the door\n\n{HEED}")]
    assert talk.stage.name == "starting"
    _feed(talk, _turned("message:2", text="late"))
    assert _said(talk)[-1][1] == brief.ask_again()


@pytest.mark.parametrize(
    ("stage", "reason"), [("ready", "not_ready: "), ("starting", "not_started: "), ("leaving", "stuck: ")]
)
def test_a_stage_that_takes_too_long_has_its_name_in_the_reason(stage: str, reason: str) -> None:
    talk = OpenClawConversation("the brief", {})
    talk.tell(Told("expire", f"expire:{stage}", stage))
    assert talk.inputs[-1].eof
    assert talk.ending(_exit()).reason.startswith(reason)


def test_told_to_leave_it_hears_nothing_more() -> None:
    talk = _begun()
    talk.tell(Told("leave", "leave"))
    talk.tell(Told("leave", "leave"))
    _feed(talk, _turned())
    assert [(each.key, each.eof) for each in talk.inputs[1:]] == [("leave", True)]
    assert talk.ending(_exit(code=None, signal=15)).reason.startswith("openclaw ended (signal 15)")


def test_lines_that_are_none_and_turns_of_others_mean_nothing() -> None:
    talk = _begun()
    before = len(talk.inputs)
    for line in (b"not json\n", b"\xff\xfe\n", b"[1]\n", b'{"type":"turned","id":1}\n'):
        talk.feed(1, line)
    _feed(talk, _turned("turn:7"))
    assert len(talk.inputs) == before


LINES = [
    (1, b'{"type":"ready"}\n'),
    (1, b'{"type":"turn","id":"turn:1"}\n'),
    (2, BEGUN.encode() + b"\n"),
    (2, TOOL.encode() + b"\n"),
    (2, (FAILED + "terminated").encode() + b"\n"),
    (1, json.dumps(_turned(text="", error="cut", code=1)).encode() + b"\n"),
    (1, json.dumps(_turned("turn:2", text="done")).encode() + b"\n"),
    (1, json.dumps(_turned("message:1")).encode() + b"\n"),
]


@given(st.data())
def test_however_its_output_is_cut_the_same_is_said(data) -> None:
    def run(*, cut: bool) -> list[str]:
        told = Told("message", "message:1", "mind the gap")
        talk = OpenClawConversation("the brief", {"turn:2": [told]})
        for stream, line in LINES:
            at = data.draw(st.integers(0, len(line))) if cut else 0
            for piece in (line[:at], line[at:]):
                talk.feed(stream, piece)
        assert not talk.pending
        return [each.key for each in talk.inputs]

    assert run(cut=True) == run(cut=False) == ["turn:1", "turn:2", "message:1", "end"]


# --- what the real one printed, recorded once, must be understood for ever ----------------------------------

RECORDED: dict[str, tuple[str, str, list[str]]] = {
    "tool": ("succeeded", "finished", ["turn:1", "end"]),
    "asked_again": ("succeeded", "finished", ["turn:1", "turn:2", "end"]),
    "cut": ("succeeded", "finished", ["turn:1", "turn:2", "end"]),
    "refused": ("failed", "its budget did not cover the next call", ["turn:1", "end"]),
    "down": ("failed", "no model answered: 5", ["turn:1", "end"]),
    "message": ("succeeded", "finished", ["turn:1", "message:1", "end"]),
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_the_real_one_printed(name: str) -> None:
    """The word from outside comes where it came then: once the tool was at work."""
    talk = OpenClawConversation("the brief", {})
    notes = []
    for line in (GOLDEN / f"{name}.ndjson").read_text().splitlines():
        frame = json.loads(line)
        notes += [each.note for each in talk.feed(frame["stream"], frame["line"].encode() + b"\n")]
        if name == "message" and notes[-1:] == ["exec"]:
            talk.tell(Told("message", "message:1", "mind the gap"))
            notes.append("told")
    state, reason, keys = RECORDED[name]
    ending = talk.ending(_exit())
    assert (ending.state, [each.key for each in talk.inputs]) == (state, keys)
    assert ending.reason.startswith(reason)
    assert notes[0] == "turn 1"


def test_every_recording_is_read() -> None:
    assert {path.stem for path in GOLDEN.glob("*.ndjson")} == set(RECORDED)


def test_in_a_session_with_something_in_it_the_model_is_told_to_look_first() -> None:
    for told, before in (({"resumed": True}, RESUMED), ({"resumed": False, "again": True}, AGAIN)):
        talk = OpenClawConversation("the brief", {})
        _feed(talk, {"type": "ready", **told})
        ((_, said),) = _said(talk)
        assert said == f"{before}\n\nthe brief"


def test_what_a_session_begins_with_and_is_not_taken_over_is_the_reason() -> None:
    talk = _begun(_turned(answered=False, error="it did not take it over: no", code=0))
    ending = talk.ending(_exit())
    assert (ending.state, ending.retry) == ("failed", True)
    assert ending.reason == "openclaw ended (exit code 0) without an answer: it did not take it over: no"


def test_an_answer_that_is_cut_in_a_character_is_heard() -> None:
    talk = _begun(_turned(text=f"cut here \ud83d\n{RESULT}"))
    assert (talk.ending(_exit()).state, talk.ending(_exit()).result) == ("succeeded", RESULT)
