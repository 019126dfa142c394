"""Waiting for what was asked for to be so: a swarm's end, an agent's new state.

Waiting is reading events by cursor. It never decides anything: interrupted or late, what was asked for
goes on, and the message says how to come back to it.
"""

from __future__ import annotations

import time

from dashctl import calling, following, many, render
from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

SWARM_ENDS = ("swarm.completed", "swarm.failed", "swarm.destroyed")
SWARM_ATTENTION = (
    *SWARM_ENDS,
    "task.dead",
    "budget.threshold",
    "budget.overrun",
    "approval.requested",
    "escalation.raised",
    "circuit.opened",
    "gateway.down",
    "system.alert",
)
"""What wakes somebody who waits for a swarm: all that needs attention, and its end by destruction."""
_COUNTED = ("task.completed", "task.cancelled", "task.retrying")

AGENT_ENDS = ("agent.completed", "agent.failed", "agent.killed")
_SESSION_MOVES = ("agent.paused", "agent.resumed", *AGENT_ENDS, "task.cancelled", "session.closed")
"""After which a session's state may be another."""
_STATE_AFTER = {"resumed": "running", "started": "running"}


def arguments(parser: ArgumentParser, within_s: float) -> None:
    """Adds what every change takes that is waited for, `args.no_wait` and `args.within`."""
    from dashctl import grammar

    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is so")
    parser.add_argument(
        "--within",
        type=grammar.duration_s,
        default=within_s,
        metavar="TIME",
        help=f"how long to wait for that ({within_s:.0f}s)",
    )


def swarm_end(dash: Dash, out: Output, swarm: str, cursor: int) -> None:
    """Waits until the swarm has ended; what needs attention meanwhile is said.

    Ctrl-C leaves the swarm running and raises KeyboardInterrupt, after saying how to come back.
    """
    come_back = f"dashctl swarm report {swarm} --wait"
    # The count is for eyes only, so a script is not woken for every task.
    kinds = SWARM_ATTENTION + (_COUNTED if out.notes_on_terminal and not out.as_json else ())
    try:
        _show_count(dash, out, swarm)
        for events in following.batches(
            dash, out, since=cursor, swarm=swarm, kinds=kinds, come_back=come_back
        ):
            for event in events:
                if event["kind"] in SWARM_ATTENTION and event["kind"] not in SWARM_ENDS:
                    out.note(
                        (event["kind"], "yellow"),
                        f"  {event.get('task') or event.get('agent') or swarm}  ",
                        render.values(event.get("data", {})),
                    )
            if any(event["kind"] in SWARM_ENDS for event in events):
                break
            _show_count(dash, out, swarm)
    except KeyboardInterrupt:
        out.passing("")
        out.note(f"Swarm '{swarm}' goes on. Come back with: {come_back}")
        raise
    out.passing("")


def _show_count(dash: Dash, out: Output, swarm: str) -> None:
    if not out.notes_on_terminal or out.as_json:
        return
    try:
        tasks = dash.call("swarm.get", swarm=swarm)["tasks"]
    except client_blocking.CallFailed as failure:
        if not following.went_away(failure):
            raise
        dash.close()
        return
    out.passing(f"{swarm}: {render.counts(tasks)}")


def settled(
    dash: Dash,
    out: Output,
    results: many.Results,
    pending: Sequence[dict[str, Any]],
    *,
    noun: str,
    kinds: Sequence[str],
    goal: str,
    wait_s: float,
) -> None:
    """Waits until an event of `kinds` has come for each answer in `pending`, and puts its state there.

    The answers are those of `agent.kill` and its like: `{id, state, cursor, …}`; `noun` is agent, swarm or
    task. Those that are not `goal` ("killed") after `wait_s` seconds become failures; what was asked of
    dashd stands.
    """
    waited = {answer["id"]: answer for answer in pending}
    if not waited:
        return

    def done(event: dict[str, Any]) -> bool:
        answer = waited.get(event.get(noun) or "")
        if answer is not None and event["seq"] > answer["cursor"]:
            state = event["kind"].partition(".")[2]
            answer["state"] = _STATE_AFTER.get(state, state)
            del waited[answer["id"]]
        return not waited

    since = min(answer["cursor"] for answer in pending)
    following.until(dash, out, since=since, kinds=kinds, done=done, deadline=time.monotonic() + wait_s)
    for subject, answer in waited.items():
        error = {
            "code": calling.EXIT_TIMEOUT,
            "kind": "DeadlinePassed",
            "category": "timeout",
            "retryable": True,
            "message": f"'{subject}' is not {goal} after {wait_s:g} s but {answer['state']}",
            "hint": f"dashctl {noun} {'why' if noun == 'agent' else 'get'} {subject}",
        }
        results.fail(subject, error, calling.EXIT_TIMEOUT)


def session_settled(
    dash: Dash, out: Output, found: dict[str, Any], *, reached: Sequence[str], goal: str, wait_s: float
) -> None:
    """Waits until a session is in one of the states `reached`, and puts that state into `found`: the answer
    of `session.pause` and its like.

    Raises calling.Failure where it is not `goal` ("paused") after `wait_s` seconds; what was asked stands.
    """
    now = dash.call("session.get", session=found["session"])

    def done(_event: dict[str, Any]) -> bool:
        if now["state"] not in reached:
            now.update(dash.call("session.get", session=found["session"]))
        return now["state"] in reached

    if now["state"] not in reached:
        deadline = time.monotonic() + wait_s
        following.until(
            dash,
            out,
            since=found["cursor"],
            swarm=now["swarm"],
            kinds=_SESSION_MOVES,
            done=done,
            deadline=deadline,
        )
    found["state"] = now["state"]
    if now["state"] not in reached:
        raise calling.Failure(
            f"session '{found['session']}' is not {goal} after {wait_s:g} s but {now['state']}",
            hint=f"dashctl agent why {found['agent']}",
            exit_code=calling.EXIT_TIMEOUT,
            kind="DeadlinePassed",
        )
