"""Completion: what may come next, asked the way the shells' scripts ask."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dashctl.commands import complete
from tests.dashctl import answers

TOP = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], {"up", "swarm", "agent", "events", "completion"}),
        (["sw"], {"swarm"}),
        (["swarm", ""], {"create", "list", "destroy"}),
        (["swarm", "re"], {"report", "resume"}),
        (["swarm", "create", "x", "--strategy", ""], {"parallel", "pipeline", "map-reduce"}),
        (["swarm", "create", "x", "--pri"], {"--priority"}),
        (["--js"], {"--json"}),
        (["--color", "al"], {"always"}),
        (["status", "--"], {"--json", "--socket"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["swarm", "get", ""], {answers.SWARM}),
        (["agent", "kill", answers.AGENT, ""], {answers.AGENT}),
        (["agent", "list", "--swarm", ""], {answers.SWARM}),
        (["task", "get", ""], {answers.TASK}),
    ],
)
def test_candidates(dashd, ctl, words: list[str], found: set[str]):
    ran = ctl("__complete", *words)
    shown = set(ran.out.splitlines())
    assert found <= shown
    assert all(candidate.startswith(words[-1]) for candidate in shown)
    assert not any(candidate.startswith("__") for candidate in shown)


@pytest.mark.parametrize(
    "words",
    [
        ["swarm", "create", ""],
        ["swarm", "get", answers.SWARM, ""],
        ["nonsense", ""],
        ["swarm", "create", "x", "--", ""],
        ["swarm", "create", "x", "--name", ""],
        ["demo", ""],
    ],
)
def test_where_nothing_is_known_nothing_is_offered(dashd, ctl, words: list[str]):
    assert ctl("__complete", *words).out == ""


def test_without_a_daemon_there_are_no_ids_and_no_errors(ctl):
    ran = ctl("__complete", "swarm", "get", "")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize("shell", complete.SCRIPTS)
def test_scripts_are_printed(ctl, shell: str):
    assert "__complete" in ctl("completion", shell).out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(shell: str, ctl, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    script = tmp_path / "script"
    script.write_text(ctl("completion", shell).out)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=20)


def test_bash_completes(dashd, ctl, tmp_path):
    """The real thing: bash, its script, and a `dashctl` on its PATH."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    program = tmp_path / "bin" / "dashctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncd "{TOP}" && exec "{sys.executable}" -m dashctl "$@"\n')
    program.chmod(0o755)
    typed = (
        ctl("completion", "bash").out
        + 'COMP_WORDS=(dashctl swarm get ""); COMP_CWORD=3; _dashctl; echo "${COMPREPLY[@]}"\n'
        'COMP_WORDS=(dashctl swarm cre); COMP_CWORD=2; _dashctl; echo "${COMPREPLY[@]}"\n'
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", typed],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env={"PATH": f"{program.parent}:/usr/bin:/bin", "DASH_SOCKET": dashd.path},
    )
    assert ran.stdout.split() == [answers.SWARM, "create"]
