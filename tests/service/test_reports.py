"""`swarm.report`: counts that add up, partial called partial, and the way on."""

import pytest

from dashd.store import budgets, holds, thresholds
from dashd.store.holds import HoldRow, Settlement
from dashd.wire import errors
from tests.fakes.scene import SWARM


async def test_a_complete_report(call, scene, clock) -> None:
    scene.swarm("a", "b", agents_made=1)
    for claim in (scene.claim()[0],):
        scene.end(claim, result="done", cpu_ms=1_500)
    clock.advance(2_000)
    scene.end(scene.claim()[0], result="too", cpu_ms=500)
    got = await call("swarm.report", swarm=SWARM)
    assert (got.state, got.outcome, got.final) == ("completed", "complete", True)
    assert got.summary == "2 of 2 tasks completed in 2.0 s (completed, complete)"
    assert got.tasks == {"total": 2, "completed": 2}
    assert got.agents == {"total": 1, "completed": 1}
    assert got.attempts == {"total": 2, "retried": 0, "lost": 0, "late": 0, "cut": 0}
    assert (got.cpu_s, got.duration_s, got.left_out) == (2.0, 2.0, 0)
    assert [(result.item, result.result) for result in got.results] == [("a", "done"), ("b", "too")]
    assert (got.failures, got.follow_ups) == ([], [])


async def test_a_partial_report_says_what_failed_why_and_what_to_do(call, core, scene, clock) -> None:
    scene.swarm("a", "b", "c", agents_made=1, retries=1)
    scene.run("failed")
    clock.advance(60_000)
    (last,) = scene.run("failed")
    core.spools.prints(last.attempt_id, b"Traceback: no\n", stream=2)
    scene.run("lost")
    clock.advance(60_000)
    scene.run("succeeded", "succeeded")
    got = await call("swarm.report", swarm=SWARM)
    assert (got.outcome, got.final) == ("partial", True)
    assert got.summary.startswith("2 of 3 tasks completed, 1 dead in ")
    assert got.attempts == {"total": 5, "retried": 2, "lost": 1, "late": 0, "cut": 0}
    (failure,) = got.failures
    assert (failure.task, failure.state, failure.attempts, failure.item) == (f"{SWARM}-t1", "dead", 2, "a")
    assert failure.cause == "failed it (attempt 2 of 2)"
    assert failure.last_lines == "Traceback: no\n"
    assert got.follow_ups == ["swarm.create again with only the 1 item(s) that did not complete: a"]


async def test_last_lines_are_for_people_and_few(call, core, scene) -> None:
    scene.swarm("a", retries=0)
    (last,) = scene.run("failed")
    told = [f'@dash {{"note": "step\\n {number}"}}\n' for number in range(14)]
    said = ['@dash {"progress": [1, 2]}\n', "@dash {no\n", "@dash [1]\n", "same\n", "same\n", "no newline"]
    core.spools.prints(last.attempt_id, "".join([*told, *said]).encode(), stream=1)
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert failure.cause
    lines = failure.last_lines.splitlines()
    assert lines == [*(f"note: step {number}" for number in range(4, 14)), "same", "no newline"]


async def test_a_report_that_nests_without_end_is_none(call, core, scene) -> None:
    scene.swarm("a", retries=0)
    (last,) = scene.run("failed")
    core.spools.prints(last.attempt_id, b"@dash " + b"[" * 980 + b"\nsaid\n", stream=1)
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert failure.last_lines == "said\n"


async def test_of_a_program_that_speaks_a_protocol_the_words_alone_are_shown(call, core, scene) -> None:
    scene.swarm("a", retries=0)
    (last,) = scene.run("failed")
    core.drivers.message = True
    core.spools.prints(last.attempt_id, b'{"type":"agent_settled"}\n', stream=1)
    core.spools.prints(last.attempt_id, b"no model\n", stream=2)
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert failure.last_lines == "no model\n"


async def test_a_killed_agent_s_task_tells_the_cause(call, scene) -> None:
    scene.swarm("a", retries=0)
    scene.run("failed")
    scene.do(lambda tx: tx.execute("UPDATE task SET cause = NULL"))
    scene.do(lambda tx: tx.execute("UPDATE agent SET state = 'killed', cause = 'ended by budget x'"))
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert failure.cause == "ended by budget x"


async def test_last_lines_that_were_removed_are_called_so(call, core, scene) -> None:
    scene.swarm("a", retries=0)
    (last,) = scene.run("failed")
    core.spools.prints(last.attempt_id, b"Traceback: no\n", stream=2)
    await call("swarm.destroy", swarm=SWARM)
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert failure.last_lines == "(what it printed has been removed)"


async def test_an_interim_report_says_that_it_is_none_of_the_end(call, scene) -> None:
    scene.swarm("a", "b", "c", retries=0)
    scene.run("failed", "succeeded")
    got = await call("swarm.report", swarm=SWARM)
    assert (got.final, got.outcome, got.state) == (False, None, "active")
    assert got.summary.startswith("1 of 3 tasks completed, 1 dead, 1 still open in 0.0 s (active)")
    assert got.follow_ups == [
        f"event.wait {{swarm: {SWARM}, attention: true}} until it has ended",
        f"task.retry {SWARM}-t1",
    ]


@pytest.mark.parametrize(("detail", "shown", "characters"), [("concise", 20, 400), ("full", 200, 4_000)])
async def test_what_does_not_fit_is_counted(call, scene, detail, shown, characters) -> None:
    scene.swarm(*["y" * 600] * 210, agents_made=1)
    (claim,) = scene.claim()
    scene.end(claim, result="x" * 4_000 + "THE END")
    scene.do(lambda tx: tx.execute("UPDATE task SET state = 'completed' WHERE number BETWEEN 2 AND 205"))
    got = await call("swarm.report", swarm=SWARM, detail=detail)
    assert len(got.results) == shown
    assert got.left_out == 205 - shown
    assert got.tasks == {"total": 210, "completed": 205, "ready": 5}
    first = got.results[0]
    assert (len(first.result), first.truncated) == (characters, True)
    assert first.result.endswith("THE END")
    assert len(first.item) == 500


