"""Going away and coming back: SIGTERM, `daemon.stop`, a recovery that is killed itself, holders that are."""

import os
import signal
import time

import pytest

from dashd import crash_points
from tests.crash import swarms
from tests.crash.account import Account, executions
from tests.crash.home import Home, send

pytestmark = [pytest.mark.crash, pytest.mark.slow]

GATES = ("g1 gate", "g2 gate child", "g3 gate progress")
IN_ORDER = [point for point in crash_points.OWN if point.startswith(("recovery.", "app."))]


def open_gate(home: Home) -> None:
    (home.journal / "gate").touch()


def test_sigterm_detaches_and_the_next_daemon_adopts(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, *GATES)
    swarms.wait_at_gate(client, swarm, 3)
    pids = {seat["id"]: seat["pid"] for seat in swarms.seats(client, swarm)}
    home.stop()
    assert home.start().startswith("READY")
    client = home.client()
    assert client.call("daemon.status")["adopted"] == 3
    found = swarms.seats(client, swarm)
    assert {seat["id"]: (seat["pid"], seat["state"], seat["liveness"]) for seat in found} == {
        seat: (pid, "running", "alive") for seat, pid in pids.items()
    }
    open_gate(home)
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert len(executions(home.journal)) == 3


def test_sigterm_waits_for_nobody_who_waits(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate")
    swarms.wait_at_gate(client, swarm, 1)
    home.client().call("event.subscribe", since=0)
    home.client().send("event.wait", since=swarms.last(client), timeout_s=60)
    (seat,) = swarms.seats(client, swarm)
    home.client().send("agent.logs", agent=seat["id"], offset=1 << 20, wait_s=60)
    client.call("daemon.ping")
    began = time.monotonic()
    home.stop()
    assert time.monotonic() - began < 4, "it waited for the grace of 5 s"
    assert home.start().startswith("READY")
    open_gate(home)
    swarms.wait(home.client(), "swarm.completed", swarm=swarm)
    swarms.check(home)


def test_sigterm_at_any_instant_of_a_start(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, *GATES)
    swarms.wait_at_gate(client, swarm, 3)
    home.kill()
    began = time.monotonic()
    home.start()
    start_s = time.monotonic() - began
    home.stop()
    for step in range(5):
        process, ready = home.spawn()
        time.sleep(start_s * step / 4)  # nothing is waited for: each instant is to be another one
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM), home.log()
        os.close(ready)
        Account(home.database).check_rows()
    assert home.start().startswith("READY")
    client = home.client()
    assert client.call("daemon.status")["adopted"] == 3
    open_gate(home)
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert len(executions(home.journal)) == 3


def test_recovery_killed_at_each_of_its_points_in_a_row(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, *GATES)
    swarms.wait_at_gate(client, swarm, 3)
    home.kill()
    for point in IN_ORDER:
        line = home.start(point)
        assert home.ended() == -signal.SIGKILL, f"{point}: {line}\n{home.log()}"
        Account(home.database).check_rows()
    assert home.start().startswith("READY")
    client = home.client()
    assert client.call("daemon.status")["adopted"] == 3
    open_gate(home)
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert account.epoch >= len(IN_ORDER)
    assert len(executions(home.journal)) == 3


@pytest.mark.parametrize("killed", [False, True])
def test_stopping_all_agents_gives_their_tasks_back(home: Home, killed: bool) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "d1 gate deaf", "g1 gate child", "g2 gate", "q1", agents=3)
    swarms.wait_at_gate(client, swarm, 3)
    before = swarms.last(client)
    assert client.call("daemon.stop", agents="stop")["live"] == 3
    if killed:  # inside the grace of the deaf one
        home.kill()
    else:
        assert home.ended() == 0
        home.wait_empty()
        account = Account(home.database)
        account.check_rows()
        assert sorted(task["state"] for task in account.tasks.values()) == ["ready"] * 4
        assert account.count("cancelled") == 3
    open_gate(home)
    assert home.start().startswith("READY")
    client = home.client()
    swarms.wait(client, "swarm.completed", swarm=swarm, since=before)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert not [task for task in account.tasks.values() if task["attempts"]], "a stop is no failure"


@pytest.mark.parametrize("away", [False, True])
def test_every_holder_is_killed_at_once(home: Home, away: bool) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, *(f"g{number} gate child" for number in range(8)))
    swarms.wait_at_gate(client, swarm, 8)
    agents = [seat["pid"] for seat in swarms.seats(client, swarm)]
    holders = home.holders()
    assert len(holders) == 8
    if away:
        home.kill()
    send_all(holders)
    if away:
        home.start()
        client = home.client()
    swarms.wait(client, *["agent.lost"] * 8, swarm=swarm)
    assert not set(agents) & set(home.processes())
    open_gate(home)
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 8
    assert len(executions(home.journal)) == 16


def test_a_fork_server_killed_again_and_again_harms_nothing(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, *(f"a{number} work=0.02" for number in range(30)), agents=3)
    killed = 0
    cursor = 0
    while client.call("swarm.get", swarm=swarm)["state"] == "active":
        cursor = client.call("event.wait", since=cursor, swarm=swarm, limit=10, timeout_s=5)["cursor"]
        if pid := home.fork_server():
            killed += send(pid, signal.SIGKILL)
    account = swarms.check(home)
    assert killed > 5
    assert account.count("lost") == 0
    assert len(executions(home.journal)) == 30


def send_all(pids: list[int]) -> None:
    for pid in pids:
        send(pid, signal.SIGKILL)
