"""Walls around real agents of a real dashd: what they reach, what they do not, and that it is shown."""

import json
import os
import socket

import pytest

from dashd.client_blocking import Refused
from tests.jail import inside
from tests.whole.daemons import DaemonProcess

pytestmark = pytest.mark.slow
END_S_MAX = 60.0


@pytest.fixture
def dashd(tmp_path):
    """A daemon whose agents have walls."""
    inside.of_grade("B")
    (tmp_path / "dash").mkdir()
    made = DaemonProcess(tmp_path / "dash", DASH_JAIL_REQUIRED="true")
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture
def work(tmp_path):
    """Where agents work: a folder with one to write and one to read in it."""
    folder = tmp_path / "work"
    for name in ("src", "docs"):
        (folder / name).mkdir(parents=True)
    (folder / "docs" / "a").write_text("from docs\n")
    (tmp_path / "secret").write_text("s3cret")
    return folder


def run(dashd: DaemonProcess, **params) -> dict:
    """Creates a swarm of one and waits for its end: its report."""
    made = dashd.call("swarm.create", **{"task": "t", **params})
    kinds = ["swarm.completed", "swarm.failed"]
    waited = dashd.call(
        "event.wait", since=made["cursor"], swarm=made["id"], kinds=kinds, timeout_s=END_S_MAX / 2
    )
    assert not waited["timed_out"], dashd.log()
    return dashd.call("swarm.report", swarm=made["id"], detail="full")


def result(report: dict) -> str:
    assert not report["failures"], report["failures"]
    return report["results"][0]["result"]


def test_an_agent_reads_its_folder_and_writes_its_scope(dashd, work, tmp_path):
    script = (
        "cat docs/a; echo made > src/made; echo no > docs/b 2>&1 || echo refused;"
        f" cat {tmp_path}/secret || echo hidden; ls {dashd.state} || echo no state"
    )
    said = result(run(dashd, argv=["sh", "-c", script], cwd=str(work), scope=["src"]))
    assert said.split("\n")[:4] == ["from docs", "refused", "hidden", "no state"]
    assert (work / "src" / "made").read_text() == "made\n"
    assert not (work / "docs" / "b").exists()


@pytest.mark.parametrize("linked", [False, True])
def test_what_git_runs_for_its_user_is_not_written_by_agents(dashd, work, linked):
    git = work / ".git"
    if linked:  # of a linked worktree it is a file
        git.write_text("gitdir: /elsewhere\n")
    else:
        (git / "hooks").mkdir(parents=True)
        (git / "config").write_text("[core]\n")
    tries = [
        "echo '[core] fsmonitor=evil' >> .git/config",
        "echo evil > .git/hooks/post-commit",
        "mv .git aside",
        "rm -rf .git; mkdir .git",
        "echo evil > .git",
    ]
    script = "; ".join(f"({each}) 2>/dev/null && echo did: {number}" for number, each in enumerate(tries))
    said = result(
        run(dashd, argv=["sh", "-c", f"{script}; cat .git/config .git; echo x > src/fine"], cwd=str(work))
    )
    assert "did" not in said
    assert "gitdir" in said if linked else "[core]" in said
    assert (work / "src" / "fine").read_text() == "x\n"
    left = git.read_text() if linked else (git / "config").read_text() + "".join(os.listdir(git / "hooks"))
    assert "evil" not in left
    assert "post-commit" not in left


