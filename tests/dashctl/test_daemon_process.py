"""Starting dashd and seeing its end, with small programs in its place."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dashctl import daemon_process

SOON_S = 10.0


@pytest.fixture
def instead(monkeypatch):
    """`instead(program)`: this Python text runs in place of dashd; `fd` is the ready descriptor."""

    def use(program: str) -> None:
        def argv_of(*arguments: str) -> list[str]:
            assert arguments[:2] == ("run", "--ready-fd")
            return [
                sys.executable,
                "-I",
                "-S",
                "-c",
                f"import os, sys\nfd = int(sys.argv[1])\n{program}",
                arguments[2],
            ]

        monkeypatch.setattr(daemon_process, "argv_of", argv_of)

    return use


def environ(tmp_path: Path) -> dict[str, str]:
    return {"DASH_STATE_DIR": str(tmp_path / "state")}


def test_ready_is_read_and_the_state_folder_is_private(instead, tmp_path: Path):
    instead("os.write(fd, b'READY /the/socket\\n')")
    assert daemon_process.start(environ(tmp_path), wait_s=SOON_S) == "/the/socket"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "dashd.log").stat().st_mode & 0o777 == 0o600


def test_it_has_a_session_of_its_own_and_only_its_own_streams(instead, tmp_path: Path):
    instead(
        "pid = os.getpid()\n"
        "fds = sorted(int(f) for f in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{f}'))\n"
        "said = f'{os.getsid(0) == pid} {os.read(0, 1)} {len(fds)}'\n"
        "os.write(fd, f'READY {said}\\n'.encode())"
    )
    # stdin, stdout, stderr and the ready descriptor; the one of the listing itself is gone.
    assert daemon_process.start(environ(tmp_path), wait_s=SOON_S) == "True b'' 4"


def test_a_failure_has_dashds_reason_and_its_last_words(instead, tmp_path: Path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "dashd.log").write_text("of the time before\n")
    instead("print(*range(50), sep='\\n', file=sys.stderr)\nos.write(fd, b'FAILED no room\\n')")
    with pytest.raises(daemon_process.StartFailed, match="no room") as failed:
        daemon_process.start(environ(tmp_path), wait_s=SOON_S)
    assert failed.value.log_lines == [str(number) for number in range(40, 50)]
    assert "dashd.log" in failed.value.error["hint"]


def test_what_dashd_said_last_is_said_once(instead, tmp_path: Path):
    instead(
        "os.write(fd, b'FAILED no room\\n')\n"
        "print('{}', 'error: no room', 'hint: make some', sep='\\n', file=sys.stderr)"
    )
    with pytest.raises(daemon_process.StartFailed, match="no room") as failed:
        daemon_process.start(environ(tmp_path), wait_s=SOON_S)
    assert failed.value.log_lines == ["{}"]
    assert str(failed.value.error["hint"]).startswith("make some (its log: ")


def test_a_crash_is_a_failure_too(instead, tmp_path: Path):
    instead("sys.exit('out of luck')")
    with pytest.raises(daemon_process.StartFailed, match="ended before it was ready") as failed:
        daemon_process.start(environ(tmp_path), wait_s=SOON_S)
    assert failed.value.log_lines == ["out of luck"]


def test_one_that_takes_too_long_goes_on_starting(instead, tmp_path: Path):
    reader, writer = os.pipe()
    instead(f"os.read(os.open('/proc/{os.getpid()}/fd/{reader}', os.O_RDONLY), 1)")
    with pytest.raises(daemon_process.Failure, match="not ready yet") as late:
        daemon_process.start(environ(tmp_path), wait_s=0.05)
    assert late.value.exit_code == 6
    os.write(writer, b"x")
    os.close(reader)
    os.close(writer)


def test_a_state_folder_that_cannot_be_is_an_error_with_its_path(tmp_path: Path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(daemon_process.Failure, match=r"dashd\.log") as refused:
        daemon_process.start(environ(tmp_path), wait_s=SOON_S)
    assert "--state-dir" in refused.value.error["hint"]


def test_the_environment_is_absolute_and_finds_this_code(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    found = daemon_process.environ_of({"DASH_STATE_DIR": "here", "PYTHONPATH": "/x"})
    assert found["DASH_STATE_DIR"] == str(tmp_path / "here")
    top = str(Path(__file__).resolve().parents[2])
    assert found["PYTHONPATH"].split(os.pathsep) in ([top, "/x"], ["/x"])
    assert daemon_process.argv_of("doctor")[:4] == [sys.executable, "-P", "-m", "dashd"]


def test_the_end_of_a_process_is_seen_and_has_a_deadline():
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with daemon_process.Watched(child.pid) as watched:
        with pytest.raises(daemon_process.Failure, match="has not ended in time"):
            watched.wait_end(time.monotonic() + 0.01)
        assert child.stdin is not None
        child.stdin.close()
        watched.wait_end(time.monotonic() + SOON_S)
    assert child.wait(0) is not None


def test_a_process_that_is_gone_already_is_not_waited_for():
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "pass"])
    child.wait(SOON_S)
    with daemon_process.Watched(child.pid) as watched:
        watched.wait_end(time.monotonic())


LOCKED = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print(flush=True)
input()
"""


@pytest.fixture
def tenants(tmp_path: Path):
    """Starts a process that holds the state folder's lock, and ends on SIGTERM."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LOCKED, str(tmp_path / "dashd.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    yield child
    child.kill()
    child.communicate()


def test_one_that_cannot_be_asked_is_ended_by_a_signal(tenants, tmp_path: Path):
    daemon_process.end_unheard(tenants.pid, str(tmp_path), wait_s=SOON_S)
    assert tenants.wait(0) == -signal.SIGTERM


def test_a_process_that_does_not_hold_the_lock_is_left_alone(tenants, tmp_path: Path):
    other = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(daemon_process.Failure, match="is held, but not by process") as refused:
        daemon_process.end_unheard(other.pid, str(tmp_path), wait_s=SOON_S)
    assert "fuser" in str(refused.value.error["hint"])
    with pytest.raises(daemon_process.Failure, match="not known"):
        daemon_process.end_unheard(None, str(tmp_path), wait_s=SOON_S)
    assert (other.poll(), tenants.poll()) == (None, None)
    tenants.terminate()
    tenants.wait()
    daemon_process.end_unheard(other.pid, str(tmp_path), wait_s=SOON_S)  # ended meanwhile: nothing to do
    assert other.poll() is None
    other.communicate(b"\n")
