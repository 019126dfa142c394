"""A program outside with a key: it calls models over kill -9 and restart; its secret is on no disk."""

import json
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.slow


def ask(url, secret):
    """(status, answer) of one call, as any client makes it."""
    body = {"model": "offline", "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(
        f"{url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {secret}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def spent(daemon, key):
    return daemon.call("budget.status", budget=key)["budget"]["spent_usd"]


def test_a_key_outlives_the_daemon_and_its_secret_is_nowhere(start_daemon):
    daemon = start_daemon(DASH_PROXY_PORT="0")
    made = daemon.call("key.create", name="editor", limit_usd=0.02, requests_per_minute=3)
    key, secret = made["key"]["id"], made["secret"]
    assert ask(made["url"], secret)[0] == 200
    before = spent(daemon, key)
    assert before > 0
    daemon.kill()
    daemon.start()
    url = daemon.call("key.list")["url"]
    assert ask(url, secret)[0] == 200
    assert spent(daemon, key) > before
    daemon.call("budget.set", budget=key, limit_usd=0.0001)
    status, refused = ask(url, secret)
    assert (status, refused["error"]["data"]["kind"]) == (402, "budget_exceeded")
    daemon.call("budget.set", budget=key, limit_usd=None)
    status, refused = ask(url, secret)
    assert (status, refused["error"]["data"]["kind"]) == (429, "rate_limited")
    assert daemon.call("key.list")["keys"][0]["last_used_at"] is not None
    daemon.call("key.revoke", key="editor")
    daemon.stop()
    found = [
        path for path in daemon.folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert found == []


def test_each_call_of_a_key_is_told_also_those_right_before_a_stop(start_daemon):
    daemon = start_daemon(DASH_PROXY_PORT="0")
    made = daemon.call("key.create", name="editor", limit_usd=1)
    for _ in range(5):
        assert ask(made["url"], made["secret"])[0] == 200
    daemon.stop()
    daemon.start()
    told = [each["data"] for each in daemon.call("event.list", kinds=["model.call"])["events"]]
    assert sum(each["calls"] for each in told) == 5
    key = made["key"]["id"]
    assert {(each["key"], each["key_name"], each["budget"]) for each in told} == {(key, "editor", key)}
    assert made["secret"] not in str(told)
