"""Nothing stays behind, and nobody else is hit."""

import subprocess
import sys

import pytest

from dashctl.demo import leftovers

FOR_EVER = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def start():
    """Starts a program that runs until its stdin is closed; all are ended after the test."""
    started = []

    def start(*argv):
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        if FOR_EVER in argv:
            process.stdout.readline()  # its command line can be read some time after Popen returned
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_process_of_ours_is_found_by_the_folder_and_killed(start, tmp_path):
    process = start(sys.executable, "-c", FOR_EVER, str(tmp_path / "journal"))
    assert leftovers.find(tmp_path) == [process.pid]
    assert leftovers.end(tmp_path, wait_s=0) == 1
    assert process.wait() == -9
    assert leftovers.find(tmp_path) == []


def test_one_that_ends_by_itself_is_waited_for(start, tmp_path):
    process = start(sys.executable, "-c", "", str(tmp_path))
    assert leftovers.end(tmp_path, wait_s=20) == 0
    assert process.wait() == 0


def test_other_peoples_programs_are_left_alone(start, tmp_path):
    start("tail", "-f", "/dev/null", str(tmp_path / "x"))
    start(sys.executable, "-c", FOR_EVER, str(tmp_path.parent))
    assert leftovers.find(tmp_path / "mine") == []
    assert leftovers.end(tmp_path, wait_s=0) == 0
