"""Driver `command`: templates, environment, progress lines and exits."""

import errno
import itertools
import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.drivers.command import (
    LINE_BYTES_MAX,
    NOTE_CHARACTERS_MAX,
    PLACEHOLDERS,
    PRINTED,
    CommandDriver,
    ProgressReader,
    parse,
)
from dashd.drivers.driver import Progress, Work
from dashd.jail.launch_folder import ExitRecord
from dashd.wire import errors

DRIVER = CommandDriver()


def _work(*argv: str, item: str = "a.py", task: str = "lint", cwd: str = "/tmp") -> Work:
    return Work(argv, item, task, cwd, "7k2m9q", "7k2m9q-001", "7k2m9q-t1", 300.0)


# --- the command --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{item}", "a.py"),
        ("x{item}y{task}z{cwd}", "xa.pyylintz/tmp"),
        ("{item}{item}", "a.pya.py"),
        ("{other} {} {{item}} ${item:-x}", "{other} {} {a.py} ${item:-x}"),
        ("{item", "{item"),
        ("", ""),
    ],
)
def test_a_template_is_filled_in(template: str, filled: str) -> None:
    assert DRIVER.command(_work(template), {}).argv == (filled,)


def test_values_are_never_read_as_templates() -> None:
    work = _work("{item}", "{task}", "{item}{task}", item="{task}", task="{item} {cwd}")
    assert DRIVER.command(work, {}).argv == ("{task}", "{item} {cwd}", "{task}{item} {cwd}")


@given(st.text(), st.text(), st.text())
def test_any_value_goes_in_as_it_is(item: str, task: str, cwd: str) -> None:
    work = _work("<{item}|{task}|{cwd}>", item=item, task=task, cwd=cwd)
    assert DRIVER.command(work, {}).argv == (f"<{item}|{task}|{cwd}>",)


@given(st.text(alphabet="{}itemaskcwd ", max_size=40))
def test_a_template_without_tokens_stays_as_it_is(template: str) -> None:
    for token in ("{item}", "{task}", "{cwd}"):
        template = template.replace(token, "")
    if not any(token in template for token in ("{item}", "{task}", "{cwd}")):
        assert DRIVER.command(_work(template), {}).argv == (template,)


def test_no_shell_comes_in_between() -> None:
    hostile = "; rm -rf / #$(id)`id`"
    assert DRIVER.command(_work("echo", "{item}", item=hostile), {}).argv == ("echo", hostile)


def test_of_the_daemons_environment_little_is_passed_on() -> None:
    environ = {
        "PATH": "/bin", "HOME": "/root", "LANG": "C", "LC_ALL": "C.UTF-8", "TZ": "UTC", "TMPDIR": "/t",
        "ANTHROPIC_API_KEY": "canary", "OPENAI_API_KEY": "canary", "DASH_JWT_SECRET": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary", "SSH_AUTH_SOCK": "canary", "LD_PRELOAD": "canary",
        "PYTHONPATH": "canary", "BASH_ENV": "canary", "DASH_SOCKET": "canary", "DASH_STATE_DIR": "canary",
        "NOTIFY_SOCKET": "canary", "XDG_RUNTIME_DIR": "canary", "path": "canary", "XLC_ALL": "canary",
    }  # fmt: skip
    command = DRIVER.command(_work("env"), environ)
    assert "canary" not in json.dumps(dict(command.env))
    assert set(command.env) == {
        "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "DASH_SWARM", "DASH_AGENT", "DASH_TASK",
    }  # fmt: skip
    assert command.env["DASH_AGENT"] == "7k2m9q-001"
    assert (command.cwd, command.stdin) == ("/tmp", False)


# --- what is refused before anything is made ----------------------------------------------------------------


def test_a_good_command_stays_as_it_is(tmp_path) -> None:
    argv = ["sh", "-c", "wc -l < {item}"]
    assert DRIVER.check(argv, str(tmp_path)) == (argv, str(tmp_path))
    assert DRIVER.check(["{item}", "x"], str(tmp_path))[0] == ["{item}", "x"]


@pytest.mark.parametrize(
    ("argv", "cwd", "path", "says"),
    [
        (None, "{tmp}", "argv", "needs argv"),
        ([], "{tmp}", "argv", "needs argv"),
        (["true"], None, "cwd", "cwd is missing"),
        (["true"], "relative", "cwd", "absolute"),
        (["true"], "{tmp}/nothing", "cwd", "no folder"),
        (["true"], "{tmp}/file", "cwd", "no folder"),
        (["true", "a\0b"], "{tmp}", "argv", "NUL"),
        (["no-such-program-anywhere"], "{tmp}", "argv", "no program"),
        ([""], "{tmp}", "argv", "no program"),
        (["./file"], "{tmp}", "argv", "no program"),
        (["./folder"], "{tmp}", "argv", "no program"),
    ],
)
def test_a_typing_error_is_refused_with_what_would_be_right(tmp_path, argv, cwd, path, says) -> None:
    (tmp_path / "file").write_text("not a program")
    (tmp_path / "folder").mkdir()
    with pytest.raises(errors.InvalidParams, match=says) as caught:
        DRIVER.check(argv, cwd and cwd.replace("{tmp}", str(tmp_path)))
    assert caught.value.path == path
    assert caught.value.hint


