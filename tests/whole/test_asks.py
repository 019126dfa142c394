"""An agent of a real dashd that asks before it acts: held, allowed, refused, killed, and through a crash."""

import contextlib
import json

import pytest

from dashd import client_blocking
from tests.jail import inside
from tests.whole.daemons import DaemonProcess

pytestmark = pytest.mark.slow
POSTS = """
import json, os, urllib.error, urllib.parse, urllib.request
at = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for path, told in ASKS:
    head = {"authorization": f"Bearer {at.password}", "content-type": "application/json"}
    body = json.dumps(told).encode()
    try:
        answer = direct.open(urllib.request.Request(f"http://{at.hostname}:{at.port}{path}", body, head))
    except urllib.error.HTTPError as error:
        answer = error
    print(answer.status, answer.read().decode())
"""
"""A program that posts what it is given to its agent's own listener."""
RULE = {"name": "removing", "kind": "command", "pattern": "rm *"}


@contextlib.contextmanager
def serving(folder, *, walls):
    """A daemon of a test's own."""
    if walls:
        inside.of_grade("B")
    (folder / "dash").mkdir()
    made = DaemonProcess(folder / "dash", DASH_JAIL_REQUIRED=str(walls).lower())
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture(params=["walls", "none"])
def dashd(request, tmp_path):
    """One whose agents have walls, and one whose agents have none."""
    with serving(tmp_path, walls=request.param == "walls") as made:
        yield made


@pytest.fixture
def walled(tmp_path):
    """One whose agents have walls: without them an agent is its user, who may approve."""
    with serving(tmp_path, walls=True) as made:
        yield made