def test_nor_what_lies_deeper_and_a_git_directory_is_no_folder_to_work_in(dashd, work):
    kept = [work / "src" / "vendor" / "n" / ".git", work / "src" / "b1.git"]
    for git in kept:
        for name in ("hooks", "objects", "refs"):
            (git / name).mkdir(parents=True)
        (git / "HEAD").write_text("ref: refs/heads/main\n")
    script = "; ".join(
        f"echo evil > {git}/hooks/post-commit; mv {git} {git}2; echo evil >> {git}/HEAD" for git in kept
    )
    # Another one in the same folder: what was moved out of the way is found where it is.
    for attempt in (script, script.replace("/vendor/", "/moved/")):
        moved = f"{attempt}; mv src/vendor src/moved; echo x > src/fine"
        run(dashd, argv=["sh", "-c", moved], cwd=str(work), scope=["src"])
        assert (work / "src" / "fine").read_text() == "x\n"
    found = [*work.glob("src/*/n/.git"), work / "src" / "b1.git"]
    assert len(found) == 2
    for git in found:
        assert os.listdir(git / "hooks") == []
        assert "evil" not in (git / "HEAD").read_text()
    for folder in ("src/b1.git", "src/b1.git/hooks"):
        with pytest.raises(Refused, match="git directory"):
            dashd.call("swarm.create", task="t", argv=["true"], cwd=str(work / folder))


def test_what_stands_around_it_is_shown(dashd, work):
    report = run(dashd, argv=["true"], cwd=str(work))
    agent = dashd.call("agent.get", agent=f"{report['id']}-001")
    assert agent["grade"] in ("A", "B")
    assert agent["identity"] is None, "it was given no way to a model or a host"
    held = {each["what"]: each["bound"] for each in agent["enforced"]}
    assert {"memory", "processes", "disk", "wall_time"} <= held.keys()
    assert ("cpu" in held) == (agent["grade"] == "A"), "else it is not bounded"
    assert all(held.values())
    alone = run(dashd, argv=["true"], cwd=str(work), unsafe_no_jail=True)
    agent = dashd.call("agent.get", agent=f"{alone['id']}-001")
    assert (agent["grade"], agent["identity"], agent["enforced"]) == ("0", None, [])


def test_nothing_of_the_network_is_in_reach(dashd, work):
    with socket.create_server(("127.0.0.1", 0)) as outside:
        code = (
            "import socket\n"
            f"for target in [('127.0.0.1', {outside.getsockname()[1]}), ('127.0.0.1', 8787)]:\n"
            "    try: socket.create_connection(target, 2); print('reached')\n"
            "    except OSError as error: print(type(error).__name__)\n"
        )
        said = result(run(dashd, argv=["/usr/bin/python3", "-c", code], cwd=str(work)))
    assert said.split() == ["ConnectionRefusedError", "ConnectionRefusedError"]


def test_a_host_is_reached_by_its_name_and_a_private_one_never(dashd, work):
    """The proxy is asked for real; the name resolves to this machine, which is refused."""
    code = (
        "import os, socket, urllib.parse, base64\n"
        "proxy = urllib.parse.urlsplit(os.environ['HTTPS_PROXY'])\n"
        "word = base64.b64encode(f'{proxy.username}:{proxy.password}'.encode()).decode()\n"
        "for name in ('localhost.localdomain:443', 'other.example:443'):\n"
        "    s = socket.create_connection((proxy.hostname, proxy.port), 5)\n"
        "    s.sendall(f'CONNECT {name} HTTP/1.1\\r\\nHost: {name}\\r\\n"
        "Proxy-Authorization: Basic {word}\\r\\n\\r\\n'.encode())\n"
        "    print(s.recv(400).split(b'\\r\\n')[0].decode())\n"
    )
    argv = ["/usr/bin/python3", "-c", code]
    said = result(run(dashd, argv=argv, cwd=str(work), hosts=["localhost.localdomain"]))
    first, second = said.splitlines()[:2]
    assert "200" not in first
    assert "403" in second
    assert "--hosts other.example" in second


def test_a_model_is_called_through_the_listener_in_the_jail(dashd, work):
    report = run(dashd, task="look: `cat docs/a`", driver="embedded", cwd=str(work), budget=1.0)
    assert "from docs" in result(report)
    assert dashd.call("agent.get", agent=f"{report['id']}-001")["identity"] == "listener"


