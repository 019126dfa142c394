"""The fork server on its own: no packet ends it, and it loads the standard library alone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dashd.jail import forkserver

OURS = {"dashd", "ctypes", "fcntl", "gc", "json", "resource", "select", "signal", "struct"}
WITH_JSON = {"collections", "copyreg", "enum", "functools", "keyword", "operator", "re", "reprlib", "types"}
BARE = {"abc", "contextlib", "errno", "genericpath", "itertools", "os", "posixpath", "stat", "time"}
CARRIED = OURS | WITH_JSON | BARE
SCRIPT = Path(forkserver.__file__).with_name("__main__.py")
SPEC = {
    "launch": "a",
    "argv": ["/bin/true"],
    "env": {},
    "cwd": "/",
    "lease_s": 0,
    "grace_s": 0,
    "stdin": False,
    "output_bytes_max": None,
    "crash_at": None,
}


@pytest.fixture
def control(tmp_path: Path):
    """A fork server as dashd starts it, and the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-I", "-S", str(SCRIPT), str(tmp_path)]
    process = subprocess.Popen(argv, stdin=theirs, env={}, cwd="/")
    theirs.close()
    ours.settimeout(10)
    assert json.loads(ours.recv(4096)) == {"ready": process.pid}
    yield ours
    assert process.poll() is None
    ours.close()
    assert process.wait(10) == 0  # at EOF


def ask(control: socket.socket, packet: bytes, fds: list[int] | None = None) -> dict:
    socket.send_fds(control, [packet], fds or [])
    return json.loads(control.recv(1 << 20))


@pytest.mark.parametrize(
    "packet",
    [
        b"junk",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 60000,
        b'{"launch": NaN}',
        b'{"launch": {"a": 1}}',
        b'{"body": 10}',
        json.dumps(SPEC | {"launch": "x/y"}).encode(),
        json.dumps(SPEC | {"launch": "\udcff"}).encode(),
        json.dumps(SPEC | {"argv": "true"}).encode(),
        json.dumps(SPEC | {"argv": ["true", 1]}).encode(),
        json.dumps(SPEC | {"env": {"A": 1}}).encode(),
        json.dumps(SPEC | {"env": []}).encode(),
        json.dumps(SPEC | {"lease_s": 1e400}).encode(),
        json.dumps(SPEC | {"lease_s": True}).encode(),
        json.dumps(SPEC | {"stdin": 1}).encode(),
        json.dumps(SPEC | {"session_lock": "beside"}).encode(),
        json.dumps(SPEC | {"epoch": -1}).encode(),
        json.dumps(SPEC | {"epoch": "1"}).encode(),
        json.dumps(SPEC | {"epoch": 1}).encode(),  # without the socket that goes with it
        json.dumps({"launch": "x" * 60000}).encode(),
    ],
)
def test_nonsense_is_answered_and_the_next_request_served(
    control: socket.socket, tmp_path: Path, packet: bytes
):
    assert "error" in ask(control, packet)
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()]
    answer = ask(control, json.dumps(SPEC).encode())
    assert answer["launch"] == "a"
    assert answer["holder"] > 0


@pytest.mark.parametrize("body", [b"", b"[]", b"junk", b"{"])
@pytest.mark.parametrize("claimed", [-1, 0, 3, 1 << 40])
def test_a_body_that_is_not_what_was_said_is_refused(control: socket.socket, body: bytes, claimed: int):
    fd = os.memfd_create("body")
    os.write(fd, body)
    assert "error" in ask(control, json.dumps({"body": claimed}).encode(), [fd])
    os.close(fd)
    assert "holder" in ask(control, json.dumps(SPEC).encode())


def test_fds_of_refused_requests_are_closed(control: socket.socket, tmp_path: Path):
    pid = json.loads((tmp_path / "forkserver.lock").read_text())["pid"]
    with open(os.devnull, "rb") as file:
        ask(control, b"{}", [file.fileno()])
        before = os.listdir(f"/proc/{pid}/fd")
        for number in range(20):
            ask(control, b"{}", [file.fileno()] * 3)
            ask(control, json.dumps(SPEC | {"launch": f"a{number}"}).encode(), [file.fileno()] * 4)
    assert os.listdir(f"/proc/{pid}/fd") == before


def test_a_folder_that_cannot_be_made_is_an_answer(control: socket.socket, tmp_path: Path):
    (tmp_path / "a").write_text("in the way")
    assert "Not a directory" in ask(control, json.dumps(SPEC).encode())["error"]
    (tmp_path / "b").symlink_to("/")
    assert "error" in ask(control, json.dumps(SPEC | {"launch": "b"}).encode())


@pytest.mark.parametrize("launch", ["a", "7k2m9q-003.1", "A_b", "x" * 100])
def test_ids_that_name_a_folder(launch: str):
    assert forkserver.is_launch_id(launch)


@pytest.mark.parametrize("launch", ["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "é", "x" * 101])
def test_ids_that_do_not(launch: str):
    assert not forkserver.is_launch_id(launch)


def test_every_fork_carries_these_modules_and_no_more():
    """Each is paid for twice a launch, in holder and agent, with its pages and mappings."""
    root = str(Path(forkserver.__file__).parents[2])
    script = "import sys; bare = set(sys.modules); sys.path.append(sys.argv[1])"
    script += "; from dashd.jail import forkserver; print(*sys.modules.keys() - bare)"
    argv = [sys.executable, "-I", "-S", "-c", script, root]
    loaded = set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())
    packages = {name.partition(".")[0] for name in loaded}
    assert packages <= {*sys.stdlib_module_names, "dashd"}
    assert {name for name in packages if not name.startswith("_") and name not in CARRIED} == set()


def test_no_holder_stays_a_zombie(control: socket.socket, tmp_path: Path):
    pids = [ask(control, json.dumps(SPEC | {"launch": f"z{n}"}).encode())["holder"] for n in range(10)]
    for pid in pids:
        while os.path.exists(f"/proc/{pid}"):  # it lives for some milliseconds; as a zombie it would for ever
            os.sched_yield()


def test_what_dashd_was_told_to_ignore_is_not_the_agents_affair(tmp_path: Path):
    """As `nohup dashd run &` in a script has it: HUP, INT and QUIT ignored."""
    script = (
        "import signal, sys, trio\n"
        "for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "from pathlib import Path\n"
        "from dashd.jail import launch_folder, launcher, spool\n"
        "async def main(folder):\n"
        "    async with launcher.open_launcher(folder) as started:\n"
        "        argv = ('grep', 'SigIgn', '/proc/self/status')\n"
        "        spec = launcher.LaunchSpec('a', argv, {'PATH': '/usr/bin:/bin'}, '/')\n"
        "        link = await started.launch_adopted(spec, 1)\n"
        "        while link.adopted.exit is None and not hasattr(await link.receive(), 'record'):\n"
        "            pass\n"
        "    print(spool.tail(folder / 'a', 100)[0].decode())\n"
        "trio.run(main, Path(sys.argv[1]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=20)
    assert ran.stdout.split() == ["SigIgn:", "0000000000000000"], ran.stderr
