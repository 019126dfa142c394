"""Approvals and the record in a real dashd, through its death."""

import pytest

from dashd.domain import chain

pytestmark = pytest.mark.slow

GATE = {"name": "dear", "kind": "money", "above": 1, "two_person": True}
DEAR = {"task": "t", "argv": ["true"], "cwd": "/", "budget": 2}


def wait(daemon, swarm, *kinds):
    return daemon.call("event.wait", swarm=swarm, kinds=kinds, since=0, timeout_s=20)["events"]


def test_what_waits_survives_a_kill_and_what_is_due_is_decided_at_the_start(start_daemon):
    daemon = start_daemon()
    daemon.call("gate.set", **GATE, deadline_s=1)
    soon = daemon.call("swarm.create", **DEAR)
    daemon.call("gate.set", **GATE, deadline_s=3_600)
    late = daemon.call("swarm.create", **DEAR)
    assert (soon["state"], soon["approval"], late["approval"]) == ("creating", "ap1", "ap2")
    daemon.kill()
    daemon.start()
    (ended,) = wait(daemon, soon["id"], "swarm.destroyed")
    assert ended["data"]["outcome"] == "none"
    (open_,) = daemon.call("approval.list")["items"]
    assert (open_["id"], open_["swarm"]) == ("ap2", late["id"])
    done = daemon.call("approval.resolve", approvals=["ap2"], decision="deny", note="no")
    assert done["items"][0]["state"] == "denied"
    assert wait(daemon, late["id"], "swarm.destroyed")
    decided = {row["id"]: row["decided_by"] for row in daemon.call("approval.list", state="any")["items"]}
    assert decided["ap1"] == "deadline"
    assert decided["ap2"].startswith("operator:uid-")


def test_the_record_goes_on_over_a_kill_and_shows_what_was_cut(start_daemon):
    daemon = start_daemon()
    made = daemon.call("swarm.create", task="t", argv=["true"], cwd="/")
    wait(daemon, made["id"], "swarm.completed")
    noted = daemon.call("daemon.status")["audit"]
    daemon.kill()
    daemon.start()
    found = daemon.call("audit.verify", head=noted)
    assert (found["ok"], found["why"]) == (True, "")
    assert chain.read_head(found["head"]).seq > chain.read_head(noted).seq
    actions = [row["action"] for row in daemon.call("audit.list")["rows"]]
    assert actions == ["daemon.started", "swarm.completed", "swarm.create", "daemon.started"]
    later = f"{chain.read_head(found['head']).seq + 5}:{'0' * 64}"
    assert not daemon.call("audit.verify", head=later)["ok"]