def test_an_agent_in_a_jail_is_adopted_and_its_calls_go_on(dashd, work):
    """dashd is killed while an agent works; the next one takes over the holder and the listener inside."""
    script = "echo up; while [ ! -e src/go ]; do sleep 0.05; done; echo done"
    made = dashd.call("swarm.create", task="t", argv=["sh", "-c", script], cwd=str(work), hosts=["a.example"])
    started = dashd.call(
        "event.wait", since=made["cursor"], swarm=made["id"], kinds=["task.started"], timeout_s=END_S_MAX / 2
    )
    assert not started["timed_out"]
    dashd.kill()
    dashd.start()
    assert dashd.call("daemon.status")["adopted"] == 1
    assert dashd.call("agent.get", agent=f"{made['id']}-001")["grade"] in ("A", "B")
    (work / "src" / "go").touch()
    kinds = ["swarm.completed", "swarm.failed"]
    dashd.call("event.wait", since=0, swarm=made["id"], kinds=kinds, timeout_s=END_S_MAX / 2)
    assert result(dashd.call("swarm.report", swarm=made["id"])).split() == ["up", "done"]


def test_after_a_kill_of_everything_nothing_of_a_jail_is_left(dashd, work):
    script = "setsid sh -c 'while :; do sleep 0.05; done' & while :; do sleep 0.05; done"
    made = dashd.call("swarm.create", task="t", argv=["sh", "-c", script], cwd=str(work), lease_s=0)
    dashd.call(
        "event.wait", since=made["cursor"], swarm=made["id"], kinds=["task.started"], timeout_s=END_S_MAX / 2
    )
    assert dashd.processes(within_s=0)
    dashd.kill()
    left = [pid for pid in dashd.processes(within_s=15) if _is_jailed(pid)]
    assert left == []


def _is_jailed(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"DASH_LAUNCH=" in file.read()
    except OSError:
        return False


def test_walls_that_cannot_be_built_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "dash").mkdir()
    (tmp_path / "work").mkdir()
    dashd = DaemonProcess(tmp_path / "dash", DASH_JAIL_REQUIRED="true", DASH_JAIL_GRADE_MIN="A")
    if inside.walls().grade == "A":
        pytest.skip("there are no better walls than this machine's")
    try:
        dashd.start()
        with pytest.raises(
            Exception, match="agents need walls of grade A, and this machine gives"
        ) as refused:
            dashd.call("swarm.create", task="t", argv=["true"], cwd=str(tmp_path / "work"))
        assert "unsafe_no_jail" in str(getattr(refused.value, "hint", ""))
        assert dashd.call("swarm.list")["total"] == 0
    finally:
        dashd.end()


def test_many_jails_start_at_once(dashd, work):
    made = dashd.call("swarm.create", task="t", agents=12, argv=["sh", "-c", "pwd"], cwd=str(work))
    kinds = ["swarm.completed", "swarm.failed"]
    dashd.call("event.wait", since=made["cursor"], swarm=made["id"], kinds=kinds, timeout_s=END_S_MAX / 2)
    report = dashd.call("swarm.report", swarm=made["id"])
    assert report["tasks"].get("completed") == 12, json.dumps(report)


def test_a_link_on_path_into_a_hidden_folder_says_what_to_give(tmp_path, work):
    """As pipx and uv make them."""
    inside.of_grade("B")
    own, on_path = tmp_path / "venvs" / "tool" / "bin", tmp_path / "on-path"
    for folder in (own, on_path, tmp_path / "dash"):
        folder.mkdir(parents=True)
    (own / "tool").write_text("#!/bin/sh\necho ran")
    (own / "tool").chmod(0o755)
    (on_path / "tool").symlink_to(own / "tool")
    dashd = DaemonProcess(
        tmp_path / "dash", DASH_JAIL_REQUIRED="true", PATH=f"{on_path}:{os.environ['PATH']}"
    )
    try:
        dashd.start()
        told = run(dashd, argv=["tool"], cwd=str(work), limits={"retries": 0})["failures"][0]["cause"]
        assert f"{on_path}/tool is a link to {own}/tool, and that is in no folder that its jail shows" in told
        flag, folder = told.split()[-2:]
        assert (flag, folder) == ("--read", str(own.parent))
        assert result(run(dashd, argv=["tool"], cwd=str(work), read=[folder])) == "ran\n"
    finally:
        dashd.end()
