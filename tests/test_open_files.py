"""The limit of open files that dashd takes for itself."""

import resource
import subprocess
import sys

import pytest

from dashd import open_files

NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "usable"),
    [
        (1_024, 4_096, 4_096),
        (1_024, 524_288, 65_536),
        (1_024, NONE, 65_536),
        (100_000, 524_288, 100_000),  # what somebody gave it is not lowered
        (NONE, NONE, NONE),
        (1_024, 1_024, 1_024),
    ],
)
def test_what_it_has_of_a_soft_and_a_hard_limit(soft: int, hard: int, usable: int) -> None:
    assert open_files.usable(soft, hard) == usable


def test_the_soft_limit_is_raised_for_real_and_the_hard_one_left() -> None:
    program = (
        "import resource; from dashd import open_files;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200));"
        "print(open_files.take(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["200", "200", "200"]
