"""`.ci/run` around parts that end as they are told: what it says last, and with which exit status."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import tally
from tests.tidy import TOP

pytestmark = pytest.mark.skipif(os.getuid() == 0, reason="root would install what is missing")

RUN = """#!/bin/sh
echo "$1" >>ran
. ./$1.sh
"""
GOOD = {
    "check": "",
    "test": "echo '== 1 passed in 1.00s =='; echo '== 7 passed, 3 skipped in 2.00s =='",
    "live": "echo '== 20 passed in 4.00s =='",
}


def ci(top: Path, *, live_too: bool = True, **parts: str) -> tuple[int, list[str]]:
    """(the exit status, the lines) with these parts in the place of good ones."""
    (top / ".ci").mkdir()
    shutil.copy(TOP / ".ci/run", top / ".ci/run")
    (top / "tests").mkdir()
    for name in ("__init__.py", "tally.py"):
        shutil.copy(TOP / "tests" / name, top / "tests" / name)
    (top / "run").write_text(RUN)
    (top / "run").chmod(0o755)
    for name, script in (GOOD | parts).items():
        (top / f"{name}.sh").write_text(f"{script}\n")
    environ = {name: value for name, value in os.environ.items() if name != "DASH_CI_LIVE"}
    done = subprocess.run(
        [top / ".ci/run"], env=environ | ({} if live_too else {"DASH_CI_LIVE": "0"}), capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    ran = ["check", "test", *(["live"] if live_too else [])]
    assert (top / "ran").read_text().split() == ran  # whatever became of the others
    return done.returncode, done.stdout.splitlines()


def test_all_is_well(tmp_path) -> None:
    status, lines = ci(tmp_path)
    assert status == 0
    assert lines[-1].strip("= ") == "27 passed, 3 skipped in 6.00s"
    assert not any("FAILED" in line or "NOT TESTED" in line for line in lines)


def test_what_is_not_tested_with_the_real_programs_is_said(tmp_path) -> None:
    status, lines = ci(tmp_path, live_too=False)
    assert (status, lines[-1].strip("= ")) == (0, "7 passed, 3 skipped in 2.00s")
    assert lines[-2].startswith("ci: NOT TESTED with the real agent programs: DASH_CI_LIVE=0")


@pytest.mark.parametrize(
    ("part", "script", "status", "sum_"),
    [
        ("check", "exit 1", 1, "27 passed, 3 skipped, 1 error"),
        ("test", "echo '== 1 failed, 6 passed in 2.00s =='; exit 1", 1, "1 failed, 26 passed"),
        ("test", "kill -9 $$", 137, "20 passed, 1 error"),
        ("live", "echo '== 2 failed, 18 passed in 4.00s =='; exit 1", 1, "2 failed, 25 passed, 3 skipped"),
        ("live", f"{GOOD['live']}; exit 4", 4, "27 passed, 3 skipped, 1 error"),
    ],
)
def test_a_part_that_fails_is_in_the_sum_and_in_the_status(tmp_path, part, script, status, sum_) -> None:
    found, lines = ci(tmp_path, **{part: script})
    assert found == status
    assert lines[-2] == f"ci: FAILED: {part}"
    assert lines[-1].strip("= ").startswith(f"{sum_} in ")
    assert tally.read(lines[-1]) is not None


def test_the_worst_of_all_is_the_status(tmp_path) -> None:
    status, lines = ci(tmp_path, check="exit 1", live="exit 3")
    assert (status, lines[-2]) == (3, "ci: FAILED: check live")
    assert lines[-1].strip("= ").startswith("7 passed, 3 skipped, 2 errors in ")


def test_programs_that_are_not_here_are_no_failure_and_said_at_the_end(tmp_path) -> None:
    missing = "live: NOT INSTALLED: 20 tests did not run: pi 1.5.2"
    status, lines = ci(tmp_path, live=f"echo '{missing}'; echo '== 20 skipped in 1.00s =='")
    assert status == 0
    assert lines[-3] == missing
    assert lines[-2].startswith("ci: NOT TESTED with the real agent programs")
    assert lines[-1].strip("= ") == "7 passed, 23 skipped in 3.00s"
