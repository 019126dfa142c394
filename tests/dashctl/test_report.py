"""The account of a swarm, for people and for pipes."""

import msgspec
import pytest

from dashctl import report
from dashd.wire.methods import budget, swarm
from tests.fakes import daemon as fake

EVIL = "bold\x1b[1m [red]x[/red]\u202e"


def a_report(**changes):
    failure = swarm.Failure(
        task="7k2m9q-t4",
        agent="7k2m9q-004",
        item="bad.py",
        state="dead",
        cause="exit code 1",
        attempts=4,
        last_lines=f"Traceback\n{EVIL}\n",
    )
    done = swarm.TaskResult(
        task="7k2m9q-t1", agent="7k2m9q-001", item="a.py", result="日本語 " * 60, truncated=True
    )
    made = fake.report(
        failures=[failure], results=[done], left_out=18, follow_ups=["task.retry 7k2m9q-t4"], **changes
    )
    return msgspec.to_builtins(made)


@pytest.mark.parametrize("columns", [0, 80, 160])
def test_it_says_what_came_of_it_what_failed_and_what_next(output, columns: int):
    out = output(columns, color="never")
    report.show(out, a_report())
    text = out._stdout.getvalue()
    for part in (
        "Swarm 7k2m9q lint: partial",
        "19 completed, 1 dead",
        "23, of them 3 retried",
        "7k2m9q-t4",
        "bad.py",
        "exit code 1",
        "Traceback",
        "bold [red]x[/red]",
        "18 more",
        "dashctl task retry 7k2m9q-t4",
    ):
        assert part in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("columns", [0, 100])
def test_a_bill_above_its_worst_case_is_said(output, columns: int):
    over = budget.Overrun(
        call=7, at="2026-11-20T10:00:00.000Z", budget="7k2m9q-004", agent="7k2m9q-004", task="7k2m9q-t4",
        model=f"one/dear{EVIL}", held_usd=0.1, cost_usd=0.35, over_usd=0.25,
    )  # fmt: skip
    out = output(columns, color="never")
    told = a_report(overruns=[over], overrun_usd=0.25)
    told["follow_ups"].append("model.set dear with the price of its provider")
    report.show(out, told)
    text = out._stdout.getvalue()
    assert "call 7 of 7k2m9q-004 to one/dear" in text
    assert "$0.25 more than the $0.10 that it held; budget 7k2m9q-004 was frozen" in text
    assert "dashctl model set dear with the price" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"outcome": "complete"}, "complete"),
        ({"outcome": "none"}, "nothing completed"),
        ({"state": "destroyed", "outcome": "none"}, "destroyed"),
        ({"final": False, "state": "active", "outcome": None}, "still running"),
        ({"final": False, "state": "paused", "outcome": None}, "still paused"),
    ],
)
def test_an_interim_report_and_a_bad_end_are_called_so(changes, word: str):
    assert report.verdict(a_report(**changes))[0] == word


def test_a_swarm_without_trouble_has_a_short_report(output):
    out = output()
    report.show(
        out,
        msgspec.to_builtins(fake.report(outcome="complete", tasks={"completed": 20}, attempts={"total": 20})),
    )
    assert len(out._stdout.getvalue().splitlines()) == 7


def test_what_to_do_next_can_be_typed() -> None:
    running = {"id": "7k2m9q", "final": False, "follow_ups": ["event.wait {x}", "task.retry 7k2m9q-t1"]}
    assert report.next_commands(running) == [
        "dashctl swarm report 7k2m9q --wait",
        "dashctl task retry 7k2m9q-t1",
    ]
    ended = {
        "id": "7k2m9q",
        "final": True,
        "state": "completed",
        "follow_ups": [],
        "failures": [{"item": "a b"}, {"item": "c"}],
    }
    assert report.next_commands(ended) == ["dashctl swarm create TASK --item 'a b' --item c -- COMMAND"]
