"""What was acknowledged is carried out: SIGKILL right after the answer, and one wish on top of another."""

import pytest

from tests.crash import swarms
from tests.crash.account import Account
from tests.crash.client import Client
from tests.crash.home import Home

pytestmark = [pytest.mark.crash, pytest.mark.slow]

# d1 does not hear TERM, so what is asked for takes its grace of a second, and the kill falls inside it.
ITEMS = ("d1 gate deaf child", "g1 gate child", "q1 work=0.1", "q2 work=0.1")


def begin(home: Home, **params: object) -> tuple[Client, str, list[dict[str, object]]]:
    """Two agents at the gate, two tasks behind them."""
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, *ITEMS, agents=2, **params)
    swarms.wait_at_gate(client, swarm, 2)
    return client, swarm, swarms.seats(client, swarm)


def come_back(home: Home) -> Client:
    """SIGKILL, and the next daemon; nobody may leave the gate yet."""
    home.kill()
    Account(home.database).check_rows()
    assert home.start().startswith("READY"), home.log()
    return home.client()


def finish(home: Home, client: Client, swarm: str) -> Account:
    """Opens the gate for who is still there, and gives the account of the end."""
    (home.journal / "gate").touch()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home, complete=False)
    assert account.count("lost") == 0
    return account


def wait_task(client: Client, task: object, *states: str) -> None:
    """Until the task is in one of these states."""
    cursor = 0
    while client.call("task.get", task=task)["state"] not in states:
        cursor = client.call("event.wait", since=cursor, limit=1_000, timeout_s=swarms.WAIT_S_MAX)["cursor"]


def states(account: Account) -> dict[str, str]:
    return {task["item"].split()[0]: task["state"] for task in account.tasks.values()}


def test_a_swarm_is_destroyed(home: Home) -> None:
    client, swarm, _ = begin(home)
    assert client.call("swarm.destroy", swarm=swarm)["changed"]
    client = come_back(home)
    swarms.wait(client, "swarm.destroyed", swarm=swarm)
    account = swarms.check(home, complete=False)
    assert states(account) == dict.fromkeys(("d1", "g1", "q1", "q2"), "cancelled")
    assert {seat["state"] for seat in account.agents.values()} == {"killed"}


@pytest.mark.parametrize("requeue", [False, True])
def test_an_agent_is_killed(home: Home, requeue: bool) -> None:
    client, swarm, (deaf, _) = begin(home)
    assert client.call("agent.kill", agent=deaf["id"], requeue=requeue)["changed"]
    client = come_back(home)
    swarms.wait(client, "agent.killed", swarm=swarm)
    account = finish(home, client, swarm)
    assert states(account) == {"d1": "completed" if requeue else "cancelled"} | dict.fromkeys(
        ("g1", "q1", "q2"), "completed"
    )
    assert account.agents[deaf["id"]]["state"] == "killed"


def test_a_task_is_cancelled(home: Home) -> None:
    client, swarm, (deaf, _) = begin(home)
    assert client.call("task.cancel", task=deaf["task"])["changed"]
    client = come_back(home)
    wait_task(client, deaf["task"], "cancelled")
    account = finish(home, client, swarm)
    assert states(account) == {"d1": "cancelled"} | dict.fromkeys(("g1", "q1", "q2"), "completed")


@pytest.mark.parametrize("what", ["swarm.pause", "agent.pause"])
def test_a_pause_that_nobody_has_carried_out_yet(home: Home, what: str) -> None:
    client, swarm, (deaf, _) = begin(home)
    chosen = {"swarm": swarm} if what == "swarm.pause" else {"agent": deaf["id"]}
    assert client.call(what, **chosen)["changed"]
    client = come_back(home)
    swarms.wait(client, *["agent.paused"] * (2 if what == "swarm.pause" else 1), swarm=swarm)
    assert swarms.state_of(int(str(deaf["pid"]))) == "T"
    client.call(what.replace("pause", "resume"), **chosen)
    account = finish(home, client, swarm)
    assert account.count("succeeded") == 4


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("requeue", "task.cancel"),
        ("requeue", "swarm.destroy"),
        ("timeout", "task.cancel"),
        ("timeout", "agent.kill"),
        ("timeout", "swarm.destroy"),
    ],
)
def test_a_stronger_wish_on_top_of_a_weaker_one(home: Home, first: str, then: str) -> None:
    """The deaf agent is ending already, so as to be run again; now nobody wants it run again."""
    limits = {"timeout_s": 1 if first == "timeout" else 300, "grace_s": 1}
    client, swarm, (deaf, _) = begin(home, limits=limits)
    if first == "requeue":
        client.call("agent.kill", agent=deaf["id"], requeue=True)
    else:
        cursor = swarms.last(client)
        while client.call("agent.why", agent=deaf["id"])["waits_for"] != "end":
            client.call("event.wait", since=cursor, timeout_s=0.05)
    noun = then.partition(".")[0]
    assert client.call(then, **{noun: {"task": deaf["task"], "agent": deaf["id"], "swarm": swarm}[noun]})[
        "changed"
    ]
    client = come_back(home)
    if then == "swarm.destroy":
        swarms.wait(client, "swarm.destroyed", swarm=swarm)
        account = swarms.check(home, complete=False)
    else:
        wait_task(client, deaf["task"], "cancelled", "ready", "retrying", "completed")
        account = finish(home, client, swarm)
    assert states(account)["d1"] == "cancelled"
