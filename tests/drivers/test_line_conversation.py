"""What conversations in JSON lines share; each of them is tested with its own program's lines."""

import json
from typing import ClassVar

import pytest

from dashd.domain import brief
from dashd.drivers.driver import OVER_BUDGET, Input, Progress, Stage, Told
from dashd.drivers.line_conversation import LINE_BYTES_MAX, REASON_CHARACTERS_MAX, LineConversation, short
from dashd.jail.holder_link import INPUT_BYTES_MAX
from dashd.jail.launch_folder import ExitRecord

WORKING = Stage("working", None)
RESULT = json.dumps({"summary": "did it", "files_changed": [], "tests": [], "follow_ups": []})


class Echo(LineConversation):
    """Each line is its model's last word."""

    PROGRAM = "echo"
    EXPIRED: ClassVar = {"greeting": "it did not greet"}

    def __init__(self, history=None) -> None:
        super().__init__(WORKING, history or {})
        self.heard: list[Told] = []
        self.read: list[bytes] = []
        self._say("first", text="hello")

    def tell(self, told: Told) -> None:
        self.heard.append(told)

    def _read(self, line: bytes) -> Progress | None:
        self.read.append(line)
        self._answered_task(line.decode())
        return None

    def _prompt(self, text: str) -> None:
        self._say("again", text=text)


def _exit(**more) -> ExitRecord:
    given = {"code": 0, "signal": None, "reason": "exit", "error": None}
    given |= dict.fromkeys(("spool_bytes", "spool_dropped", "wall_ms", "cpu_ms", "max_rss_kib"), 0)
    return ExitRecord(**(given | more))


def test_a_result_is_asked_for_once_more_and_then_taken_as_it_comes() -> None:
    talk = Echo()
    talk.feed(1, b"I am ")
    assert talk.pending
    talk.feed(1, b"done\nno really\n")
    assert [each.key for each in talk.inputs] == ["first", "again", "end"]
    assert json.loads(talk.inputs[1].data)["text"] == brief.ask_again()
    assert (talk.inputs[2], talk.stage) == (Input("end", b"", eof=True), LineConversation.LEAVING)
    ending = talk.ending(_exit())
    assert (ending.state, json.loads(ending.result)["summary"]) == ("succeeded", "no really")


def test_a_result_in_the_right_shape_is_the_end() -> None:
    talk = Echo()
    talk.feed(1, RESULT.encode() + b"\n")
    assert talk.ending(_exit()).result == RESULT.replace(": ", ":").replace(", ", ",")


def test_an_end_without_a_word_names_the_program_the_stage_and_its_last_words() -> None:
    talk = Echo()
    talk.feed(2, b"no space left\n")
    reason = talk.ending(_exit(code=3)).reason
    assert reason == "echo ended (exit code 3) while working: no space left"
    assert "signal 9" in talk.ending(_exit(code=None, signal=9)).reason


def test_a_line_that_is_too_long_is_passed_over() -> None:
    talk = Echo()
    talk.feed(1, b"x" * LINE_BYTES_MAX)
    assert talk.pending
    talk.feed(1, b"y\nz\n")
    assert talk.read == [b"z"]


def test_what_was_told_comes_at_the_place_where_it_came() -> None:
    told = Told("message", "m1", "mind the gap")
    assert Echo({"first": [told], "later": [told]}).heard == [told]


@pytest.mark.parametrize(
    ("stage", "reason"),
    [("greeting", "it did not greet"), ("working", "stuck: echo did not get past working")],
)
def test_a_stage_that_took_too_long_says_which(stage: str, reason: str) -> None:
    talk = Echo()
    talk._expire(Told("expire", "e1", stage))
    assert [each.key for each in talk.inputs] == ["first", "e1"]
    assert (talk.ending(_exit()).reason, talk.ending(_exit()).retry) == (reason, True)


def test_a_refused_budget_is_final() -> None:
    talk = Echo()
    talk._over_budget()
    assert (talk.ending(_exit()).reason, talk.ending(_exit()).retry) == (OVER_BUDGET, False)


def test_a_reason_is_short() -> None:
    assert short("a") == "a"
    assert len(short("a" * 1_000)) == REASON_CHARACTERS_MAX + 1


def test_more_than_an_input_may_be_ends_the_attempt_alone() -> None:
    """Many messages may have come, which are all said at once."""
    talk = Echo()
    talk._say("all", text="x" * INPUT_BYTES_MAX)
    assert [each.key for each in talk.inputs] == ["first", "end"]
    assert "more than it can be" in talk.ending(_exit()).reason
