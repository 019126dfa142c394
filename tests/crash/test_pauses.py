"""What was paused stays paused through a kill; for a deadline pauses do not count, absence does."""

import time

import pytest

from tests.crash import swarms
from tests.crash.account import executions
from tests.crash.home import Home

pytestmark = [pytest.mark.crash, pytest.mark.slow]

TIMEOUT_S = 3.0


def test_pauses_of_an_agent_and_of_a_swarm_survive_a_kill(home: Home) -> None:
    home.start()
    client = home.client()
    limits = {"timeout_s": TIMEOUT_S}
    alone = swarms.create(home, client, "g1 gate", "g2 gate", "q1", agents=2, limits=limits)
    whole = swarms.create(home, client, "g3 gate child", "g4 gate", "q2", agents=2, limits=limits)
    for swarm in (alone, whole):
        swarms.wait_at_gate(client, swarm, 2)
    one, other = swarms.seats(client, alone)
    client.call("agent.pause", agent=one["id"])
    client.call("swarm.pause", swarm=whole)
    swarms.wait(client, "agent.paused", "agent.paused", "agent.paused")
    paused_at = time.monotonic()
    home.kill()
    assert home.start().startswith("READY")
    client = home.client()
    frozen = [one, *swarms.seats(client, whole)]
    for seat in frozen:
        found = client.call("agent.get", agent=seat["id"])
        assert (found["state"], found["liveness"], found["why"]["waits_for"]) == ("paused", "alive", "pause")
        assert found["pid"] == seat["pid"]
        assert swarms.state_of(found["pid"]) == "T"
    assert client.call("swarm.get", swarm=whole)["state"] == "paused"
    # Its time may have run out by now, on a slow machine, and it begins again: it is not paused.
    assert client.call("agent.get", agent=other["id"])["state"] in ("running", "spawning", "idle")
    cursor = swarms.last(client)
    # The one that is not paused runs out of time, and is tried again; nothing else may.
    ended = swarms.wait(client, "task.failed", since=cursor)
    assert [event["task"] for event in ended if event["kind"] == "task.failed"] == [other["task"]]
    (home.journal / "gate").touch()
    assert time.monotonic() - paused_at > TIMEOUT_S - 1
    client.call("agent.resume", agent=one["id"])
    client.call("swarm.resume", swarm=whole)
    swarms.wait(client, "swarm.completed", "swarm.completed")
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert account.count("failed") == 1
    assert len(executions(home.journal)) == 7


def test_a_deadline_counts_the_time_without_a_daemon(home: Home) -> None:
    home.start()
    client = home.client()
    limits = {"timeout_s": 1, "retries": 0}
    swarm = swarms.create(home, client, "g1 gate", "g2 gate deaf child", "a1", limits=limits)
    swarms.wait_at_gate(client, swarm, 2)
    running = time.monotonic()
    home.kill()
    time.sleep(max(0.0, running + 1.2 - time.monotonic()))  # away until the deadline is over
    assert home.start().startswith("READY")
    back = time.monotonic()
    client = home.client()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home, complete=False)
    assert account.count("failed", "ran longer than 1 s") == 2, [
        run["reason"] for run in account.attempts.values()
    ]
    assert account.swarms[swarm]["outcome"] == "partial"
    assert time.monotonic() - back < 10
