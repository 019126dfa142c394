"""Processes: identity by start time, and ending exactly what a dead holder left."""

import os
import signal
import subprocess
import sys

import pytest

from dashd.jail import processes

MARKED = {"DASH_LAUNCH": "m1", "PATH": "/usr/bin:/bin"}


@pytest.fixture
def start():
    """Starts sleepers, says when they are up, and ends them."""
    started: list[subprocess.Popen] = []

    def start(script: str, env: dict[str, str] = MARKED, **options) -> tuple[subprocess.Popen, list[int]]:
        process = subprocess.Popen(["sh", "-c", script], env=env, stdout=subprocess.PIPE, **options)
        started.append(process)
        assert process.stdout is not None
        words: list[bytes] = []
        while b"ready" not in words:
            words += process.stdout.readline().split()
        return process, [int(word) for word in words if word.isdigit()]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(pid: int) -> bool:
    try:
        return processes.stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


def test_start_time_is_the_kernel_s(start):
    process, _ = start("echo ready; sleep 100")
    with open(f"/proc/{process.pid}/stat") as file:
        assert processes.start_time(process.pid) == int(file.read().split()[21])
    process.kill()
    process.wait()
    assert processes.start_time(process.pid) is None


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields(tmp_path, start):
    program = tmp_path / "a) R 1 (b"
    program.write_text("#!/bin/sh\necho ready; sleep 100\n")
    program.chmod(0o755)
    process, _ = start(f"exec '{program}'")
    assert int(processes.stat_fields(process.pid)[1]) == os.getpid()


def test_boot_id_is_one():
    assert processes.boot_id() == processes.boot_id()
    assert len(processes.boot_id()) == 36


def test_a_signal_goes_only_to_the_process_that_was_seen(start):
    process, _ = start("echo ready; sleep 100")
    started = processes.start_time(process.pid)
    assert not processes.send_signal(process.pid, started + 1, signal.SIGKILL)
    assert process.poll() is None
    assert processes.send_signal(process.pid, started, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not processes.send_signal(process.pid, started, signal.SIGKILL)


def test_descendants_are_all_and_parents_come_first(start):
    process, pids = start("echo $$; sh -c 'echo $$; sh -c \"echo \\$\\$; echo ready; sleep 100; :\"; :'; :")
    found = list(processes.descendants(os.getpid()))
    assert [pid for pid in found if pid in pids] == pids
    assert process.pid == pids[0]


def test_descendants_are_found_without_the_kernel_s_list(start, monkeypatch):
    _, pids = start("echo $$; sh -c 'echo $$; echo ready; sleep 100; :'; :")
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    found = list(processes.descendants(os.getpid()))
    assert [pid for pid in found if pid in pids] == pids


def test_the_marked_are_ended_and_the_others_are_not(start):
    ours, orphans = start(
        "(setsid sh -c 'trap \"\" TERM; echo $$; echo up; sleep 100; :' &); sleep 0.1; echo ready; sleep 100"
    )
    other, _ = start("echo ready; sleep 100", {**MARKED, "DASH_LAUNCH": "m2"})
    longer, _ = start("echo ready; sleep 100", {**MARKED, "DASH_LAUNCH": "m11"})
    plain, _ = start("echo ready; sleep 100", {"PATH": MARKED["PATH"], "X_DASH_LAUNCH": "m1"})
    assert processes.end_marked("m1") >= 3
    assert ours.wait() == -signal.SIGKILL
    assert not any(map(alive, orphans))
    assert all(process.poll() is None for process in (other, longer, plain))
    assert processes.end_marked("m1") == 0
    assert processes.end_all_marked(["m2", "m11"]) >= 2
    assert plain.poll() is None


def test_a_cleared_environment_does_not_help_inside_the_agent_s_session(start):
    leader, children = start("env -i sh -c 'echo $$; echo ready; sleep 100; :'; :", start_new_session=True)
    agent = leader.pid, processes.start_time(leader.pid)
    leader.kill()  # as the kernel does when the holder is killed
    leader.wait()
    assert processes.end_marked("m1", (agent[0], agent[1] + 0)) >= 1
    assert not any(map(alive, children))


def test_a_session_whose_leader_is_somebody_else_is_left_alone(start):
    """A program with the mark in a person's terminal: it goes, their shell and its other children stay."""
    shell, (other, marked) = start(
        "sleep 100 & echo $!; DASH_LAUNCH=m1 sh -c 'echo $$; echo ready; exec sleep 100' & wait",
        {"PATH": MARKED["PATH"]},
        start_new_session=True,
    )
    assert processes.end_marked("m1") == 1
    assert not alive(marked)
    assert alive(other)
    assert shell.poll() is None
    # Nor is it the session of an agent that had this pid before.
    assert processes.end_marked("m1", (shell.pid, processes.start_time(shell.pid) - 1)) == 0
    assert alive(other)


def test_we_are_never_among_them():
    """A dashd that itself runs under a mark does not end itself."""
    script = f"import sys; sys.path.append({os.getcwd()!r}); from dashd.jail import processes"
    script += "; print(processes.end_marked('m1'), flush=True)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], env=MARKED, capture_output=True, check=True
    )
    assert done.stdout == b"0\n"


def test_a_process_that_survives_is_an_error(start, monkeypatch):
    start("echo ready; sleep 100")
    monkeypatch.setattr(processes, "END_S_MAX", 0.0)
    monkeypatch.setattr(processes, "_end", lambda process: False)
    with pytest.raises(TimeoutError, match="m1"):
        processes.end_marked("m1")


def test_a_tree_is_ended_below_its_root_which_lives_on() -> None:
    script = "sleep 300 & (sleep 300; :) & echo up; read line"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as root:
        assert root.stdout.readline() == b"up\n"
        while len(processes.descendants(root.pid)) < 3:
            assert root.poll() is None
        processes.end_tree(root.pid)
        while processes.descendants(root.pid):
            assert root.poll() is None
        assert root.poll() is None
        root.stdin.close()
