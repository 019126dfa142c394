"""`dashctl up|down|restart|status`: the daemon itself."""

from __future__ import annotations

import time

from dashctl import asking, calling
from dashctl.commands import Command
from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

START_S = 60.0
END_S = 120.0
"""Longer than the longest grace of an agent and dashd's own way out."""


def up(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Starts dashd in the background, unless it runs."""
    if found := _ping(dash):
        return _say_up(dash, out, found, "already running")
    return _start(args, dash, out)


def down(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Ends dashd and its agents."""
    try:
        status = _status(dash)
    except calling.Unheard as unheard:
        return _down_unheard(args, dash, out, unheard)
    if status is None:
        _say(out, {"state": "stopped", "changed": False}, "dashd is not running")
        return 0
    if live := asking.live_agents(status["agents"]):
        asking.confirm(
            out,
            f"Stop dashd and end {asking.plural(live, 'live agent')}?",
            yes=args.yes,
            refusal=f"this would end {asking.plural(live, 'live agent')}",
            hint="dashctl down --yes; dashctl restart keeps them",
        )
    return _end_all(args, dash, out, status, status["pid"])


def _down_unheard(args: SimpleNamespace, dash: Dash, out: Output, unheard: calling.Unheard) -> int:
    """dashd cannot be asked to end its agents: another one takes them over, and ends them."""
    from dashctl import daemon_process

    asking.confirm(
        out,
        f"{unheard.message}. Stop it and end its agents?",
        yes=args.yes,
        refusal=f"{unheard.message}; this would stop it and end its agents",
        hint="dashctl down --yes; dashctl restart keeps them",
    )
    daemon_process.end_unheard(unheard.pid, unheard.state_dir, wait_s=args.timeout)
    dash.at(daemon_process.start(dash.environ, wait_s=args.timeout))
    return _end_all(args, dash, out, dash.call("daemon.status"), unheard.pid)


def _end_all(args: SimpleNamespace, dash: Dash, out: Output, status: dict[str, Any], pid: int | None) -> int:
    """Ends the dashd that answers and its agents; `pid` is the one that the caller spoke of."""
    stopping = _stop(dash, status, agents="stop", wait_s=args.timeout)
    ended = f"; {asking.plural(stopping['live'], 'agent')} ended" if stopping["live"] else ""
    _say(
        out,
        {"state": "stopped", "changed": True, "pid": pid, "live": stopping["live"]},
        f"dashd (pid {pid}) has stopped{ended}",
    )
    return 0


def restart(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Ends dashd and starts it again; agents live on meanwhile."""
    try:
        if status := _status(dash):
            _stop(dash, status, agents="detach", wait_s=args.timeout)
    except calling.Unheard as unheard:
        from dashctl import daemon_process

        daemon_process.end_unheard(unheard.pid, unheard.state_dir, wait_s=args.timeout)
    dash.forget()
    return _start(args, dash, out)


def status(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says what dashd is doing."""
    found = dash.call("daemon.status")
    if out.as_json:
        out.data(found)
        return 0
    from dashctl import status_view

    status_view.show(out, found, _open_swarms(dash, found))
    return 0


def _ping(dash: Dash) -> dict[str, Any] | None:
    try:
        return dash.call("daemon.ping")
    except client_blocking.Unreachable as failure:
        if failure.state in ("absent", "stale", "lost"):
            dash.close()
            return None
        raise


def _status(dash: Dash) -> dict[str, Any] | None:
    return dash.call("daemon.status") if _ping(dash) else None


def _open_swarms(dash: Dash, found: dict[str, Any]) -> list[dict[str, Any]]:
    states = [state for state in ("creating", "active", "paused") if found["swarms"].get(state)]
    return list(dash.call("swarm.list", states=states)["items"]) if states else []


def _start(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    from dashctl import daemon_process

    try:
        socket_path = daemon_process.start(dash.environ, wait_s=args.timeout)
    except daemon_process.StartFailed as failure:
        # Another `up` may have been faster; what counts is whether dashd serves now.
        if found := _ping(dash):
            return _say_up(dash, out, found, "already running")
        if not out.as_json:
            for log_line in failure.log_lines:
                out.note(("| ", "dim"), log_line)
        else:
            failure.error["details"] = {"log": failure.log_lines}
        raise
    dash.at(socket_path)
    return _say_up(dash, out, dash.call("daemon.ping"), "up")


def _say_up(dash: Dash, out: Output, found: dict[str, Any], how: str) -> int:
    facts = {
        "state": "up",
        "changed": how == "up",
        "pid": found["pid"],
        "version": found["version"],
        "socket": dash.socket_path,
    }
    adopted = ""
    if how == "up" and (count := dash.call("daemon.status")["adopted"]):
        facts["adopted"], adopted = count, f"; {asking.plural(count, 'live agent')} taken over"
    _say(out, facts, f"dashd {found['version']} is {how} (pid {found['pid']}) at {dash.socket_path}{adopted}")
    return 0


def _stop(dash: Dash, status: dict[str, Any], *, agents: str, wait_s: float) -> dict[str, Any]:
    from dashctl import daemon_process

    deadline = time.monotonic() + wait_s
    with daemon_process.Watched(status["pid"]) as process:
        stopping = dash.call("daemon.stop", agents=agents, deadline_s=wait_s)
        try:
            dash.client.wait_closed(deadline_s=max(deadline - time.monotonic(), 0))
        except client_blocking.DeadlinePassed as failure:
            failure.message = f"dashd (pid {status['pid']}) is still stopping after {wait_s:.0f} s"
            raise
        process.wait_end(deadline)
    return stopping


def _say(out: Output, facts: dict[str, Any], sentence: str) -> None:
    if out.as_json:
        out.data(facts)
    else:
        out.line(sentence)


def _starting(parser: ArgumentParser) -> None:
    from dashctl import grammar

    parser.add_argument(
        "--timeout",
        type=grammar.duration_s,
        default=START_S,
        metavar="TIME",
        help="how long to wait until dashd serves (60s)",
    )


def _stopping(parser: ArgumentParser) -> None:
    from dashctl import grammar

    parser.add_argument("--yes", "-y", action="store_true", help="do not ask, although agents are live")
    parser.add_argument(
        "--timeout",
        type=grammar.duration_s,
        default=END_S,
        metavar="TIME",
        help="how long to wait for the end (120s)",
    )


def _restarting(parser: ArgumentParser) -> None:
    from dashctl import grammar

    parser.add_argument(
        "--timeout",
        type=grammar.duration_s,
        default=START_S,
        metavar="TIME",
        help="how long to wait for the end, and again for the start (60s)",
    )


COMMANDS = {
    "up": Command(up, "start dashd in the background", _starting),
    "down": Command(
        down,
        "stop dashd and its agents",
        _stopping,
        details="Asks first where agents are live. `dashctl restart` keeps agents alive.",
    ),
    "restart": Command(restart, "stop and start dashd; agents live on", _restarting),
    "status": Command(status, "what dashd is doing"),
}
