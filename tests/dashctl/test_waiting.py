"""Waiting for a swarm's end and for agents to be where they were told to."""

import pytest

from dashctl import calling, many, waiting
from dashd.wire.methods import event, session
from tests.dashctl import answers
from tests.fakes import daemon as fake


@pytest.fixture
def dash(dashd):
    dash = calling.Dash({"DASH_SOCKET": dashd.path})
    yield dash
    dash.close()


def test_the_end_of_a_swarm_is_waited_for_and_trouble_is_said(dashd, dash, output):
    batches = {
        5: fake.an_event(6, "task.dead", task="7k2m9q-t4", data={"cause": "exit\x07 1"}),
        6: fake.an_event(7, "swarm.completed"),
    }
    dashd.on("event.wait", lambda params: answers.events(batches[params.since]))
    out = output()
    waiting.swarm_end(dash, out, fake.ID, 5)
    assert out._stderr.getvalue() == 'task.dead  7k2m9q-t4  cause="exit\ufffd 1"\n'
    asked = dashd.asked("event.wait")
    assert [params["since"] for params in asked] == [5, 6]
    # A script is woken by nothing but what matters.
    assert set(asked[0]["kinds"]) == set(waiting.SWARM_ATTENTION)
    assert not dashd.asked("swarm.get")


def test_a_person_sees_the_count_on_a_line_that_goes_away(dashd, dash, output):
    dashd.on("event.wait", answers.events(fake.an_event(7, "swarm.destroyed")))
    out = output(80)
    waiting.swarm_end(dash, out, fake.ID, 5)
    assert out._stderr.getvalue() == "\r\x1b[K7k2m9q: 20 running\r\x1b[K"


def test_ctrl_c_says_how_to_come_back(dash, output, monkeypatch):
    def interrupted(*_: object, **__: object):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(waiting.following, "batches", interrupted)
    out = output()
    with pytest.raises(KeyboardInterrupt):
        waiting.swarm_end(dash, out, fake.ID, 5)
    assert (
        "Swarm '7k2m9q' goes on. Come back with: dashctl swarm report 7k2m9q --wait" in out._stderr.getvalue()
    )


def settled(dash, out, results, pending, wait_s: float = 5.0) -> None:
    waiting.settled(
        dash, out, results, pending, noun="agent", kinds=waiting.AGENT_ENDS, goal="killed", wait_s=wait_s
    )


def test_an_old_event_is_not_taken_for_the_new_state(dashd, dash, output):
    log = [
        fake.an_event(6, "agent.killed", agent="a"),
        fake.an_event(8, "agent.completed", agent="b"),
        fake.an_event(9, "agent.killed", agent="a"),
    ]
    dashd.on("event.wait", lambda params: answers.events(*[e for e in log if e.seq > params.since][:1]))
    out = output()
    results = many.Results(out, ["a", "b"])
    pending = [{"id": "a", "state": "running", "cursor": 7}, {"id": "b", "state": "running", "cursor": 5}]
    settled(dash, out, results, pending)
    assert [answer["state"] for answer in pending] == ["killed", "completed"]
    assert [params["since"] for params in dashd.asked("event.wait")] == [5, 6, 8]


def test_what_is_not_so_in_time_is_a_failure_that_says_what_stands(dashd, dash, output):
    dashd.on(
        "event.wait", lambda params: event.Events(events=[], cursor=params.since, more=False, timed_out=True)
    )
    out = output()
    results = many.Results(out, ["a"])
    settled(dash, out, results, [{"id": "a", "state": "running", "cursor": 5}], wait_s=0.01)
    assert results.finish(str) == 6
    assert out._stderr.getvalue() == (
        "error: 'a' is not killed after 0.01 s but running\nhint: dashctl agent why a\n"
    )


def test_nothing_to_wait_for_asks_nothing(dashd, dash, output):
    settled(dash, output(), many.Results(output(), []), [])
    assert not dashd.asked("event.wait")


def test_a_session_that_came_there_by_itself_is_not_waited_for(dashd, dash, output):
    now = session.Session(
        id="s-t1.1", swarm="s", agent="s-001", task="s-t1", driver="pi", state="closed", begun_from=None,
        head=None, opened_at="2026-11-20T10:00:00.000Z",
    )  # fmt: skip
    dashd.on("session.get", now)
    found = {"session": "s-t1.1", "state": "open", "agent": "s-001", "cursor": 3}
    waiting.session_settled(dash, output(), found, reached=("paused", "closed"), goal="paused", wait_s=9.0)
    assert found["state"] == "closed"
    assert not dashd.asked("event.wait")
