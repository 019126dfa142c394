"""A provider's key is in dashd and in its own file, and nowhere else, whatever is done with it."""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dashctl import daemon_process
from tests.fakes import dashd_of_callers, door_keeper

pytestmark = pytest.mark.slow

CANARY = "sk-canary-5b1e8f0a77d94c63a1"
WRONG = "sk-wrong-0c9d1f"
NOBODY = 65_534


class Scripted(http.server.BaseHTTPRequestHandler):
    """A provider that knows one key, and repeats a wrong one in its refusal, as some do."""

    protocol_version = "HTTP/1.1"
    status = 200

    def do_GET(self):
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        status = self.status if key == CANARY else 401
        self.answer(status, {"data": []} if status == 200 else refusal(key))

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        message = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        said = {"choices": [message], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
        self.answer(self.status, said if self.status == 200 else refusal(key))

    def answer(self, status, said):
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Says nothing."""


def refusal(key):
    return {"error": {"type": "refused", "message": f"not {key}"}}


@pytest.fixture
def provider():
    """The class to script, and the address."""
    script = type("Script", (Scripted,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield script, f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def dashctl(daemon, *argv, typed=""):
    return subprocess.run(
        [sys.executable, "-P", "-m", "dashctl", *argv],
        input=typed,
        env=daemon.environ,
        cwd=daemon.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def add(daemon, url, *more, typed=CANARY + "\n"):
    words = ("provider", "add", "one", "--format", "openai-chat", "--url", url, *more)
    return dashctl(daemon, *words, typed=typed)


def processes_that_show(secret, pids):
    """Those whose command line or environment has it in it, of all that can be read."""
    found = []
    for pid in pids:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                if secret.encode() in Path("/proc", str(pid), name).read_bytes():
                    found.append((pid, name))
    return found


def files_with(secret, folder):
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_the_canary_is_in_its_file_alone(start_daemon, provider):
    script, url = provider
    daemon = start_daemon()
    said = [add(daemon, url, "--model", "m-1"), dashctl(daemon, "provider", "test")]
    assert [each.returncode for each in said] == [0, 0], [each.stderr for each in said]
    assert "one: ok: answers and takes the key" in said[1].stdout
    price = ("--input", "1", "--output", "4", "--alias", "fast")
    said.append(dashctl(daemon, "model", "set", "m-1", *price))
    assert dashctl(daemon, "model", "get", "fast", "--json").returncode == 0
    script.status = 500
    said.append(dashctl(daemon, "provider", "test", "one"))
    assert (said[-1].returncode, "in trouble: HTTP 500" in said[-1].stdout) == (1, True), said[-1].stdout
    said += [dashctl(daemon, "provider", "list", *json_) for json_ in ((), ("--json",))]
    said += [dashctl(daemon, "model", "list"), dashctl(daemon, "status", "--json")]
    answers = daemon.call("event.list", since=0) | daemon.call("provider.list")

    key_file = daemon.state / "secrets" / "one"
    assert files_with(CANARY, daemon.folder) == [key_file]
    assert (key_file.stat().st_mode & 0o777, key_file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    pids = [name for name in os.listdir("/proc") if name.isdecimal()]
    assert processes_that_show(CANARY, pids) == []
    assert not [each for each in said if CANARY in each.stdout + each.stderr]
    assert CANARY not in json.dumps(answers)

    # It is still taken after a restart, and gone when the provider is.
    script.status = 200
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.call("provider.test", name="one")["ok"]
    assert daemon.call("provider.remove", name="one")["changed"]
    assert files_with(CANARY, daemon.folder) == []


def test_the_canary_goes_to_its_provider_alone_while_agents_call(start_daemon, provider, tmp_path):
    """Also where the provider repeats it in what it says of a fault: nothing of that reaches the agent."""
    script, url = provider
    program = dashd_of_callers.argv(Path(door_keeper.__file__), hasty=True)
    daemon = start_daemon(program=program)
    assert add(daemon, url, "--model", "m-1").returncode == 0
    price = ("--input", "1", "--output", "4")
    assert dashctl(daemon, "model", "set", "m-1", *price).returncode == 0
    told = tmp_path / "told"
    made = daemon.call(
        "swarm.create", task="t", items=[str(told)], driver="embedded", model="m-1", cwd=str(tmp_path)
    )
    wanted = {"swarm": made["id"], "kinds": ["agent.progress"], "since": 0, "timeout_s": 20}
    assert daemon.call("event.wait", **wanted)["events"]
    way = json.loads(told.read_text())
    heard = []
    for status in (200, 400, 500, 401):
        script.status = status
        call = urllib.request.Request(
            f"{way['model_url']}/chat/completions",
            json.dumps({"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}).encode(),
            {"authorization": f"Bearer {way['model_key']}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(call, timeout=20) as answer:
                heard.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            heard.append(str(error.headers) + error.read().decode())
    pids = [name for name in os.listdir("/proc") if name.isdecimal()]
    assert processes_that_show(CANARY, pids) == []
    assert way["model_key"] not in str(heard) + daemon.log()
    assert CANARY not in str(heard) + daemon.log()
    answers = [daemon.call("event.list", since=0), daemon.call("provider.list")]
    answers += [daemon.call("budget.export"), daemon.call("swarm.report", swarm=made["id"], detail="full")]
    assert CANARY not in json.dumps(answers)
    assert any("***" in said for said in heard), heard  # it did say it
    assert files_with(CANARY, daemon.folder) == [daemon.state / "secrets" / "one"]
    assert files_with(CANARY, tmp_path) == []


def test_a_wrong_key_and_a_provider_that_is_down_are_told_apart(start_daemon, provider):
    _, url = provider
    daemon = start_daemon()
    assert add(daemon, url, typed=WRONG).returncode == 0
    refused = dashctl(daemon, "provider", "test", "one")
    assert refused.returncode == 1
    assert "one: not ok: refuses the key: HTTP 401 refused not ***" in refused.stdout
    assert files_with(WRONG, daemon.folder) == [daemon.state / "secrets" / "one"]
    assert add(daemon, "http://127.0.0.1:1/v1").returncode == 0
    down = dashctl(daemon, "provider", "test", "one")
    assert (down.returncode, "cannot be reached at http://127.0.0.1:1/v1" in down.stdout) == (1, True)


def test_a_command_prints_the_key_now_and_at_each_start(start_daemon, provider, tmp_path):
    _, url = provider
    daemon = start_daemon()
    elsewhere = tmp_path / "key"
    elsewhere.write_text(CANARY + "\n")
    command = ("--secret-command", shutil.which("cat"), str(elsewhere))
    assert "secret: command" in add(daemon, url, *command, typed="").stdout
    assert files_with(CANARY, daemon.folder) == []
    daemon.kill()
    daemon.start()
    assert daemon.call("provider.test", name="one")["ok"]
    elsewhere.unlink()
    gone = daemon.call("provider.test", name="one")
    assert (gone["ok"], "exit code 1" in gone["text"]) == (False, True)
    refused = add(daemon, url, *command, typed="")
    assert (refused.returncode, "exit code 1" in refused.stderr) == (2, True)


def test_a_key_leaves_under_tls_or_not_at_all(start_daemon):
    refused = add(start_daemon(), "http://models.example.com/v1")
    assert (refused.returncode, "neither https nor plain http on loopback" in refused.stderr) == (2, True)


def holders_of(daemon):
    """The pids of its fork server and of the holders, which are forked from that and are called the same."""
    launches = str(daemon.state / "launches").encode()
    found = []
    for pid in (name for name in os.listdir("/proc") if name.isdecimal()):
        with contextlib.suppress(OSError):
            if launches in Path("/proc", pid, "cmdline").read_bytes().split(b"\0"):
                found.append(int(pid))
    return found


def memory_of(pid):
    """All that a process can write to; None where the kernel does not let this user look."""
    found = bytearray()
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                span, rights, *_ = line.split()
                if rights.startswith("rw"):
                    first, last = (int(end, 16) for end in span.split("-"))
                    with contextlib.suppress(OSError):  # a guard page
                        memory.seek(first)
                        found += memory.read(last - first)
    except PermissionError:
        return None
    return bytes(found)


def test_the_fork_server_runs_before_a_secret_is_read_and_holders_never_have_it(start_daemon, provider):
    _, url = provider
    daemon = start_daemon()
    assert add(daemon, url, "--model", "m-1").returncode == 0
    assert daemon.stop() == 0
    key_file = daemon.state / "secrets" / "one"
    key_file.unlink()
    os.mkfifo(key_file, 0o600)
    starting = threading.Thread(target=daemon.start)
    starting.start()
    with key_file.open("wb") as secret:  # opens when dashd reads, and not a byte has gone yet
        (fork_server,) = holders_of(daemon)
        secret.write(CANARY.encode())
    starting.join()
    key_file.unlink()
    key_file.touch(0o600)
    key_file.write_text(CANARY)
    gate = daemon.folder / "gate"
    os.mkfifo(gate)
    argv = ["sh", "-c", 'read -r _ < "$1"', "sh", str(gate)]
    made = daemon.call("swarm.create", task="t", cwd="/", argv=argv)
    assert daemon.call("event.wait", swarm=made["id"], kinds=["agent.started"], since=0, timeout_s=20)[
        "events"
    ]
    assert daemon.call("provider.test", name="one")["ok"], "dashd itself has it"
    pids = holders_of(daemon)
    assert fork_server in pids
    assert len(pids) == 2
    assert processes_that_show(CANARY, pids) == []
    looked = [memory for pid in pids if (memory := memory_of(pid)) is not None]
    assert all(str(daemon.state).encode() in memory for memory in looked), (
        "it would be found if it were there"
    )
    assert not any(CANARY.encode() in memory for memory in looked)
    with gate.open("wb") as file:
        file.write(b"go\n")


WORK = """
import os, sys
sys.path.insert(0, {home!r})
from pathlib import Path
from tests.whole.daemons import DaemonProcess
assert os.getuid() != 0
daemon = DaemonProcess(Path({folder!r}), CANARY_OF_ENVIRON="in-the-environment")
try:
    daemon.start()
    for name in ("environ", "mem", "maps"):
        try:
            Path(f"/proc/{{daemon.pid}}/{{name}}").open("rb").read(1)
        except PermissionError:
            print("closed", name)
    gate = Path({folder!r}, "gate")
    os.mkfifo(gate)
    script = 'for name in environ mem maps; do head -c 1 "/proc/$2/$name" || echo "$name" >> "$3"; done'
    tried = str(Path({folder!r}, "tried"))
    script += '; echo "@dash {{\\\\"note\\\\": \\\\"tried\\\\"}}"; read -r _ < "$1"'
    argv = ["sh", "-c", script, "sh", str(gate), str(daemon.pid), tried]
    made = daemon.call("swarm.create", task="t", cwd="/", argv=argv)
    seen = daemon.call("event.wait", swarm=made["id"], kinds=["agent.started"], since=0, timeout_s=20)
    assert seen["events"], seen
    daemon.call("event.wait", swarm=made["id"], kinds=["agent.progress"], since=0, timeout_s=20)
    print("an agent reads none of", Path(tried).read_text().split())
    daemon.kill()
    daemon.start()
    print("adopted", daemon.call("daemon.status")["adopted"])
    agent = daemon.call("agent.list", swarm=made["id"])["items"][0]["id"]
    daemon.call("agent.pause", agent=agent)
    daemon.call("event.wait", swarm=made["id"], kinds=["agent.paused"], since=0, timeout_s=20)
    daemon.call("agent.resume", agent=agent)
    with gate.open("wb") as file:
        file.write(b"go\\n")
    ended = daemon.call("event.wait", swarm=made["id"], kinds=["swarm.completed"], since=0, timeout_s=20)
    print("completed", len(ended["events"]))
finally:
    daemon.end()
"""


def without_rights():
    """A prefix that takes root's rights away and leaves its files: the same uid, as agents have it."""
    if os.getuid() != 0:
        return []
    prefix = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if shutil.which("unshare") is None:
        pytest.skip("root reads every process, and there is no unshare to be somebody else")
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("root reads every process, and may make no user namespace to be somebody else in")
    return prefix


def test_nobody_of_the_same_uid_reads_it_and_agents_are_adopted_all_the_same(tmp_path_factory):
    folder = tmp_path_factory.mktemp("n")
    home = Path(daemon_process.__file__).parents[1]
    ran = subprocess.run(
        [*without_rights(), sys.executable, "-P", "-c", WORK.format(home=str(home), folder=str(folder))],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        cwd=folder,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    tried = "an agent reads none of ['environ', 'mem', 'maps']"
    assert said == ["closed environ", "closed mem", "closed maps", tried, "adopted 1", "completed 1"]