@pytest.fixture
def work(tmp_path):
    """Where agents work."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name)
    return folder


class Story:
    """One embedded agent on the offline stand-in, and what happens to it."""

    def __init__(self, dashd, work, task="`rm a`, then `echo went on`", **params):
        self.dashd = dashd
        self.made = dashd.call(
            "swarm.create", task=task, driver="embedded", cwd=str(work), budget=1.0, lease_s=60, **params
        )
        self.swarm, self.agent = self.made["id"], f"{self.made['id']}-001"

    def wait(self, *kinds, attention=False):
        found = self.dashd.call(
            "event.wait", since=0, swarm=self.swarm, kinds=kinds, attention=attention, timeout_s=25
        )
        assert not found["timed_out"], self.dashd.log()
        return found["events"]

    def held(self):
        """Until it waits for a yes: the request."""
        (event,) = self.wait("approval.requested", attention=True)
        return event["data"]["approval"]

    def resolve(self, decision, note=""):
        self.dashd.call("approval.resolve", approvals=[self.held()], decision=decision, note=note)

    def result(self):
        self.wait("swarm.completed", "swarm.failed", "swarm.destroyed")
        report = self.dashd.call("swarm.report", swarm=self.swarm, detail="full")
        assert not report["failures"], (report["failures"], self.dashd.log())
        return report

    def heard(self):
        """What its last tool call said."""
        return json.loads(self.result()["results"][0]["result"])["summary"]


def test_a_gate_holds_an_agent_until_somebody_says_yes(dashd, work):
    dashd.call("gate.set", **RULE)
    story = Story(dashd, work, task="`rm a`", limits={"timeout_s": 300})
    approval = story.held()
    why = dashd.call("agent.why", agent=story.agent)
    assert (why["waits_for"], why["on"]) == ("approval", [approval])
    assert why["text"] == f"it waits for approval {approval}: run `rm a`"
    assert why["until"] is not None
    (shown,) = dashd.call("approval.list")["items"]
    assert (shown["agent"], shown["what"], shown["asked_by"]) == (story.agent, "run `rm a`", story.agent)
    assert (work / "a").exists()
    story.resolve("allow")
    assert "[exit 0" in story.heard()
    assert not (work / "a").exists()


def test_a_no_is_told_to_the_model_with_its_reason(dashd, work):
    dashd.call("gate.set", **RULE)
    story = Story(dashd, work, task="`cd . && /bin/rm a`")
    story.resolve("deny", note="keep it")
    heard = story.heard()
    assert "not allowed: run `cd . && /bin/rm a`" in heard
    assert "was refused: keep it" in heard
    assert (work / "a").exists()


def test_the_deadline_decides_and_the_agent_s_own_time_does_not_run(dashd, work):
    dashd.call("gate.set", **RULE, deadline_s=3, at_deadline="allow")
    story = Story(dashd, work, task="`rm a`", limits={"timeout_s": 2, "retries": 0})
    report = story.result()
    assert "[exit 0" in report["results"][0]["result"]
    assert report["attempts"]["total"] == 1
    (row,) = dashd.call("approval.list", state="any")["items"]
    assert (row["state"], row["decided_by"]) == ("allowed", "deadline")


def test_a_kill_of_dashd_keeps_the_request_and_the_agent(dashd, work):
    dashd.call("gate.set", **RULE)
    story = Story(dashd, work, task="`rm a`, `echo $PPID > b`")
    approval = story.held()
    dashd.kill()
    dashd.start()
    assert dashd.call("daemon.status")["adopted"] == 1
    assert dashd.call("agent.why", agent=story.agent)["on"] == [approval]
    dashd.call("gate.remove", name=RULE["name"])  # what was asked keeps its terms
    assert (work / "a").exists()
    dashd.kill()  # once more, and decided before the agent can have asked again
    dashd.start()
    dashd.call("approval.resolve", approvals=[approval], decision="allow")
    report = story.result()
    assert report["attempts"]["total"] == 1
    assert not (work / "a").exists()
    assert [row["id"] for row in dashd.call("approval.list", state="any")["items"]] == [approval]


def test_a_held_agent_can_be_killed_and_paused(dashd, work):
    dashd.call("gate.set", **RULE)
    story = Story(dashd, work)
    approval = story.held()
    dashd.call("agent.pause", agent=story.agent)
    story.wait("agent.paused")
    assert dashd.call("agent.why", agent=story.agent)["text"].endswith("it is paused as well")
    dashd.call("agent.resume", agent=story.agent)
    story.wait("agent.resumed")
    dashd.call("agent.kill", agent=story.agent)
    story.wait("swarm.completed", "swarm.failed")
    (row,) = dashd.call("approval.list", state="any")["items"]
    assert (row["id"], row["state"]) == (approval, "withdrawn")
    with contextlib.suppress(client_blocking.CallFailed):
        dashd.call("approval.resolve", approvals=[approval], decision="allow")
    assert (work / "a").exists()


def test_command_patterns_of_a_swarm(dashd, work):
    story = Story(dashd, work, task="`rm a`", deny_commands=["rm *"])
    assert any("guidance" in note and "no wall" in note for note in story.made["notes"]), story.made["notes"]
    assert "Scope violation: attempted access to rm a; allowed scope: everything; not rm *" in story.heard()
    asks = Story(dashd, work, task="`echo yes`", allow_commands=["ls *"])
    asks.resolve("allow")
    assert "yes" in asks.heard()
    assert (work / "a").exists()


def test_a_path_outside_the_scope_is_refused_with_one_sentence(walled, work):
    """The stand-in only runs commands, so what it runs asks for it, with the agent's own key."""
    (work / "src").mkdir()
    asks = [
        ("/dash/v1/ask", {"kind": "path", "text": path, "call": path})
        for path in ("src/a", "docs/a", "src/../docs/a")
    ]
    (work / "try.py").write_text(POSTS.replace("ASKS", repr(asks)))
    story = Story(walled, work, task="`echo $DASH_ASK; python3 try.py`", scope=["src"], hosts=["a.example"])
    refused = "Scope violation: attempted access to {}; allowed scope: src"
    heard = story.heard()
    assert "path 200 {" in heard
    assert [part.split("}")[0] for part in heard.split('"decision":')[1:]] == [
        '"allow","text":""',
        f'"deny","text":"{refused.format("docs/a")}"',
        f'"deny","text":"{refused.format("src/../docs/a")}"',
    ]


def test_without_gates_an_agent_does_not_ask(dashd, work):
    story = Story(dashd, work, task="`rm a`, `echo [$DASH_ASK]`")
    assert "[]" in story.heard()
    assert not (work / "a").exists()


def test_an_agent_reaches_nothing_that_could_approve(walled, work):
    """What it runs, with its own key and at its own listener, finds no way to a decision."""
    walled.call("gate.set", **RULE)
    story = Story(walled, work)
    approval = story.held()
    call = {"jsonrpc": "2.0", "id": 1, "method": "approval.resolve"}
    call["params"] = {"approvals": [approval], "decision": "allow"}
    paths = ("/approval.resolve", "/dash/v1/approval", "/", "/dash/v1/ask")
    (work / "try.py").write_text(POSTS.replace("ASKS", repr([(path, call) for path in paths])))
    argv = ["/usr/bin/python3", "try.py"]
    other = walled.call("swarm.create", task="t", argv=argv, cwd=str(work), hosts=["a.example"])
    walled.call("event.wait", since=0, swarm=other["id"], kinds=["swarm.completed"], timeout_s=25)
    report = walled.call("swarm.report", swarm=other["id"], detail="full")
    assert not report["failures"], report
    said = report["results"][0]["result"].splitlines()
    assert [line[:3] for line in said] == ["403"] * 4, "a command's key opens hosts, and nothing else"
    assert "calls no model" in said[0]
    (row,) = walled.call("approval.list")["items"]
    assert (row["id"], row["state"]) == (approval, "open")
