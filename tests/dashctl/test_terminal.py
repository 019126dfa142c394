"""The door to the terminal: what is said where, in which colours, and when a person is asked."""

import json

import pytest

EVIL = "\x1b]0;t\x07\x1b[2Jx\u202ey\x7f"


def test_data_goes_to_stdout_and_notes_to_stderr(output):
    out = output()
    out.line("data")
    out.note("note")
    out.passing("only for terminals")
    assert (out._stdout.getvalue(), out._stderr.getvalue()) == ("data\n", "note\n")


@pytest.mark.parametrize("columns", [0, 80])
def test_no_way_out_leaves_text_unsanitised(output, columns: int):
    out = output(columns, color="never")
    out.line(EVIL, (EVIL, "red"))
    out.block(EVIL)
    out.stream(EVIL)
    out.data({EVIL: EVIL})
    out.data_line([EVIL])
    out.note(EVIL)
    out.failure({"message": EVIL, "hint": EVIL})
    out.ask(EVIL)
    out.passing(EVIL)
    written = out._stdout.getvalue() + out._stderr.getvalue().replace("\r\x1b[K", "")
    assert not set(written) & set("\x1b\x07\x7f\u202e")


def test_json_survives_what_it_escapes(output):
    out = output()
    out.data({"a": "日本\x7f\x1b\ud800"})
    assert json.loads(out._stdout.getvalue()) == {"a": "日本\x7f\x1b\ud800"}


@pytest.mark.parametrize(
    ("columns", "env", "color", "coloured"),
    [
        (80, {}, "auto", True),
        (0, {}, "auto", False),
        (80, {"NO_COLOR": "1"}, "auto", False),
        (80, {"TERM": "dumb"}, "auto", False),
        (0, {"FORCE_COLOR": "1"}, "auto", True),
        (0, {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, "auto", False),
        (0, {"FORCE_COLOR": "0"}, "auto", False),
        (80, {"NO_COLOR": "1"}, "always", True),
        (80, {}, "never", False),
    ],
)
def test_colour(output, columns, env, color, coloured):
    out = output(columns, env=env, color=color)
    out.line(("x", "red"))
    assert ("\x1b[31m" in out._stdout.getvalue()) is coloured


def test_raw_text_is_refused_on_a_terminal(output):
    with pytest.raises(AssertionError):
        output(80).raw("x")


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False), ("yep\n", False)]
)
def test_only_yes_is_a_yes(output, typed: str, answer: bool):
    out = output(80)
    out.stdin.write(typed)
    out.stdin.seek(0)
    assert out.ask("Sure?") is answer


def test_an_error_names_what_and_what_next(output):
    out = output()
    out.failure({"message": "no such thing.", "hint": "swarm.list names them", "path": "swarm"}, subject="x")
    assert out._stderr.getvalue() == "error: x: no such thing (swarm)\nhint: dashctl swarm list names them\n"


def test_an_error_in_json_is_one_object(output):
    out = output(as_json=True)
    out.failure({"message": "no", "hint": "swarm.list"})
    assert json.loads(out._stderr.getvalue()) == {"error": {"message": "no", "hint": "swarm.list"}}
