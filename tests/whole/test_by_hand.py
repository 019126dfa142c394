"""The socket needs no client library: a shell and `nc -U` create a swarm, wait for it and read its report."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("by_hand.sh")


def has_openbsd_nc():
    nc = shutil.which("nc")
    # The traditional nc knows no Unix sockets; both print their options to stderr or stdout on -h.
    return nc is not None and b"OpenBSD" in b"".join(
        subprocess.run([nc, "-h"], stdin=subprocess.DEVNULL, capture_output=True, check=False).__dict__[name]
        for name in ("stdout", "stderr")
    )


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_openbsd_nc(), reason="needs OpenBSD's nc: apt-get install netcat-openbsd"),
]


def by_hand(daemon, *arguments):
    return subprocess.run(
        ["sh", SCRIPT, daemon.socket, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_swarm_from_creation_to_report(daemon, tmp_path):
    files = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    for lines, file in enumerate(files, 1):
        file.write_text("a line\n" * lines)
    done = by_hand(daemon, *files)
    assert (done.returncode, done.stderr) == (0, "")
    first, summary, *results = done.stdout.splitlines()
    assert first.startswith("swarm ")
    assert summary.startswith("3 of 3 tasks completed")
    assert results == [f"{lines} {file}" for lines, file in enumerate(files, 1)]


def test_a_refusal_is_shown_and_ends_it(daemon):
    done = by_hand(daemon)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "swarm.create: " in done.stderr
    assert "hint" in done.stderr
