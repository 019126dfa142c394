"""An agent's ask, from the rows to its answer, on a clock that jumps."""

import pytest
import trio
import trio.testing

from dashd.domain.asking import Ask
from dashd.domain.gates import Gate
from dashd.runtime import approvals as waiting
from dashd.runtime import asks
from dashd.runtime.asks import Asks
from dashd.store import approvals, attempts, decisions, gates
from dashd.store.transaction import Tx
from tests.fakes.scene import SWARM

RULE = Gate("rm", "command", "rm *", 0, "ask", "operator", False, 3_600.0, "deny")
AGENT = f"{SWARM}-001"
REMOVE = Ask("command", "rm a", "1")


@pytest.fixture
def asked(bed, nursery):
    """Asks in the background: the list that the answer is put into."""

    def start(claim, ask):
        found = []

        async def go():
            found.append(await Asks(bed.world).answer(claim, ask))

        nursery.start_soon(go)
        return found

    return start


@pytest.fixture
def claim(bed):
    """One attempt that runs, and a gate."""
    bed.scene.swarm("a")
    made = bed.claim()
    bed.scene.start(made)
    bed.store.do(lambda tx: gates.put(tx, RULE))
    return made


def decide(bed, number, decision, note=""):
    def operation(tx: Tx) -> None:
        decisions.decide(tx, approvals.get(tx.db, f"ap{number}"), decision, "operator:x", note)

    bed.store.do(operation)


def active(bed, claim) -> bool:
    return attempts.get(bed.store.db, claim.attempt_id).active_since_ms is not None


async def test_what_no_rule_is_about_is_answered_from_a_read(bed, autojump_clock, claim):
    before = bed.scene.events()
    answer = await Asks(bed.world).answer(claim, Ask("command", "ls", "1"))
    assert (answer.decision, answer.text) == ("allow", "")
    outside = await Asks(bed.world).answer(claim, Ask("path", "../x", "2"))
    assert outside.text == "Scope violation: attempted access to ../x; allowed scope: ."
    assert bed.scene.events() == before


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        ("allow", "approval ap1 was given: fine"),
        ("deny", "not allowed: run `rm a`; approval ap1 was refused: fine"),
    ],
)
async def test_it_hears_the_decision_with_its_note(bed, autojump_clock, claim, asked, decision, text):
    found = asked(claim, REMOVE)
    await trio.testing.wait_all_tasks_blocked()
    (row,) = approvals.open_of_agent(bed.store.db, AGENT)
    assert (row.what, row.asked_by, row.swarm_id, found) == ("run `rm a`", AGENT, SWARM, [])
    decide(bed, 1, decision, "fine")
    await trio.testing.wait_all_tasks_blocked()
    assert [(each.decision, each.text) for each in found] == [(decision, text)]


async def test_its_time_does_not_run_while_it_waits(bed, autojump_clock, claim, asked):
    assert active(bed, claim)
    asked(claim, REMOVE)
    asked(claim, Ask("command", "rm b", "2"))
    await trio.testing.wait_all_tasks_blocked()
    assert not active(bed, claim)
    decide(bed, 1, "allow")
    assert not active(bed, claim), "another request still holds it"
    bed.scene.paused(claim)
    decide(bed, 2, "deny")
    assert not active(bed, claim), "it is paused"
    bed.scene.paused(claim, paused=False)
    assert active(bed, claim)


async def test_asked_again_it_is_the_same_request_and_keeps_its_terms(bed, autojump_clock, claim, asked):
    with trio.move_on_after(5):
        await Asks(bed.world).answer(claim, REMOVE)
    bed.store.do(lambda tx: gates.remove(tx, "rm"))
    found = asked(claim, REMOVE)
    await trio.testing.wait_all_tasks_blocked()
    assert [row.id for row in approvals.open_of_agent(bed.store.db, AGENT)] == ["ap1"]
    decide(bed, 1, "deny")
    await trio.testing.wait_all_tasks_blocked()
    assert found[0].decision == "deny"
    assert (await Asks(bed.world).answer(claim, REMOVE)).decision == "deny"
    assert (await Asks(bed.world).answer(claim, Ask("command", "rm a", "2"))).decision == "allow"


@pytest.mark.parametrize("other", [Ask("command", "rm -rf b", "1"), Ask("path", "rm a", "1")])
async def test_a_yes_is_for_what_was_asked_and_not_for_its_name(bed, autojump_clock, claim, asked, other):
    """A program may take the names of its calls from its model, and a model may use one twice."""
    bed.store.do(
        lambda tx: gates.put(tx, Gate("w", "path", "**", 0, "ask", "operator", False, 3_600.0, "deny"))
    )
    found = asked(claim, REMOVE)
    await trio.testing.wait_all_tasks_blocked()
    decide(bed, 1, "allow")
    await trio.testing.wait_all_tasks_blocked()
    assert [each.decision for each in found] == ["allow"]
    later = asked(claim, other)
    await trio.testing.wait_all_tasks_blocked()
    assert (later, [row.what for row in approvals.open_of_agent(bed.store.db, AGENT)]) == ([], [other.what])
    decide(bed, 2, "deny")
    await trio.testing.wait_all_tasks_blocked()
    assert later[0].decision == "deny"
    assert (await Asks(bed.world).answer(claim, REMOVE)).decision == "allow", "the answer to the first stands"


async def test_a_deadline_is_an_answer(bed, autojump_clock, claim, nursery):
    nursery.start_soon(waiting.run, bed.world)
    answer = await Asks(bed.world).answer(claim, REMOVE)
    assert answer.decision == "deny"
    assert answer.text.endswith("approval ap1 was refused: nobody decided in time")


async def test_the_end_of_its_attempt_is_an_answer_and_nothing_is_asked_after_it(
    bed, autojump_clock, claim, asked
):
    found = asked(claim, REMOVE)
    await trio.testing.wait_all_tasks_blocked()
    bed.scene.end(claim, "failed")
    await trio.testing.wait_all_tasks_blocked()
    assert found[0].decision == "deny"
    late = await Asks(bed.world).answer(claim, Ask("command", "rm b", "2"))
    assert (late.decision, late.text) == ("deny", "this attempt is over")
    assert approvals.open_of_agent(bed.store.db, AGENT) == []


async def test_one_that_is_told_to_stop_asks_nobody(bed, autojump_clock, claim):
    bed.store.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "kill"))
    with trio.fail_after(60):
        assert (await Asks(bed.world).answer(claim, REMOVE)).text == "this attempt is over"


async def test_the_inbox_is_not_flooded(bed, autojump_clock, claim, asked):
    for number in range(asks.OPEN_MAX):
        asked(claim, Ask("command", f"rm {number}", str(number)))
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(60):
        more = await Asks(bed.world).answer(claim, Ask("command", "rm x", "x"))
    assert more.text == f"{asks.OPEN_MAX} of your requests wait for an approval already"
    assert len(approvals.open_of_agent(bed.store.db, AGENT)) == asks.OPEN_MAX
