"""`dashctl budget …` against a scripted dashd."""

import csv
import io
import json

import pytest

from dashctl import commands
from dashd.wire import errors
from dashd.wire.methods import budget
from tests.dashctl import answers

S = answers.SWARM


def test_status_shows_figures_forecast_and_what_can_be_done(dashd, ctl):
    ran = ctl("budget", "status", S)
    assert ran.code == 0
    for line in (
        "spent        $0.9375 of $1.50",
        "unconfirmed  $0.0031",
        "left         $0.5625",
        "state        warning",
        "at           75 % notify, 90 % notify, 100 % pause",
        "Forecast: at this rate you pass the limit in 3 min",
        f"  could help: dashctl budget extend {S} 1.5: covers the dearest case",
        f"  now: dashctl swarm report {S}: review what there is",
    ):
        assert line in ran.out.splitlines()
    assert any(
        line.startswith(answers.AGENT) and line.endswith("at its end") for line in ran.out.splitlines()
    )
    assert dashd.asked("budget.status") == [{"budget": S, "children": True}]


def test_status_is_of_the_project_unless_named(dashd, ctl):
    dashd.on("budget.status", answers.budget_status(forecast=None, options=[], children=[]))
    assert ctl("budget", "status").code == 0
    assert dashd.asked("budget.status")[0]["budget"] == "project"
    assert json.loads(ctl("budget", "status", "--json").out)["budget"]["spent_usd"] == 0.9375


def test_a_frozen_budget_says_why(dashd, ctl):
    dashd.on("budget.status", answers.budget_status(budget=answers.a_node(frozen="a price is wrong")))
    assert "state        frozen: a price is wrong" in ctl("budget", "status", S).out


def test_set_sends_what_was_given(dashd, ctl):
    ran = ctl("budget", "set", S, "--limit", "$2.50", "--tokens", "5000", "--why", "enough")
    assert ran.out == f"Budget '{S}' set: $0.9375 spent of $1.50\n"
    ctl("budget", "set", S, "--no-limit")
    assert dashd.asked("budget.set") == [
        {"budget": S, "limit_usd": 2.5, "limit_tokens": 5000, "why": "enough"},
        {"budget": S, "limit_usd": None},
    ]


def test_set_thaws(dashd, ctl):
    ctl("budget", "set", S, "--thaw", "--why", "priced anew")
    assert dashd.asked("budget.set") == [{"budget": S, "thaw": True, "why": "priced anew"}]


def test_set_sends_the_actions_that_were_named_alone(dashd, ctl):
    ctl("budget", "set", S, "--at-100", "kill")
    assert dashd.asked("budget.set")[0]["actions"] == {"at_100": "kill"}
    assert not dashd.asked("budget.status")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to set"),
        (("--limit", "1", "--no-limit"), "contradict"),
        (("--limit", "1e3"), "not an amount in dollars"),
        (("--at-90", "stop"), "cannot be 'stop'"),
    ],
)
def test_set_refuses_what_makes_no_sense(dashd, ctl, words, said):
    ran = ctl("budget", "set", S, *words)
    assert ran.code == 2
    assert said in ran.err
    assert not dashd.asked("budget.set")


def test_extend_says_what_goes_on(dashd, ctl):
    ran = ctl("budget", "extend", S, "0.5", "--why", "worth it", "--key", "k")
    assert ran.out == f"Budget '{S}' extended: $0.9375 spent of $1.50; 2 that had stopped go on\n"
    assert dashd.asked("budget.extend") == [
        {"budget": S, "usd": 0.5, "why": "worth it", "idempotency_key": "k"}
    ]


def test_extend_takes_tokens_and_says_what_still_keeps_calls_out(dashd, ctl):
    node = answers.a_node(limit_tokens=5_000, blocked="nothing is left of 5,000 tokens")
    dashd.on("budget.extend", budget.BudgetChanged(budget=node, resumed=0, cursor=1))
    ran = ctl("budget", "extend", S, "--tokens", "500")
    assert dashd.asked("budget.extend")[0]["tokens"] == 500
    assert "usd" not in dashd.asked("budget.extend")[0]
    assert "12,345 of 5,000 tokens" in ran.out
    assert "nothing is left of 5,000 tokens" in ran.out + ran.err
    assert ctl("budget", "extend", S).code == 2


def test_a_refusal_has_its_own_exit_code(dashd, ctl):
    dashd.on("budget.extend", errors.BudgetExceeded("no", hint="budget.set it"))
    ran = ctl("budget", "extend", S, "1")
    assert ran.code == 7
    assert "dashctl budget set it" in ran.err


def test_history(dashd, ctl):
    ran = ctl("budget", "history", S)
    assert ran.out.splitlines()[1].split()[-5:] == ["extended", "$1.00", "$1.50", "worth", "it"]
    assert json.loads(ctl("budget", "history", S, "--json").out)["changes"][0]["to_usd"] == 1.5


def test_history_shows_tokens_and_actions(dashd, ctl):
    change = budget.Change(
        at=answers.AT, kind="set", from_usd=None, to_usd=None, why="w", to_tokens=5_000,
        actions="at_100 pause -> kill",
    )  # fmt: skip
    dashd.on("budget.history", budget.History(budget=S, changes=[change]))
    assert "tokens no limit -> 5,000; at_100 pause -> kill; w" in ctl("budget", "history", S).out


def test_export_is_csv_without_scientific_notation_over_all_pages(dashd, ctl):
    pages = {
        0: budget.Exported(rows=[answers.a_call()], next=7),
        7: budget.Exported(rows=[answers.a_call(id=9)]),
    }
    dashd.on("budget.export", lambda params: pages[params.since])
    ran = ctl("budget", "export", "--swarm", S)
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["id"] for row in rows] == ["7", "9"]
    assert rows[0]["usd"] == "0.000010000"
    assert (rows[0]["provider"], rows[0]["output_tokens"], rows[0]["confirmed"]) == ("p, q", "", "True")
    assert [asked["since"] for asked in dashd.asked("budget.export")] == [0, 7]
    lines = ctl("budget", "export", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [7, 9]


def test_every_command_of_the_module_is_tried_here():
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert all(f'"budget", "{verb}"' in text for verb in commands.of_module("budget"))
