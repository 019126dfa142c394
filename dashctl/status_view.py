"""How `dashctl status` shows dashd to a person: one line that says how it is, then the figures."""

from __future__ import annotations

from dashctl import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from dashctl.terminal import Output

COLUMNS = (
    render.Column("SWARM", "id"),
    render.Column("STATE", "state"),
    render.Column("DONE", lambda row: f"{row['tasks_ended']}/{row['tasks']}", right=True),
    render.Column("AGENTS", "agents", right=True, drop=2),
    render.Column("NAME", lambda row: name_of(row).strip(), least=12, drop=1),
)


def name_of(swarm: Mapping[str, Any]) -> str:
    """A blank and the swarm's name; nothing where it is only the one made from its id."""
    return "" if swarm["name"] in ("", swarm["id"], f"swarm-{swarm['id']}") else f" {swarm['name']}"


def show(out: Output, status: dict[str, Any], open_swarms: Sequence[dict[str, Any]]) -> None:
    """Writes the result of `daemon.status`, and the swarms that are not over."""
    style = {"ready": "green", "degraded": "red"}.get(status["state"], "yellow")
    out.line(
        f"dashd {status['version']} is ",
        (status["state"], style),
        f" (pid {status['pid']}, up {render.duration(status['uptime_s'])}, start {status['epoch']})",
    )
    for warning in status["warnings"]:
        out.line(("warning:", "yellow"), f" {warning}")
    adopted = f", {status['adopted']} taken over at this start" if status["adopted"] else ""
    render.facts(
        out,
        [
            ("swarms", render.counts(status["swarms"])),
            (
                "agents",
                f"{render.counts(status['agents'])} (at most {status['agents_max']} at once{adopted})",
            ),
            ("tasks", render.counts(status["tasks"])),
            ("events", str(status["last_seq"])),
            ("socket", status["socket"]),
            ("database", status["database"]),
        ],
    )
    if open_swarms:
        out.line()
        render.table(out, COLUMNS, open_swarms)
