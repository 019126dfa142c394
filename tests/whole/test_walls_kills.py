"""SIGKILL of each process around a jailed agent: nothing of the agent is left, and its task goes on."""

import os
import select
import signal
import time

import pytest

from dashd.jail import processes
from tests.jail import inside
from tests.whole.daemons import DaemonProcess

pytestmark = [pytest.mark.slow, pytest.mark.crash]
WAIT_S_MAX = 30.0
SCRIPT = "setsid sh -c 'while :; do sleep 0.05; done' & echo up; while :; do sleep 0.05; done"


@pytest.fixture
def dashd(tmp_path):
    inside.of_grade("B")
    (tmp_path / "dash").mkdir()
    (tmp_path / "work").mkdir()
    made = DaemonProcess(tmp_path / "dash", DASH_JAIL_REQUIRED="true")
    try:
        made.start()
        yield made
    finally:
        made.end()


class Tree:
    """The processes of one attempt: holder, bwrap, the namespace's first, the agent, and what it started."""

    def __init__(self, dashd: DaemonProcess, agent: str) -> None:
        self.bwrap = dashd.call("agent.get", agent=agent)["pid"]
        self.holder = int(processes.stat_fields(self.bwrap)[1])
        (self.first,) = processes.children(self.bwrap)
        give_up_at = time.monotonic() + WAIT_S_MAX
        while len(self._inside()) < 3 and time.monotonic() < give_up_at:
            select.select([], [], [], 0.02)
        self.agent = processes.children(self.first)[0]
        self.all = {**processes.descendants(self.holder), self.holder: processes.start_time(self.holder)}

    def _inside(self) -> dict[int, int]:
        return processes.descendants(self.first)

    def left(self, *, but: tuple[int, ...] = ()) -> list[int]:
        """Who of them still runs."""
        return [pid for pid, started in self.all.items() if pid not in but and _runs(pid, started)]

    def wait_gone(self, *, but: tuple[int, ...] = ()) -> float:
        """How long it took, in seconds, until nobody was left."""
        began = time.monotonic()
        while (left := self.left(but=but)) and time.monotonic() < began + WAIT_S_MAX:
            select.select([], [], [], 0.005)
        assert not left, left
        return time.monotonic() - began


def _runs(pid: int, started: int | None) -> bool:
    """A zombie has ended; it waits for somebody to hear of it."""
    try:
        fields = processes.stat_fields(pid)
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] != "Z"


def started(dashd: DaemonProcess, tmp_path, **params) -> tuple[str, Tree]:
    """A swarm of one whose agent is at work: (its id, its processes)."""
    made = dashd.call(
        "swarm.create", task="t", argv=["sh", "-c", SCRIPT], cwd=str(tmp_path / "work"), **params
    )
    found = dashd.call(
        "event.wait", since=made["cursor"], swarm=made["id"], kinds=["task.started"], timeout_s=WAIT_S_MAX
    )
    assert not found["timed_out"], dashd.log()
    return made["id"], Tree(dashd, f"{made['id']}-001")


@pytest.mark.parametrize("victim", ["holder", "bwrap", "first", "agent"])
def test_whoever_is_killed_nothing_of_the_agent_is_left(victim, dashd, tmp_path):
    swarm, tree = started(dashd, tmp_path, limits={"retries": 0})
    os.kill(getattr(tree, victim), signal.SIGKILL)
    tree.wait_gone()
    cursor = dashd.call("swarm.get", swarm=swarm)["cursor"]
    state = dashd.call("task.list", swarm=swarm)["items"][0]["state"]
    if victim == "holder":  # a lost attempt is tried again, whatever the retries
        assert state in ("running", "ready", "retrying")
        dashd.call("swarm.destroy", swarm=swarm)
    assert dashd.call("daemon.ping")
    assert cursor


def test_a_killed_dashd_leaves_agents_to_their_leases(dashd, tmp_path):
    _, tree = started(dashd, tmp_path, lease_s=0)
    dashd.kill()
    tree.wait_gone()


def test_a_killed_dashd_comes_back_to_a_jail_that_lives(dashd, tmp_path):
    swarm, tree = started(dashd, tmp_path)
    dashd.kill()
    dashd.start()
    assert dashd.call("daemon.status")["adopted"] == 1
    assert {tree.holder, tree.bwrap, tree.first, tree.agent} <= set(tree.left())
    dashd.call("agent.kill", agent=f"{swarm}-001")
    tree.wait_gone()


def test_pause_stops_everything_inside(dashd, tmp_path):
    swarm, tree = started(dashd, tmp_path)
    since = dashd.call("swarm.get", swarm=swarm)["cursor"]
    dashd.call("agent.pause", agent=f"{swarm}-001")
    dashd.call("event.wait", since=since, swarm=swarm, kinds=["agent.paused"], timeout_s=WAIT_S_MAX)
    states = {processes.stat_fields(pid)[0] for pid in tree.left(but=(tree.holder,)) if pid != tree.bwrap}
    assert states <= {"T", "t"}
    dashd.call("agent.resume", agent=f"{swarm}-001")
    dashd.call("agent.kill", agent=f"{swarm}-001")
    tree.wait_gone()
