"""What works with no daemon at all."""

import json
import os

import pytest

from dashd.wire import errors
from dashd.wire.methods import daemon


@pytest.mark.parametrize("word", ["doctor", "config"])
def test_doctor_and_config_become_dashd(ctl, monkeypatch, tmp_path, word: str):
    became = []
    monkeypatch.setattr(os, "execve", lambda program, argv, environ: became.append((argv, environ)))
    ctl(word, "--json", "x")
    (argv, environ) = became[0]
    assert argv[1:] == ["-P", "-m", "dashd", word, "--json", "x"]
    assert environ["DASH_STATE_DIR"] == str(tmp_path)


def test_the_demo_gets_its_arguments(ctl, monkeypatch):
    from dashctl import demo

    monkeypatch.setattr(demo, "main", lambda argv: len(argv))
    assert ctl("demo", "--json", "--help").code == 2


def test_version_says_both(ctl):
    import dashd

    ran = ctl("version")
    assert ran.out == f"dashctl {dashd.__version__}\ndashd   is not running\n"
    assert json.loads(ctl("version", "--json").out) == {"dashctl": dashd.__version__, "dashd": None}


def test_an_older_daemon_is_said(dashd, ctl):
    dashd.on("daemon.ping", daemon.Pong(version="0.0.9", pid=1))
    ran = ctl("version")
    assert "dashd   0.0.9" in ran.out
    assert "hint: dashctl restart" in ran.err


def test_a_daemon_that_does_not_answer_is_not_said_to_be_away(dashd, ctl):
    dashd.on("daemon.ping", errors.Forbidden("not you"))
    assert ctl("version").out.endswith("dashd   does not answer: not you\n")
