"""Reading events by cursor, for as long as it takes, across restarts of dashd.

The cursor is all the state there is: after a lost connection the reader says so, waits for dashd with
growing pauses, and goes on where it was, so that nothing is missed and nothing comes twice (invariant 3).
"""

from __future__ import annotations

import time

from dashctl import calling
from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from dashctl.terminal import Output

WAIT_S = 600.0
"""One `event.wait`; it costs nothing while nothing happens."""
AWAY_S_MAX = 120.0
"""How long a reader waits for a dashd that went away; agents live on for as long without it by default."""
PING_S = 5.0
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)


def batches(
    dash: calling.Dash,
    out: Output,
    *,
    since: int,
    swarm: str | None = None,
    kinds: Sequence[str] = (),
    attention: bool | None = None,
    deadline: float | None = None,
    come_back: str = "",
) -> Iterator[list[dict[str, Any]]]:
    """Lists of events after `since`, oldest first; ends at `deadline` (time.monotonic), else never.

    `come_back` is the command that a person runs to see the rest where dashd stays away too long.
    """
    cursor = since
    while (wait_s := _left(deadline)) > 0:
        try:
            answer = dash.call(
                "event.wait",
                since=cursor,
                swarm=swarm,
                kinds=list(kinds) or None,
                attention=attention,
                timeout_s=wait_s,
                limit=1_000,
                deadline_s=wait_s + calling.ANSWER_S,
            )
        except client_blocking.CallFailed as failure:
            if not went_away(failure):
                raise
            reconnect(dash, out, come_back=come_back, deadline=deadline)
            continue
        cursor = answer["cursor"]
        if answer["events"]:
            yield answer["events"]


def went_away(failure: client_blocking.CallFailed) -> bool:
    """True where dashd ended under the call, so that the next one may have an answer."""
    return isinstance(failure, client_blocking.Unreachable) or failure.kind in ("ShuttingDown", "StoreClosed")


def reconnect(dash: calling.Dash, out: Output, *, come_back: str, deadline: float | None = None) -> None:
    """Waits for dashd to serve again and says so. Raises client_blocking.Unreachable after `AWAY_S_MAX`."""
    out.note(("note:", "yellow"), " dashd went away; waiting for it to come back (Ctrl-C stops waiting)")
    limit = time.monotonic() + min(_left(deadline), AWAY_S_MAX)
    pauses = list(_PAUSES_S)
    while True:
        dash.close()
        try:
            dash.call("daemon.ping", deadline_s=PING_S)
        except client_blocking.CallFailed as failure:
            # A dashd on its way out takes connections and answers nothing any more.
            if not (went_away(failure) or isinstance(failure, client_blocking.DeadlinePassed)):
                raise
            if time.monotonic() >= limit:
                failure.hint = " then ".join(filter(None, ("dashctl up", come_back)))
                raise
        else:
            out.note(("note:", "yellow"), " dashd is back; nothing was missed")
            return
        time.sleep(min(pauses.pop(0) if len(pauses) > 1 else pauses[0], max(limit - time.monotonic(), 0)))


def until(
    dash: calling.Dash,
    out: Output,
    *,
    since: int,
    kinds: Sequence[str],
    done: Callable[[dict[str, Any]], bool],
    deadline: float,
    swarm: str | None = None,
) -> bool:
    """Reads events until `done(event)` says so; False where `deadline` came first."""
    for events in batches(dash, out, since=since, swarm=swarm, kinds=kinds, deadline=deadline):
        if any(list(map(done, events))):
            return True
    return False


def _left(deadline: float | None) -> float:
    return WAIT_S if deadline is None else min(deadline - time.monotonic(), WAIT_S)
