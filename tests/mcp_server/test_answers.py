"""What a model reads: harmless text, bounded size, and refusals that lead on."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.wire import errors
from mcp_server import answers
from tests.fakes import daemon as fake


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nnext", "plain\ttext\nnext"),
        ("a\r\nb", "a\nb"),
        ("\x1b[2J\x1b]0;title\x07.", "."),
        ("over\rwritten", "over\nwritten"),
        ("c1 \x9b31m bell \x07", "c1  bell \ufffd"),
        ("\u202egnp.exe", "gnp.exe"),
        ("hidden\U000e0041\u2066", "hidden"),
        ("half \ud800", "half \ufffd"),
        ("grüße, 日本語, 👩‍💻", "grüße, 日本語, 👩💻"),
    ],
)
def test_sequences_go_and_so_does_what_hides_or_reorders(text, shown):
    assert answers.clean(text) == shown


@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
    )
)
def test_whatever_comes_is_clean_json(value):
    text = answers.encoded(answers.clean(value, 50))
    shown = str(msgspec.json.decode(text)).replace("\n", "").replace("\t", "")  # a text has lines
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)


def test_long_text_is_cut_and_says_so():
    assert answers.clean("x" * 30, 10) == "xxxxxxxxxx… [20 characters cut]"
    assert answers.clean("x" * 10, 10) == "x" * 10


def test_deep_values_end_somewhere():
    value = []
    for _ in range(500):
        value = [value]
    assert "nested too deep" in answers.encoded(answers.clean(value))


def test_a_result_leaves_out_what_is_empty_and_what_is_named():
    shown = answers.of(fake.a_swarm(name="", duration_s=0.0), "argv", "limits")
    assert shown["id"] == fake.ID
    assert (shown["ending"], shown["duration_s"]) == (False, 0.0)
    assert not {"name", "outcome", "ended_at", "argv", "limits"} & shown.keys()


def test_an_event_does_not_repeat_the_swarm_that_was_asked_for():
    event = fake.an_event(3, data={"note": "n" * 1_000, "exit": None})
    assert "swarm" not in answers.event(event, fake.ID)
    shown = answers.event(event, None)
    assert shown["swarm"] == fake.ID
    assert len(shown["data"]["note"]) < answers.EVENT_CHARS_MAX + 50


def test_a_report_that_is_too_long_gives_up_results_before_failures():
    entry = {"task": "t", "result": "r" * 100}
    report = {"id": "s", "results": [entry] * 20, "failures": [entry] * 5, "left_out": 2}
    cut = answers.fitted(report, 1_000)
    assert len(answers.encoded(cut)) <= 1_000
    assert (len(cut["results"]), len(cut["failures"])) == (2, 5)
    assert cut["left_out"] == 2 + 18
    assert answers.fitted(report, 100_000) == report
    assert len(report["results"]) == 20


def test_a_refusal_says_what_and_what_next():
    text = answers.refusal("swarm_get", errors.RateLimited("too fast"), "", "")
    assert text == "swarm_get failed: too fast. [RateLimited]\nThe same call may be repeated."
    text = answers.refusal("t", errors.InvalidParams("wrong\x1b", path="a.b"), "right", "Ids: x", "Do y")
    assert text == "t failed: wrong\ufffd. (argument a.b) [InvalidParams]\nright.\nIds: x.\nDo y."
