"""The log: one JSON object a line, whatever somebody puts into a message."""

import io
import json
import logging
import sys

import pytest

from dashd import log


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch):
    """Logs to a standard error of its own at level info; gives its lines."""
    root, stderr = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(root, "handlers", [])  # pytest's own would be closed, and complain
    monkeypatch.setattr(root, "level", root.level)
    log.set_up("info")
    return lambda: stderr.getvalue().split("\n")[:-1]


def test_a_line_says_when_how_bad_who_and_what(lines) -> None:
    logging.getLogger("dashd.app").warning("%s is %d", "x", 5, extra={"swarm": "7k2m9q"})
    (line,) = lines()
    found = json.loads(line)
    assert found.pop("at").endswith("+00:00")
    assert found == {"level": "warning", "logger": "dashd.app", "message": "x is 5", "swarm": "7k2m9q"}


def test_nothing_below_the_level(lines) -> None:
    logging.getLogger("dashd").debug("quiet")
    assert lines() == []


@pytest.mark.parametrize(
    "hostile",
    [
        'x\n{"level": "critical", "message": "forged"}',
        "x\r\nforged",
        "\x1b[2J\x1b]0;owned\x07",
        "\u2028forged\u2029\x85",
        "\ud800",
        "\0",
    ],
)
def test_nobody_forges_a_line(lines, hostile: str) -> None:
    logging.getLogger("dashd").info("agent said %s", hostile, extra={"note": hostile})
    (line,) = lines()
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert found["level"] == "info"
    assert found["note"] == hostile
    assert found["message"] == f"agent said {hostile}"


def test_a_traceback_stays_in_its_line(lines) -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("dashd").exception("failed")
    (line,) = lines()
    assert "ValueError: a\nb" in json.loads(line)["traceback"]


def test_what_json_does_not_know_is_still_said(lines) -> None:
    logging.getLogger("dashd").info("x", extra={"path": sys, "data": {1, 2}})
    assert "module" in json.loads(lines()[0])["path"]


def test_setting_up_twice_does_not_say_things_twice(capsys, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    log.set_up("info")
    log.set_up("info")
    logging.getLogger("dashd").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
