"""Which runs are watched, what a breach does to the agent, and what it makes of the ending."""

import os
import signal
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from dashd.domain.attempt import Ending
from dashd.jail import processes
from dashd.jail.holder_link import HolderGone
from dashd.jail.view import Bounds as Allowed
from dashd.jail.watchdog import Breach, Watchdog
from dashd.runtime.bounds import Bounds
from dashd.runtime.jails import Asked

BREACH = Breach("memory", "memory 64 MiB exceeded (65 MiB in 1 process); --memory-mb raises it")
FAILED = Ending("failed", "ended by signal 9")


class Link:
    """A holder's end: what it was asked. The agent is this process, which nobody may signal."""

    def __init__(self, pid=None) -> None:
        pid = os.getpid() if pid is None else pid
        self.adopted = SimpleNamespace(pid=pid, start_time=processes.start_time(pid) or 0)
        self.stops: list[float] = []
        self.breaches: list[str] = []
        self.gone = False

    async def breach(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.breaches.append(text)

    async def stop(self, grace_s: float) -> None:
        await trio.lowlevel.checkpoint()
        self.stops.append(grace_s)
        if self.gone:
            raise HolderGone


@pytest.fixture
def signals(monkeypatch) -> list[tuple[int, ...]]:
    sent: list[tuple[int, ...]] = []
    monkeypatch.setattr(processes, "send_signal", lambda *what: sent.append(what))
    monkeypatch.setattr(processes, "end_tree", lambda root: sent.append((root,)))
    return sent


class Seen(Watchdog):
    """Says who is watched, and looks at nothing."""

    def __init__(self) -> None:
        super().__init__(lambda: 1.0)
        self.guards = self._guards


@pytest.fixture
def dog() -> Seen:
    return Seen()


def _bounds(dog, tmp_path, *, required=True) -> Bounds:
    asked = Asked(required=required, cwd=str(tmp_path), bounds=Allowed(disk_bytes=5, tmp_bytes=6))
    return Bounds(dog, asked, tmp_path / "launch")


@pytest.mark.parametrize(
    ("required", "grade", "quotas"),
    [
        (True, "B", [("disk", 5)]),
        (True, "C", [("disk", 5), ("temporary files", 6)]),
        (True, None, [("disk", 5), ("temporary files", 6)]),
        (True, "0", None),
        (False, "B", None),
    ],
)
async def test_who_has_a_jail_is_watched(dog, tmp_path, signals, nursery, required, grade, quotas) -> None:
    bounds = _bounds(dog, tmp_path, required=required)
    nursery.start_soon(bounds.keep, Link(), grade)
    await trio.testing.wait_all_tasks_blocked()
    found = [[(each.bound, each.bytes_max) for each in guard.quotas] for guard in dog.guards]
    assert found == ([] if quotas is None else [quotas])
    assert {guard.holder for guard in dog.guards} == (set() if quotas is None else {os.getppid()})
    nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()


async def test_nobody_is_watched_whose_process_has_gone(dog, tmp_path) -> None:
    link = Link(4_194_305)
    await _bounds(dog, tmp_path).keep(link, "B")
    assert (dog.guards, link.stops) == (set(), [])


@pytest.mark.parametrize(("gone", "grade"), [(False, "B"), (True, "B"), (False, "C")])
async def test_a_breach_ends_the_jail_at_once_and_explains_the_end(
    dog, tmp_path, signals, nursery, gone, grade
) -> None:
    bounds, link = _bounds(dog, tmp_path), Link()
    link.gone = gone
    await bounds.start(grade)
    nursery.start_soon(bounds.keep, link, None)
    await trio.testing.wait_all_tasks_blocked()
    assert bounds.explained(FAILED, None) == FAILED
    (guard,) = dog.guards
    guard.fail(BREACH)
    guard.fail(Breach("disk", "a later one"))
    await trio.testing.wait_all_tasks_blocked()
    by_hand = [(os.getppid(),)] if grade == "C" else []
    assert signals == [(os.getpid(), link.adopted.start_time, signal.SIGKILL), *by_hand]
    assert (link.stops, dog.guards) == ([0], set())
    explained = bounds.explained(FAILED, None)
    assert (explained.state, explained.reason, explained.retry) == ("failed", BREACH.text, False)
    assert bounds.explained(Ending("succeeded", "exit code 0"), None).retry is True


async def test_an_end_that_was_cut_short_goes_on_with_the_next_link(dog, tmp_path, signals, nursery) -> None:
    bounds = _bounds(dog, tmp_path)
    nursery.start_soon(bounds.keep, Link(), "B")
    await trio.testing.wait_all_tasks_blocked()
    (guard,) = dog.guards
    guard.fail(BREACH)
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        link = Link()
        await bounds.keep(link, "B")
    assert (link.stops, bounds.explained(FAILED, None).reason) == ([0], BREACH.text)


def test_what_a_killed_daemon_saw_is_read_from_the_record(dog, tmp_path) -> None:
    bounds = _bounds(dog, tmp_path)
    explained = bounds.explained(FAILED, BREACH.text)
    assert (explained.reason, explained.retry) == (BREACH.text, False)
    assert bounds.explained(Ending("succeeded", "exit code 0"), BREACH.text).reason == "exit code 0"


@pytest.mark.parametrize(
    ("ended", "over"),
    [
        ({"exit_signal": signal.SIGXCPU, "cpu_ms": 1_900}, True),
        ({"exit_code": 128 + signal.SIGXCPU}, True),  # a shell says so of what it ran
        ({"exit_signal": signal.SIGKILL, "cpu_ms": 3_001}, True),
        ({"exit_code": 128 + signal.SIGKILL, "cpu_ms": 3_001}, True),
        ({"exit_signal": signal.SIGKILL, "cpu_ms": 1_999}, False),
        ({"exit_signal": signal.SIGKILL}, False),
        ({"exit_signal": signal.SIGTERM, "cpu_ms": 3_001}, False),
        ({"exit_code": 1, "cpu_ms": 3_001}, False),
    ],
)
def test_processor_time_that_the_kernel_held_is_said_and_not_tried_again(dog, tmp_path, ended, over) -> None:
    asked = Asked(required=True, cwd=str(tmp_path), bounds=Allowed(cpu_s=2))
    bounds, ending = Bounds(dog, asked, tmp_path / "launch"), Ending("failed", "how it ended", **ended)
    explained = bounds.explained(ending, None)
    assert (explained.retry, "--cpu-s raises it" in explained.reason) == (not over, over)
    assert bounds.explained(ending, None, stopped=True) == ending
    unbounded = Asked(required=True, cwd=str(tmp_path), bounds=Allowed())
    assert Bounds(dog, unbounded, tmp_path / "launch").explained(ending, None) == ending