async def test_follow_ups_count_also_what_is_not_shown(call, scene) -> None:
    scene.swarm(*map(str, range(50)), retries=0)
    scene.run("succeeded")
    await call("swarm.destroy", swarm=SWARM)
    got = await call("swarm.report", swarm=SWARM)
    assert (len(got.failures), got.left_out) == (20, 29)
    assert got.follow_ups == [
        "swarm.create again with only the 49 item(s) that did not complete: 1, 2, 3, 4, 5, …"
    ]


async def test_what_was_cancelled_before_it_ran_has_no_last_lines(call, scene) -> None:
    scene.swarm("a")
    await call("swarm.destroy", swarm=SWARM)
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert (failure.agent, failure.attempts, failure.last_lines) == (None, 0, "")


async def test_a_damaged_output_file_does_not_withhold_the_report(call, core, scene, monkeypatch) -> None:
    scene.swarm("a", retries=0)
    scene.run("failed")

    async def damaged(*_arguments) -> None:
        raise errors.InvalidParams("its file is damaged")

    monkeypatch.setattr(core.spools, "read", damaged)
    (failure,) = (await call("swarm.report", swarm=SWARM)).failures
    assert failure.last_lines == "(its file is damaged)"


async def test_an_open_report_says_where_the_money_is_going(call, scene) -> None:
    scene.swarm("a", "b")
    assert (await call("swarm.report", swarm=SWARM)).money == ""

    def operation(tx) -> None:
        budgets.set_limits(tx, SWARM, 1_000_000_000, None)
        budgets.settle(
            tx, SWARM, held_nusd=0, held_tokens=0, cost_nusd=1_000_000_000, tokens=1, confirmed=True
        )
        thresholds.look(tx, SWARM)

    scene.do(operation)
    got = await call("swarm.report", swarm=SWARM)
    assert got.money == "$1.00 of $1.00 spent; nothing is left of $1.00"
    assert any(each.startswith(f"budget.extend {SWARM}") for each in got.follow_ups)
    assert any("finish partial" in each for each in got.follow_ups)
    await call("swarm.destroy", swarm=SWARM)
    assert (await call("swarm.report", swarm=SWARM)).money == "$1.00 of $1.00 spent"


async def test_a_swarm_that_its_budget_has_ended_says_so(call, scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 10**9, None))
    scene.do(lambda tx: budgets.set_actions(tx, SWARM, "none", "none", "kill"))

    def spent(tx) -> None:
        budgets.settle(
            tx, f"{SWARM}-001", held_nusd=0, held_tokens=0, cost_nusd=10**9, tokens=1, confirmed=True
        )
        thresholds.look(tx, f"{SWARM}-001")

    scene.do(spent)
    cause = f"ended by budget {SWARM}: nothing is left of $1.00"
    got = await call("swarm.report", swarm=SWARM)
    assert (got.state, got.agents["killed"], got.failures[0].cause) == ("failed", 1, cause)
    assert got.money == f"$1.00 of $1.00 spent; {cause}"
    agent = await call("agent.get", agent=f"{SWARM}-001")
    assert (agent.state, agent.cause) == ("killed", cause)
    assert agent.why.text == f"it has ended: killed, {cause}"
    assert (await call("agent.list", swarm=SWARM)).items[0].cause == cause


async def test_what_was_billed_above_its_worst_case_is_in_the_report(call, scene) -> None:
    scene.swarm("a")

    def billed(tx, held: int, cost: int, model: str) -> None:
        fields = dict.fromkeys(HoldRow.__struct_fields__) | {
            "budget_id": SWARM, "swarm_id": SWARM, "agent_id": f"{SWARM}-001", "task_id": f"{SWARM}-t1",
            "model": model, "provider": "one", "state": "open", "held_nusd": held, "held_tokens": 9,
            "price_date": "2026-11-20", "started_at_ms": 1,
        }  # fmt: skip
        holds.settle(tx, holds.insert(tx, HoldRow(**fields)), Settlement(cost, 9, "usage"))

    scene.do(lambda tx: billed(tx, 100_000_000, 100_000_000, "exact"))
    got = await call("swarm.report", swarm=SWARM)
    assert (got.overruns, got.overrun_usd) == ([], 0.0)
    assert "more than held" not in got.money
    scene.do(lambda tx: billed(tx, 100_000_000, 350_000_000, "dear"))
    scene.do(lambda tx: billed(tx, 100_000_000, 110_000_000, "dear"))
    scene.do(lambda tx: budgets.set_frozen(tx, SWARM, "dear cost more"))
    for detail in ("concise", "full"):
        got = await call("swarm.report", swarm=SWARM, detail=detail)
        assert "2 calls cost $0.26 more than held: a price is wrong" in got.money
        assert got.overrun_usd == 0.26
        first, second = got.overruns
        assert (first.call, first.budget, first.agent) == (2, SWARM, f"{SWARM}-001")
        assert (first.model, first.held_usd, first.cost_usd, first.over_usd) == ("one/dear", 0.1, 0.35, 0.25)
        assert second.over_usd == 0.01
        assert got.follow_ups.count("model.set dear with the price of its provider") == 1
        assert f"budget.history {SWARM}: see why it is frozen" in got.follow_ups
    await call("swarm.destroy", swarm=SWARM)
    assert "more than held" in (await call("swarm.report", swarm=SWARM)).money
