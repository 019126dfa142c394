"""What an agent waits for, one test a reason; the nearest cause wins."""

import dataclasses

import pytest

from dashd.domain import agent, waiting

IDLE = waiting.Facts(
    agent_state="idle",
    wanted="run",
    swarm_state="active",
    stopping=False,
    task=None,
    ready=0,
    blocked_on=(),
    retry_task=None,
    working=0,
    agents_max=2,
)
RUNNING = dataclasses.replace(IDLE, agent_state="running", task="s-t1")


def explain(facts: waiting.Facts, **changes: object) -> tuple[str, tuple[str, ...]]:
    found = waiting.explain(dataclasses.replace(facts, **changes))
    assert found.text
    return found.waits_for, found.on


@pytest.mark.parametrize("state", sorted(agent.MACHINE.ended))
def test_nothing_after_the_end(state: str) -> None:
    assert explain(RUNNING, agent_state=state, ready=3) == ("nothing", ("s-t1",))


def test_after_a_kill_the_cause_is_told() -> None:
    found = waiting.explain(dataclasses.replace(RUNNING, agent_state="killed", cause="ended by budget s"))
    assert found.text == "it has ended: killed, ended by budget s"


def test_a_task_that_no_place_takes_says_why_unless_no_slot_is_free() -> None:
    assert explain(IDLE, ready=2, unplaced="no gateway takes one: g1 is dead") == ("place", ())
    assert explain(IDLE, ready=2, unplaced="x", working=2) == ("slot", ())
    assert explain(IDLE, unplaced="x")[0] == "work"


def test_one_that_goes_on_with_anothers_session_waits_for_its_end() -> None:
    follows = {"follows": "s-001", "follows_text": "it goes on with it"}
    assert explain(IDLE, **follows) == ("predecessor", ("s-001",))
    assert explain(IDLE, ready=1, **follows)[0] == "start", "there is other work that it may take"
    assert explain(IDLE, swarm_state="paused", **follows)[0] == "pause"


def test_nothing_while_it_works() -> None:
    assert explain(RUNNING, ready=5, working=2) == ("nothing", ("s-t1",))
    assert explain(RUNNING, unseen=True) == ("connection", ("s-t1",))
    assert explain(RUNNING, unseen=True, wanted="pause")[0] == "pause"


@pytest.mark.parametrize("how", [{"stopping": True}, {"wanted": "kill"}])
def test_its_end_once_told_to_stop(how: dict[str, object]) -> None:
    assert explain(RUNNING, agent_state="paused", **how) == ("end", ("s-t1",))


@pytest.mark.parametrize("how", [{"agent_state": "paused"}, {"wanted": "pause"}, {"swarm_state": "paused"}])
def test_a_pause_in_place(how: dict[str, object]) -> None:
    assert explain(RUNNING, **how) == ("pause", ("s-t1",))


def test_the_start_of_its_program() -> None:
    assert explain(RUNNING, agent_state="spawning") == ("start", ("s-t1",))


@pytest.mark.parametrize("how", [{"wanted": "pause"}, {"swarm_state": "paused"}])
def test_a_pause_before_anything_else_when_idle(how: dict[str, object]) -> None:
    assert explain(IDLE, ready=1, retry_task="s-t2", **how) == ("pause", ())


def test_a_slot_where_all_are_taken() -> None:
    assert explain(IDLE, ready=1, working=2) == ("slot", ())
    assert "2 slots" in waiting.explain(dataclasses.replace(IDLE, ready=1, working=2)).text


def test_its_start_where_a_slot_is_free() -> None:
    assert explain(IDLE, ready=1, working=1) == ("start", ())


def test_a_retry() -> None:
    assert explain(IDLE, retry_task="s-t2", blocked_on=("s-t2",)) == ("retry", ("s-t2",))


def test_a_dependency() -> None:
    assert explain(IDLE, blocked_on=("s-t1", "s-t2"), working=2) == ("dependency", ("s-t1", "s-t2"))


def test_work() -> None:
    assert explain(IDLE) == ("work", ())


def test_a_yes_is_waited_for_before_a_pause_and_not_once_it_was_told_to_stop() -> None:
    asks = {"approval": "ap3", "asks": "run `rm a`"}
    assert explain(RUNNING, **asks) == ("approval", ("ap3",))
    assert (
        waiting.explain(dataclasses.replace(RUNNING, **asks)).text == "it waits for approval ap3: run `rm a`"
    )
    for paused in ({"wanted": "pause"}, {"agent_state": "paused"}, {"swarm_state": "paused"}):
        found = waiting.explain(dataclasses.replace(RUNNING, **asks, **paused))
        assert found.waits_for == "approval"
        assert found.text.endswith("; it is paused as well")
    assert explain(RUNNING, **asks, stopping=True)[0] == "end"


def test_a_place_for_tasks_that_are_ready() -> None:
    found = waiting.explain(dataclasses.replace(IDLE, ready=2, unplaced="its gateway is starting"))
    assert found == waiting.Waiting("place", "2 ready task(s); its gateway is starting")
    assert explain(IDLE, unplaced="its gateway is starting") == ("work", ())
