"""Two daemons at once: one state folder has one daemon, one holder obeys the one with the higher epoch."""

import signal
import subprocess
import threading

import pytest
import trio

from dashd.jail import holder_link
from tests.crash import swarms
from tests.crash.account import Account, executions
from tests.crash.home import Home, send

pytestmark = [pytest.mark.crash, pytest.mark.slow]


def test_a_second_daemon_is_refused_and_harms_nothing(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate")
    swarms.wait_at_gate(client, swarm, 1)
    rival, line = home.rival()
    assert rival.wait(10) not in (0, -9)
    assert line.startswith("FAILED another dashd")
    assert str(home.path) in line
    assert client.call("daemon.ping")["pid"] == home.daemon.pid
    (home.journal / "gate").touch()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.epoch == 1
    assert len(executions(home.journal)) == 1


def test_of_daemons_that_start_together_one_serves(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate", "g2 gate child")
    swarms.wait_at_gate(client, swarm, 2)
    home.kill()
    started = start_together(home, 4)
    serving = [process for process, line in started if line.startswith("READY")]
    refused = [process for process, line in started if line.startswith("FAILED another dashd")]
    assert (len(serving), len(refused)) == (1, 3), started
    assert all(process.wait(10) not in (0, -signal.SIGKILL) for process in refused)
    home.daemon = serving[0]
    client = home.client()
    assert client.call("daemon.status")["adopted"] == 2
    (home.journal / "gate").touch()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert len(executions(home.journal)) == 2


def start_together(home: Home, count: int) -> list[tuple[subprocess.Popen[bytes], str]]:
    """Starts daemons side by side; each with its first line."""
    started: list[tuple[subprocess.Popen[bytes], str]] = []
    threads = [threading.Thread(target=lambda: started.append(home.rival())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return started


def test_a_daemon_of_a_lower_epoch_gets_no_holder(home: Home) -> None:
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate")
    swarms.wait_at_gate(client, swarm, 1)
    (seat,) = swarms.seats(client, swarm)
    (folder,) = [path for path in (home.path / "launches").iterdir() if path.is_dir()]

    async def rival(epoch: int) -> holder_link.Adopted:
        with trio.fail_after(10):
            link = await holder_link.adopt(folder, epoch)
            await link.aclose()
            return link.adopted

    with pytest.raises(holder_link.EpochRefused) as refused:
        trio.run(rival, 0)
    assert refused.value.epoch == 1
    assert client.call("agent.get", agent=seat["id"])["liveness"] == "alive"
    # A higher one gets it; ours then must let go at once, and must not take the agent for dead.
    assert trio.run(rival, 3).pid == seat["pid"]
    assert home.ended() not in (0, -signal.SIGKILL)
    assert "epoch 3" in home.log()
    account = Account(home.database)
    account.check_rows()
    assert account.count("running") == 1
    # The next start has epoch 2, which is refused too, and says so; the one after it has 3, and gets it.
    line = home.start()
    assert line.startswith("FAILED"), line
    assert "epoch 3" in line
    assert home.ended() != 0
    assert home.start().startswith("READY")
    client = home.client()
    assert client.call("agent.get", agent=seat["id"])["pid"] == seat["pid"]
    (home.journal / "gate").touch()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert len(executions(home.journal)) == 1


def test_a_holder_that_does_not_answer_delays_nobody_else(home: Home) -> None:
    """Alive, dead and unknown are three things: a frozen holder's agent is unknown until it answers."""
    home.start()
    client = home.client()
    swarm = swarms.create(home, client, "g1 gate", "g2 gate")
    swarms.wait_at_gate(client, swarm, 2)
    one, other = swarms.seats(client, swarm)
    run = client.call("task.get", task=one["task"])["attempts"][0]["id"]
    holder = home.holder(run)
    assert holder is not None
    home.kill()
    send(holder, signal.SIGSTOP)
    try:
        assert home.start().startswith("READY")
        client = home.client()
        found = {seat["id"]: seat["liveness"] for seat in swarms.seats(client, swarm)}
        assert found == {one["id"]: "unknown", other["id"]: "alive"}
    finally:
        send(holder, signal.SIGCONT)
    swarms.wait(client, "agent.adopted", "agent.adopted", swarm=swarm)
    assert client.call("agent.get", agent=one["id"])["liveness"] == "alive"
    (home.journal / "gate").touch()
    swarms.wait(client, "swarm.completed", swarm=swarm)
    account = swarms.check(home)
    assert account.count("lost") == 0
    assert len(executions(home.journal)) == 2
