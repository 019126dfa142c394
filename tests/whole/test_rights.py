"""Keys that speak, through the socket of a real dashd: what is allowed, two persons, and the end of a key."""

import os
import subprocess
import sys

import pytest

from dashd.client_blocking import Client, Refused, Unreachable

pytestmark = pytest.mark.slow

DEAR = {"task": "t", "argv": ["true"], "cwd": "/", "budget": 2}


def shown(daemon, secret):
    """A connection that has shown a key."""
    dash = Client(daemon.socket)
    dash.call("rpc.hello", {"client": "test", "key": secret})
    return dash


def kind_of(dash, method, **params):
    """How a call is refused."""
    with pytest.raises(Refused) as refused:
        dash.call(method, params)
    return refused.value.kind


def secret_of(daemon, name, kind):
    return daemon.call("key.create", name=name, kind=kind)["secret"]


def ctl(daemon, secret, *argv):
    environ = {**os.environ, **daemon.environ, "DASH_KEY": secret}
    return subprocess.run(
        [sys.executable, "-m", "dashctl", *argv], env=environ, capture_output=True, text=True, timeout=60
    )


def test_an_orchestrator_may_what_the_table_says_until_its_key_is_revoked(start_daemon):
    daemon = start_daemon()
    secret = secret_of(daemon, "claude", "orchestrator")
    with shown(daemon, secret) as dash:
        welcome = dash.call("rpc.hello", {"client": "test"})
        assert (welcome["actor"], welcome["who"]) == ("orchestrator", "orchestrator:claude")
        made = dash.call("swarm.create", DEAR)
        assert dash.call("swarm.get", {"swarm": made["id"]})["id"] == made["id"]
        for method, params in {
            "daemon.stop": {},
            "key.create": {"name": "mine", "kind": "operator"},
            "key.list": {},
            "budget.set": {"budget": "project", "limit_usd": 1},
            "gate.remove": {"name": "dear"},
            "provider.add": {"name": "p", "format": "openai-chat", "url": "http://127.0.0.1:9/v1"},
        }.items():
            assert method not in welcome["methods"]
            assert kind_of(dash, method, **params) == "Forbidden"
        assert "not for orchestrator:claude" in ctl(daemon, secret, "key", "list").stderr
        assert ctl(daemon, secret, "swarm", "list").returncode == 0
        daemon.kill()
    daemon.start()
    with shown(daemon, secret) as dash, shown(daemon, secret) as watching:
        watching.call("event.subscribe", {"kinds": ["swarm.created"]})
        daemon.call("swarm.create", **DEAR)
        assert watching.notification(deadline_s=20)["params"]["events"]
        daemon.call("key.revoke", key="claude")
        assert kind_of(dash, "swarm.list") == "Unauthorized"
        assert kind_of(dash, "rpc.hello", client="test", key=secret) == "Unauthorized"
        daemon.call("swarm.create", **DEAR)
        with pytest.raises((Refused, Unreachable)) as told:
            watching.notification(deadline_s=20)
        assert "revoked" in str(told.value) or isinstance(told.value, Unreachable)
    assert "revoked" in ctl(daemon, secret, "swarm", "list").stderr


def test_two_persons_are_two_keys(start_daemon):
    daemon = start_daemon()
    asking = secret_of(daemon, "claude", "orchestrator")
    anna, bert = secret_of(daemon, "anna", "operator"), secret_of(daemon, "bert", "operator")
    daemon.call("gate.set", name="dear", kind="money", above=1, two_person=True)
    with shown(daemon, asking) as dash:
        made = dash.call("swarm.create", DEAR)
        assert made["state"] == "creating"
        yes = {"approvals": [made["approval"]], "decision": "allow"}
        assert kind_of(dash, "approval.resolve", **yes) == "Forbidden"
    with shown(daemon, anna) as first, shown(daemon, bert) as second:
        assert first.call("approval.resolve", yes)["items"][0]["state"] == "open"
        (still,) = first.call("approval.resolve", yes)["items"]
        assert still["state"] == "open", "the same key twice is one person"
        assert second.call("approval.resolve", yes)["items"][0]["state"] == "allowed"
    found = daemon.call("event.wait", swarm=made["id"], kinds=["swarm.completed"], since=0, timeout_s=20)
    assert found["events"]
    actors = {row["actor"] for row in daemon.call("audit.list", limit=50)["rows"]}
    assert {"orchestrator:claude", "operator:anna", "operator:bert"} <= actors