def test_a_folder_that_is_exchanged_while_it_is_looked_at_is_refused(tmp_path, monkeypatch) -> None:
    def realpath(path: str) -> str:
        raise OSError(errno.EINVAL, "Invalid argument", path)

    monkeypatch.setattr(os.path, "realpath", realpath)
    with pytest.raises(errors.InvalidParams, match="changed while it was looked at: Invalid arg") as caught:
        DRIVER.check(["true"], str(tmp_path))
    assert (caught.value.path, caught.value.hint) == ("cwd", "try again when nobody moves it")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("{itme}", {"itme": "item"}),
        ("x={Item} {ITEM}.{items}", {"Item": "item", "ITEM": "item", "items": "item"}),
        ("--cwd={cdw}", {}),
        ("{taks} {tsk} {task}", {"taks": "task", "tsk": "task"}),
        ("{item}{task}{cwd}", {}),
        ("${itme} ${items}", {}),
        ("awk '{print} {next} {exit}' {}", {}),
        ("for f in *; do { item; }; done", {}),
        ('{"itme": 1} {itme,items} {a..z} {{}}', {}),
        ("{name} {time} {print $1}", {}),
    ],
)
def test_what_is_nearly_a_placeholder_is_remarked_on(argument, words) -> None:
    remarks = DRIVER.remarks(["sh", "-c", argument, argument])
    assert remarks == [
        f"{{{word}}} in argv is passed on as it is; did you mean {{{meant}}}?"
        for word, meant in words.items()
    ]


def test_the_placeholders_are_those_that_are_filled_in() -> None:
    argv = tuple(f"{{{name}}}" for name in PLACEHOLDERS)
    assert DRIVER.command(_work(*argv), {}).argv == ("a.py", "lint", "/tmp")


def test_a_program_may_be_named_relative_to_the_folder(tmp_path) -> None:
    program = tmp_path / "go"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert DRIVER.check(["./go"], str(tmp_path))[0] == ["./go"]
    assert DRIVER.check([str(program)], "/")[0] == [str(program)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter everywhere")
def test_a_folder_that_may_not_be_entered_is_refused(tmp_path) -> None:
    (tmp_path / "closed").mkdir(mode=0o600)
    with pytest.raises(errors.InvalidParams, match="may not enter"):
        DRIVER.check(["true"], str(tmp_path / "closed"))


# --- progress -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        (b'@dash {"progress": [3, 5], "note": "x"}', Progress(3, 5, "x")),
        (b'@dash {"progress": [3]}', Progress(3, None, "")),
        (b'@dash {"note": "x"}', Progress(None, None, "x")),
        (b'@dash {"progress": null}', Progress(None, None, "")),
        (b'@dash {"progress": [0, 0], "later": true}', Progress(0, 0, "")),
        (b"@dash {}", Progress(None, None, "")),
        (b'@dash  {"progress": [1, 2]}\r', Progress(1, 2, "")),
    ],
)
def test_a_report_is_read(line: bytes, progress: Progress) -> None:
    assert parse(line) == progress


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"@dash",
        b"@dash ",
        b"@dash not json",
        b"@dash []",
        b'@dash {"progress": []}',
        b'@dash {"progress": [1, 2, 3]}',
        b'@dash {"progress": [-1, 5]}',
        b'@dash {"progress": [1.5, 5]}',
        b'@dash {"progress": ["1", 5]}',
        b'@dash {"progress": [9007199254740993, 5]}',
        b'@dash {"progress": [NaN, 5]}',
        b'@dash {"note": 5}',
        b'@dash {"note": "\xff"}',
        b'@dash {"progress": [1, 2]} trailing',
        b"@dash " + b"[" * 20_000,
        b' @dash {"progress": [1, 2]}',
        b'@Dash {"progress": [1, 2]}',
    ],
)
def test_what_is_no_report_means_nothing(line: bytes) -> None:
    assert parse(line) is None


def test_half_a_character_of_a_note_is_unknown() -> None:
    assert parse(b'@dash {"note": "\\ud83d"}') == Progress(None, None, "\ufffd")


def test_a_note_is_cut() -> None:
    found = parse(b'@dash {"note": "' + b"x" * 1_000 + b'"}')
    assert found is not None
    assert len(found.note) == NOTE_CHARACTERS_MAX


