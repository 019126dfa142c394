"""Swarms of the test agent, as short calls: create, wait for what happens, wait for the end."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.crash.account import Account, executions
from tests.crash.client import Client
from tests.crash.home import Home

AGENT = str(Path(__file__).with_name("agent.py"))
WAIT_S_MAX = 30.0


def create(
    home: Home, client: Client, *items: str, limits: dict[str, Any] | None = None, **params: Any
) -> str:
    """A swarm with a seat for each item; its id."""
    created = client.call(
        "swarm.create",
        task="crash test",
        agents=params.pop("agents", len(items)),
        items=list(items),
        argv=[sys.executable, "-I", "-S", AGENT, str(home.journal), "{item}"],
        cwd=str(home.path),
        limits={"grace_s": 1, **(limits or {})},
        **params,
    )
    return str(created["id"])


def wait(client: Client, *expected: str, since: int = 0, **wanted: Any) -> list[dict[str, Any]]:
    """Waits until every kind in `expected` has come as often as it stands there; the events so far."""
    missing, seen = Counter(expected), []
    give_up_at = time.monotonic() + WAIT_S_MAX
    while missing.total():
        left_s = give_up_at - time.monotonic()
        assert left_s > 0, f"{dict(missing)} did not come, only {Counter(event['kind'] for event in seen)}"
        page = client.call("event.wait", since=since, timeout_s=left_s, limit=1_000, **wanted)
        since = page["cursor"]
        for event in page["events"]:
            seen.append(event)
            missing -= Counter([event["kind"]])
    return seen


def wait_at_gate(client: Client, swarm: str, count: int) -> None:
    """Waits until `count` agents of a swarm have said that they stand at the gate."""
    wait(client, *["agent.progress"] * count, swarm=swarm)


def seats(client: Client, swarm: str) -> list[dict[str, Any]]:
    """The agents of a swarm in full."""
    return [
        client.call("agent.get", agent=brief["id"])
        for brief in client.call("agent.list", swarm=swarm, limit=100)["items"]
    ]


def state_of(pid: int) -> str:
    """The letter that the kernel shows for a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def last(client: Client) -> int:
    """The cursor of now."""
    return int(client.call("daemon.status")["last_seq"])


def check(home: Home, *, complete: bool = True) -> Account:
    """Ends the daemon politely, wants no process left, and checks everything; gives the account for more."""
    home.stop()
    home.wait_empty()
    account, runs = Account(home.database), executions(home.journal)
    if complete:
        account.check_complete()
    account.check_rows()
    account.check_events()
    account.check_runs(runs)
    account.check_adoptions(runs)
    return account
