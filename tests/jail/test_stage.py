"""The stage for real: each layer in its order, and a start that fails rather than go on without one."""

import os
import socket

import pytest

from dashd.jail import launch, stage, view
from tests.jail import inside


@pytest.mark.parametrize("grade", inside.GRADES)
def test_the_agent_s_program_runs_in_its_folder_with_its_environment(grade, tmp_path):
    ended = inside.enter(grade, tmp_path, "pwd; echo $LANG; echo made > file")
    assert (ended.code, ended.output.split()) == (0, [str(tmp_path), "C.UTF-8"])
    assert ended.news[-1] == b"ready"
    assert (tmp_path / "file").read_text() == "made\n"


@pytest.mark.parametrize("grade", inside.GRADES)
def test_what_is_outside_is_neither_read_nor_written(grade, tmp_path_factory):
    scope, other = tmp_path_factory.mktemp("scope"), tmp_path_factory.mktemp("other")
    (other / "secret").write_text("s3cret")
    script = f"cat {other}/secret; echo x > {other}/made; ln -s {other} l; cat l/secret"
    ended = inside.enter(grade, scope, script)
    assert "s3cret" not in ended.output
    assert sorted(os.listdir(other)) == ["secret"]


def test_without_a_mount_namespace_home_is_a_folder_of_the_launch_s(tmp_path_factory):
    scope, launch_folder = tmp_path_factory.mktemp("scope"), tmp_path_factory.mktemp("launch")
    scratch = str(launch_folder / "scratch")
    environ = {**inside.ENVIRON, "HOME": scratch}
    ended = inside.enter("C", scope, "echo x > $HOME/file; cat $HOME/file", scratch=scratch, environ=environ)
    assert ended.output == "x\n"


def test_the_listener_is_handed_out_and_answers_inside(tmp_path):
    code = "import socket; s = socket.create_connection(('127.0.0.1', 8787)); print(s.getsockname()[0])"
    ended = inside.enter("B", tmp_path, *inside.python_inside(code), listener=True)
    assert ended.output.strip() == "127.0.0.1"  # it waits in the backlog: nobody has accepted yet
    (listener,) = ended.listeners
    with listener:
        accepted, _ = listener.accept()
        accepted.close()
    assert ended.news[0] == b"listener"


def test_a_descriptor_that_somebody_leaked_is_closed(tmp_path):
    with open(__file__, encoding="utf-8") as leaked:
        read = inside.python_inside(f"import os; print(os.pread({leaked.fileno()}, 99, 0))")
        ended = inside.enter("B", tmp_path, *read, inherited=[leaked.fileno()])
        assert "Bad file descriptor" in ended.output
        ended = inside.enter("B", tmp_path, *read, inherited=[leaked.fileno()], without=["close_range"])
        assert "The stage for real" in ended.output


def test_limits_are_lowered_and_never_raised(tmp_path):
    bounds = view.Bounds(open_files=77, cpu_s=3)
    seen = view.View(str(tmp_path), (view.Folder(str(tmp_path)),), bounds=bounds)
    ended = inside.enter("B", tmp_path, "ulimit -n; ulimit -t; ulimit -c; ulimit -n 1000", seen=seen)
    assert ended.output.split()[:3] == ["77", "3", "0"]
    assert ended.code != 0
    ended = inside.enter("B", tmp_path, "ulimit -Ht", seen=seen)
    assert ended.output.split() == ["4"]  # so that SIGXCPU comes before SIGKILL, and says what it was


def test_what_the_self_test_finds_ends_the_start(tmp_path):
    (tmp_path / "leak").write_text("in the scope, on purpose")
    outside = launch.Outside((str(tmp_path / "leak"),))
    ended = inside.enter("B", tmp_path, "echo began", outside=outside)
    assert (ended.code, ended.output) == (stage.EXIT_REFUSED, "")
    assert (
        ended.news[-1] == f"self-test: {tmp_path}/leak can be read; {tmp_path}/leak can be written".encode()
    )


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"landlock": {"attributes": "00" * 24, "paths": [], "ports": []}}, "landlock_create"),
        ({"seccomp": "ff" * 8}, "seccomp: Invalid argument"),
        ({"limits": {"NOFILE": -5}}, "RLIMIT_NOFILE"),
        ({"cwd": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_layer_that_does_not_apply_ends_the_start(policy, why, tmp_path, monkeypatch):
    planned = launch.plan

    def spoiled(*arguments, **options):
        plan = planned(*arguments, **options)
        return plan | {"policy": plan["policy"] | policy}

    monkeypatch.setattr(launch, "plan", spoiled)
    ended = inside.enter("B", tmp_path, "echo began")
    assert (ended.code, ended.output) == (stage.EXIT_REFUSED, "")
    assert b"ready" not in ended.news
    assert why in ended.news[-1].decode()


def test_a_program_that_is_not_there_is_named(tmp_path):
    ended = inside.enter("B", tmp_path, "/no/such", "program")
    assert ended.news[-2:] == [b"ready", b"[Errno 2] No such file or directory: '/no/such'"]


def test_only_one_port_is_in_reach_without_a_network_namespace(tmp_path):
    with inside.outside_port() as allowed, inside.outside_port() as other:
        code = (
            "import socket, sys\n"
            "for port in sys.argv[1:]:\n"
            "    try: socket.create_connection(('127.0.0.1', int(port)), 1); print('reached')\n"
            "    except OSError as error: print(type(error).__name__)\n"
        )
        ports = [allowed.getsockname()[1], other.getsockname()[1]]
        ended = inside.enter("C", tmp_path, *inside.python_inside(code), *map(str, ports), port=ports[0])
    assert ended.output.split() == ["reached", "PermissionError"]


def test_the_stage_takes_what_close_range_should_keep():
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        stage.close_others([theirs.fileno()])
        theirs.send(b"kept" if not os.path.exists(f"/proc/self/fd/{ours.fileno()}") else b"open")
        os._exit(0)
    os.waitpid(pid, 0)
    with ours, theirs:
        assert ours.recv(10) == b"kept"
