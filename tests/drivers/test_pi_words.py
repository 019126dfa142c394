"""What Pi says that is cut, repeated or beside the point: heard as far as it goes, in bounded work."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import brief
from dashd.drivers.driver import Told
from tests.drivers.test_pi_conversation import (
    RESULT,
    SETTLED,
    _accepted,
    _begun,
    _exit,
    _feed,
    _prompts,
    _said,
    _types,
)

NOISE = b"Warning: No project session found"


@given(st.lists(st.sampled_from([NOISE, b"\n", b"x", b"Warning: "]), max_size=12).map(b"".join))
def test_of_what_it_says_only_whole_such_lines_are_left_out(said: bytes) -> None:
    talk = _begun()
    talk.feed(2, said)
    kept = re.sub(NOISE + rb"[^\n]*\n", b"", said).decode().strip()
    reason = talk.ending(_exit(code=1)).reason
    assert reason == "pi ended (exit code 1) while working" + (f": {kept}" if kept else "")


def test_what_it_says_takes_no_longer_than_its_length() -> None:
    def took_s(count: int) -> float:
        said, took = (NOISE * count)[: count * 16], []
        for _ in range(5):
            talk, begun = _begun(), time.process_time()
            talk.feed(2, said)
            took.append(time.process_time() - begun)
        return min(took)

    small = max(took_s(1_000), 1e-4)
    assert took_s(8_000) < 30 * small  # eight times the length; the square of it is 64


def test_an_answer_that_is_cut_off_twice_is_no_result() -> None:
    talk = _begun(_said("I have chang", stop="length"), SETTLED)
    assert _prompts(talk)[1:] == [brief.ask_again()]
    _feed(talk, _accepted(2), _said('{"summary": "do', stop="length"), SETTLED)
    ending = talk.ending(_exit())
    assert (ending.state, ending.retry) == ("failed", True)
    assert ending.reason.startswith("its answer was cut off")
    again = _begun(
        _said("I have chang", stop="length"), SETTLED, _accepted(2), _said(RESULT, stop="length"), SETTLED
    )
    assert again.ending(_exit()).result == RESULT


def test_an_answer_that_is_cut_in_a_character_is_heard() -> None:
    talk = _begun(_said("an answer before it"), _said(f"cut here \ud83d\n{RESULT}"), SETTLED)
    assert (talk.ending(_exit()).state, talk.ending(_exit()).result) == ("succeeded", RESULT)
    talk = _begun()
    talk.tell(Told("compact", "message:1"))
    _feed(talk, {"type": "turn_end", "message": {"content": "\ud83d"}, "toolResults": [{}]})
    assert _types(talk, "message:1") == ["clear_queue", "compact"]