OUTPUT = (
    b'hello\n@dash {"progress": [1, 3]}\n\n@dash {"progress": [2, 3], "note": "\xc3\xa9"}\r\n'
    b'not @dash {"progress": [9, 9]}\n@dash broken\n@dash {"progress": [3, 3]}\n@dash {"progress": [7'
)
FOUND = [Progress(1, 3, ""), Progress(2, 3, "é"), Progress(3, 3, "")]


def _read(pieces: list[bytes]) -> list[Progress]:
    reader = ProgressReader()
    return [progress for piece in pieces for progress in reader.feed(1, piece)]


def test_output_cut_at_every_byte_says_the_same() -> None:
    for cut in range(len(OUTPUT) + 1):
        assert _read([OUTPUT[:cut], OUTPUT[cut:]]) == FOUND
    assert _read([OUTPUT[at : at + 1] for at in range(len(OUTPUT))]) == FOUND


@given(st.lists(st.integers(0, len(OUTPUT)), max_size=30))
def test_output_cut_anywhere_says_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(OUTPUT)]
    assert _read([OUTPUT[a:b] for a, b in itertools.pairwise(edges)]) == FOUND


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_no_output_can_break_the_reader(pieces: list[bytes]) -> None:
    reader = ProgressReader()
    for piece in pieces:
        reader.feed(1, piece)
    reader.feed(1, b"\n")
    assert reader.feed(1, b'@dash {"progress": [1, 2]}\n') == [Progress(1, 2, "")]


def test_stderr_means_nothing() -> None:
    reader = ProgressReader()
    assert reader.feed(2, b'@dash {"progress": [1, 2]}\n') == []
    assert reader.feed(1, b'@dash {"prog') == []
    assert reader.feed(2, b"noise\n") == []
    assert reader.feed(1, b'ress": [1, 2]}\n') == [Progress(1, 2, "")]


def test_it_is_pending_inside_a_line_alone() -> None:
    reader = ProgressReader()
    for piece, pending in (
        (b"ab", True),
        (b"c\n", False),
        (b"\n", False),
        (b"x" * 70_000, True),
        (b"\n", False),
    ):
        reader.feed(1, piece)
        assert reader.pending is pending


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_line_that_is_too_long_is_passed_over_and_held_nowhere(pieces: int) -> None:
    reader = ProgressReader()
    line = b'@dash {"note": "' + b"x" * LINE_BYTES_MAX + b'"}\n'
    size = len(line) // pieces + 1
    for at in range(0, len(line), size):
        assert reader.feed(1, line[at : at + size]) == []
        assert len(reader._lines._line) <= LINE_BYTES_MAX
    assert reader.feed(1, b'@dash {"note": "short"}\n') == [Progress(None, None, "short")]


def test_the_longest_line_is_still_read() -> None:
    frame = b'@dash {"note": "%s"}'
    line = frame % (b"x" * (LINE_BYTES_MAX - len(frame % b"")))
    assert len(line) == LINE_BYTES_MAX
    assert len(_read([line + b"\n"])) == 1
    assert _read([line + b" \n"]) == []


# --- the end ------------------------------------------------------------------------------------------------


def _exit(code: int | None = None, signal: int | None = None, **more) -> ExitRecord:
    return ExitRecord(**{
        "code": code, "signal": signal, "reason": "exit", "error": None, "spool_bytes": 0,
        "spool_dropped": 0, "wall_ms": 9, "cpu_ms": 5, "max_rss_kib": 6, **more,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("exited", "state", "reason"),
    [
        (_exit(0), "succeeded", "exit code 0"),
        (_exit(0, reason="stop"), "succeeded", "exit code 0"),
        (_exit(1), "failed", "exit code 1"),
        (_exit(255), "failed", "exit code 255"),
        (_exit(signal=9), "failed", "ended by signal 9"),
        (_exit(signal=15, reason="stop"), "failed", "ended by signal 15"),
        (_exit(reason="start", error="exec: not found"), "failed", "could not start: exec: not found"),
    ],
)
def test_how_an_exit_is_read(exited: ExitRecord, state: str, reason: str) -> None:
    ending = PRINTED.ending(exited, b"42")
    assert (ending.state, ending.reason) == (state, reason)
    assert (ending.exit_code, ending.exit_signal) == (
        (exited.code, exited.signal) if exited.reason != "start" else (None, None)
    )
    assert (ending.cpu_ms, ending.rss_max_kib) == (5, 6)
    assert ending.result == ("42" if state == "succeeded" else "")


def test_a_result_is_text_whatever_was_printed() -> None:
    assert PRINTED.ending(_exit(0), b"ok \xff\xfe\n").result == "ok ��\n"
