"""The account of a swarm, as a person wants to read it: what came of it, what failed and why, what next.

On a terminal rich lays it out, because results and last lines are prose that has to wrap inside its
column; elsewhere it is the same content as indented text.
"""

from __future__ import annotations

import shlex

from dashctl import dollars, render, status_view, trees, wording
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dashctl.terminal import Output, Part

_ITEMS_MAX = 5
"""That a suggested command names."""
_OUTCOME_STYLES = {"complete": "green", "partial": "yellow", "none": "red"}


def show(out: Output, report: dict[str, Any]) -> None:
    """Writes the result of `swarm.report`."""
    _head(out, report)
    if out.is_terminal and out.unicode:
        from dashctl import report_rich

        report_rich.show(out, report)
    else:
        _failures(out, report["failures"])
        _results(out, report["results"])
    _overruns(out, report.get("overruns", []))
    trees.show_files(out, report.get("files", []))
    if report["left_out"]:
        out.line()
        out.line(
            f"{report['left_out']} more did not fit: dashctl swarm report {report['id']} --full, or --json."
        )
    if commands := next_commands(report):
        out.line()
        out.line(("Next", "bold"))
        for command in commands:
            out.line(f"  {command}")


def not_kept(result: dict[str, Any]) -> str:
    """What is said of a result whose output was not kept whole."""
    dropped = result.get("output_dropped", 0)
    return (
        f"[{dropped:,} bytes of its output were not kept: past the bound, or the disk was full]"
        if dropped
        else ""
    )


def next_commands(report: dict[str, Any]) -> list[str]:
    """What to type next; dashd's own follow-ups are calls, which a terminal does not take."""
    said = ("task.retry ", "model.set ", "budget.history ")
    retries = [wording.for_person(call) for call in report["follow_ups"] if call.startswith(said)]
    if not report["final"]:
        return [f"dashctl swarm report {report['id']} --wait", *retries]
    failed = [safe.line(failure["item"]) for failure in report["failures"]][:_ITEMS_MAX]
    if not failed or report["state"] == "destroyed":
        return retries
    items = " ".join(f"--item {shlex.quote(item)}" for item in failed)
    return [f"dashctl swarm create TASK {items} -- COMMAND", *retries]


def verdict(report: dict[str, Any]) -> tuple[str, str]:
    """The swarm's end in one word, and its style."""
    if not report["final"]:
        return "still running" if report["state"] == "active" else f"still {report['state']}", "yellow"
    if report["state"] == "destroyed":
        return "destroyed", "dim"
    outcome = report["outcome"] or "none"
    return ("nothing completed" if outcome == "none" else outcome), _OUTCOME_STYLES.get(outcome, "")


def _head(out: Output, report: dict[str, Any]) -> None:
    head: list[Part] = [
        ("Swarm ", "bold"),
        (report["id"], "bold"),
        status_view.name_of(report),
        ": ",
        verdict(report),
    ]
    out.line(*head)
    out.line(report["summary"])
    out.line()
    time_used = f"{render.duration(report['duration_s'])}, {render.duration(report['cpu_s'])} of CPU"
    render.facts(
        out,
        [
            ("tasks", render.counts(report["tasks"])),
            ("agents", render.counts(report["agents"])),
            ("attempts", _attempts(report["attempts"])),
            ("time", time_used),
            ("money", safe.line(report.get("money", ""))),
        ],
    )


def _attempts(counted: dict[str, int]) -> str:
    special = {name: count for name, count in counted.items() if name != "total" and count}
    total = str(counted.get("total", 0))
    return f"{total}, of them {render.counts(special)}" if special else total


def _failures(out: Output, failures: list[dict[str, Any]]) -> None:
    if not failures:
        return
    out.line()
    out.line(("Failed", "bold"))
    for failure in failures:
        tries = "1 attempt" if failure["attempts"] == 1 else f"{failure['attempts']} attempts"
        who = f", {failure['agent']}" if failure["agent"] else ""
        out.line(
            f"  {failure['task']}  ",
            (failure["state"], "red"),
            f"  {_short(failure['item'])}",
            (f"  ({tries}{who})", "dim"),
        )
        if failure["cause"]:
            out.block(failure["cause"], indent="    ")
        if failure["last_lines"].strip():
            out.block(failure["last_lines"], indent="    | ")


def _overruns(out: Output, overruns: list[dict[str, Any]]) -> None:
    if not overruns:
        return
    out.line()
    out.line(("Above its worst case", "bold"))
    for each in overruns:
        out.line(
            f"  call {each['call']} of {each['agent'] or each['budget']} to {safe.line(each['model'])}: ",
            (f"{dollars.text(each['over_usd'])} more", "red"),
            f" than the {dollars.text(each['held_usd'])} that it held; budget {each['budget']} was frozen",
        )


def _results(out: Output, results: list[dict[str, Any]]) -> None:
    if not results:
        return
    out.line()
    out.line(("Results", "bold"))
    for result in results:
        out.line(f"  {result['task']}  {_short(result['item'])}", (f"  ({result['agent']})", "dim"))
        if result["result"].strip():
            out.block(result["result"] + (f" {out.ellipsis}" if result["truncated"] else ""), indent="    ")
            if note := not_kept(result):
                out.line(f"    {note}")


def _short(item: str) -> str:
    text = safe.line(item)
    return text if len(text) <= 200 else text[:199] + "…"
