"""Leases: one that ends as a daemon returns leaves a live agent that is ours or a dead one, never both."""

import os
import time

import pytest

from tests.crash import swarms
from tests.crash.account import Account, executions
from tests.crash.home import Home, wait_gone

pytestmark = [pytest.mark.crash, pytest.mark.slow]

STEPS = 16
RETURNS = 5 if "DASH_TORTURE" in os.environ else 2


def test_leases_that_run_out_while_the_daemon_returns(home: Home) -> None:
    """Many agents whose leases end one after the other across the moment in which the daemon is back."""
    home.start()
    client = home.client()
    # One life only to learn how long a return takes here and now.
    home.kill()
    began = time.monotonic()
    home.start()
    return_s = time.monotonic() - began
    client = home.client()
    leases = [return_s * (0.4 + 1.2 * step / STEPS) for step in range(STEPS)]
    made = [swarms.create(home, client, f"g{n} gate child", lease_s=lease) for n, lease in enumerate(leases)]
    for swarm in made:
        swarms.wait_at_gate(client, swarm, 1)
    adopted = 0
    for _ in range(RETURNS):
        home.kill()
        Account(home.database).check_rows()
        assert home.start().startswith("READY"), home.log()
        client = home.client()
        adopted += client.call("daemon.status")["adopted"]
        for swarm in made:  # adopted, or lost and started again
            wait_alive(client, swarm)
    (home.journal / "gate").touch()
    swarms.wait(client, *["swarm.completed"] * STEPS)
    account = swarms.check(home)
    lost = account.count("lost", "longer than its lease")
    print(f"{adopted} adopted, {lost} lost, of {STEPS * RETURNS} in {return_s:.2f} s")
    assert account.count("lost") == lost
    assert adopted + lost == STEPS * RETURNS
    assert len(executions(home.journal)) == STEPS + lost


def wait_alive(client: swarms.Client, swarm: str) -> None:
    """Waits until the agent of the swarm is known to run."""
    give_up_at, cursor = time.monotonic() + swarms.WAIT_S_MAX, 0
    while [seat["liveness"] for seat in swarms.seats(client, swarm)] != ["alive"]:
        assert time.monotonic() < give_up_at, swarms.seats(client, swarm)
        cursor = client.call("event.wait", since=cursor, swarm=swarm, limit=1_000, timeout_s=5)["cursor"]


@pytest.mark.parametrize("point", ["holder.exit_tmp", "holder.before_kill"])
def test_a_holder_killed_while_its_lease_ends_its_agent(home: Home, point: str) -> None:
    """Whatever it had written by then, nothing of its agent is left when the task runs again."""
    home.start(f"{point}:1")
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate deaf child", lease_s=0.1)
    swarms.wait_at_gate(client, swarm, 1)
    (holder,) = home.holders()
    home.kill()
    assert wait_gone(holder, time.monotonic() + 10)
    assert home.start().startswith("READY")
    client = home.client()
    swarms.wait(client, "agent.lost", swarm=swarm)
    (home.journal / "gate").touch()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 1
    assert len(executions(home.journal)) == 2


def test_agents_without_a_lease_die_with_the_daemon(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate child", "g2 gate", lease_s=0)
    swarms.wait_at_gate(client, swarm, 2)
    home.kill()
    home.wait_empty()
    (home.journal / "gate").touch()
    assert home.start().startswith("READY")
    client = home.client()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost", "longer than its lease") == 2
    assert len(executions(home.journal)) == 4
