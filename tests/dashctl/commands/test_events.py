"""`dashctl events`: the latest, those after a cursor, and those that come."""

import json
import threading

import pytest

from dashd.wire import errors
from dashd.wire.methods import event
from tests.dashctl import answers
from tests.fakes import daemon as fake

LAST = 3_000


@pytest.fixture
def log(dashd):
    """3,000 events, of which every hundredth is a task that died."""

    def read(params: event.ListEvents) -> event.Events:
        found = [fake.an_event(seq, kind(seq)) for seq in range(params.since + 1, LAST + 1)]
        wanted = [each for each in found if not params.kinds or each.kind in params.kinds]
        page = wanted[: params.limit]
        return event.Events(events=page, cursor=page[-1].seq if page else LAST, more=len(wanted) > len(page))

    dashd.on("event.list", read)
    dashd.on("daemon.status", answers.status(last_seq=LAST))
    return dashd


def kind(seq: int) -> str:
    return "task.dead" if seq % 100 == 0 else "task.started"


def seqs(out: str) -> list[int]:
    return [int(line.split()[0]) for line in out.splitlines()]


def test_the_latest_by_default(log, ctl):
    assert seqs(ctl("events").out) == list(range(LAST - 19, LAST + 1))
    assert seqs(ctl("events", "-n", "3").out) == [2998, 2999, 3000]
    assert seqs(ctl("events", "-n", "0").out) == []


def test_the_latest_of_a_rare_kind_are_looked_for_further_back(log, ctl):
    assert seqs(ctl("events", "-n", "4", "--kind", "task.dead").out) == [2700, 2800, 2900, 3000]
    assert len(seqs(ctl("events", "-n", "99", "--kind", "task.dead").out)) == 30


def test_everything_after_a_cursor(log, ctl):
    assert seqs(ctl("events", "--since", "500").out) == list(range(501, LAST + 1))
    assert seqs(ctl("events", "--since", "500", "-n", "2").out) == [501, 502]
    assert seqs(ctl("events", "--since", str(LAST)).out) == []


def test_filters_are_handed_on(log, ctl):
    ctl("events", "--swarm", "s", "--kind", "task.*", "--attention", "--since", "0")
    asked = log.asked("event.list")[0]
    assert (asked["swarm"], asked["kinds"], asked["attention"]) == ("s", ["task.*"], True)


def test_an_event_is_a_line_and_in_json_a_line_too(dashd, ctl):
    found = fake.an_event(5, "task.dead", agent="a", task="t", data={"cause": "exit\n1\x1b[2J", "n": [1]})
    dashd.on("event.list", answers.events(found))
    assert ctl("events", "--since", "0").out.split()[3:] == [
        "task.dead",
        "t",
        "a",
        'cause="exit',
        '1"',
        "n=[1]",
    ]
    line = json.loads(ctl("events", "--since", "0", "--json").out)
    assert (line["seq"], line["data"]["cause"]) == (5, "exit\n1\x1b[2J")


def test_following_goes_on_after_the_last_one_shown(log, ctl):
    came = threading.Event()

    def wait(params: event.WaitEvents) -> object:
        if params.since == LAST:
            came.set()
            return answers.events(fake.an_event(LAST + 1, "swarm.completed"))
        # Without this the reader would wait for ever.
        return errors.InvalidParams("the test is over")

    log.on("event.wait", wait)
    ran = ctl("events", "--follow", "-n", "2")
    assert came.is_set()
    assert seqs(ran.out) == [2999, 3000, 3001]
    assert "the test is over" in ran.err
