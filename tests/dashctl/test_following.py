"""Reading by cursor: nothing missed and nothing twice, whatever dashd does meanwhile (invariant 3)."""

import threading
import time

import pytest

from dashctl import calling, following
from dashd import client_blocking
from dashd.wire import errors
from dashd.wire.methods import event
from tests.dashctl import answers
from tests.fakes import daemon as fake


@pytest.fixture
def dash(dashd):
    dash = calling.Dash({"DASH_SOCKET": dashd.path})
    yield dash
    dash.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(following, "_PAUSES_S", (0.005,))


def log_of(dashd, seqs: range) -> None:
    """dashd has these events and gives two at a time."""

    def wait(params: event.WaitEvents) -> event.Events:
        found = [fake.an_event(seq) for seq in seqs if seq > params.since][:2]
        return (
            answers.events(*found)
            if found
            else event.Events(events=[], cursor=params.since, more=False, timed_out=True)
        )

    dashd.on("event.wait", wait)


def take(found, count: int) -> list[int]:
    seqs: list[int] = []
    while len(seqs) < count:
        seqs += [each["seq"] for each in next(found)]
    return seqs


def test_batches_go_on_from_the_cursor(dashd, dash, output):
    log_of(dashd, range(1, 8))
    assert take(following.batches(dash, output(), since=2), 5) == [3, 4, 5, 6, 7]


def test_filters_are_handed_on(dashd, dash, output):
    log_of(dashd, range(1, 3))
    next(following.batches(dash, output(), since=0, swarm="s", kinds=("task.*",), attention=True))
    asked = dashd.asked("event.wait")[0]
    assert (asked["swarm"], asked["kinds"], asked["attention"]) == ("s", ["task.*"], True)


def test_a_restart_is_said_and_nothing_is_missed(dashd, dash, output, quick):
    log_of(dashd, range(1, 8))
    out = output()
    found = following.batches(dash, out, since=0)
    first = take(found, 2)
    dashd.die()
    back = threading.Timer(0.03, dashd.live)
    back.start()
    assert first + take(found, 5) == [1, 2, 3, 4, 5, 6, 7]
    back.join()
    assert "dashd went away" in out._stderr.getvalue()
    assert "dashd is back" in out._stderr.getvalue()


def test_a_daemon_that_says_it_stops_is_waited_for(dashd, dash, output, quick):
    told = []

    def wait(params):
        if not told:
            told.append(params)
            return errors.ShuttingDown()
        return answers.events(fake.an_event(3))

    dashd.on("event.wait", wait)
    out = output()
    assert take(following.batches(dash, out, since=0), 1) == [3]
    assert "dashd is back" in out._stderr.getvalue()


def test_a_daemon_that_stays_away_is_given_up_with_the_way_back(dashd, dash, output, quick, monkeypatch):
    monkeypatch.setattr(following, "AWAY_S_MAX", 0.02)
    dash.call("daemon.ping")
    dashd.die()
    with pytest.raises(client_blocking.Unreachable) as lost:
        next(following.batches(dash, output(), since=0, come_back="dashctl events"))
    assert lost.value.hint == "dashctl up then dashctl events"


def test_other_errors_are_not_waited_for(dashd, dash, output):
    dashd.on("event.wait", errors.InvalidParams("no such kind"))
    with pytest.raises(client_blocking.Refused, match="no such kind"):
        next(following.batches(dash, output(), since=0))


def test_until_ends_with_the_event_or_the_deadline(dashd, dash, output):
    log_of(dashd, range(1, 5))

    def reached(seq: int, within_s: float) -> bool:
        return following.until(
            dash,
            output(),
            since=0,
            kinds=(),
            done=lambda event: event["seq"] == seq,
            deadline=time.monotonic() + within_s,
        )

    assert reached(4, 5.0)
    assert not reached(9, 0.02)
