"""How long a call may be held: time in which its agent is held on purpose does not count.

That is while it is paused, waits for somebody's yes, or is at a budget that pauses: nobody knows how long a
person takes, and then it goes on in place. What can take too long is a line that does not move, or a provider
that is frozen.
"""

import trio

from dashd.store import agents, approvals, swarms
from dashd.store.rows import Snapshot


class HeldTime:
    """Of one call, from now on."""

    def __init__(self, patience_s: float) -> None:
        self.stood_s = 0.0
        """How long it has stood still so far, what has ended of that."""
        self._patience_s = patience_s
        self._until = trio.current_time() + patience_s
        self._still_since: float | None = None
        self._limit = trio.CancelScope()

    @property
    def until(self) -> float:
        """When it is over on trio's clock; infinite while it stands still."""
        return self._until if self._still_since is None else float("inf")

    def at_least(self, left_s: float) -> None:
        """What comes next has some time in any case."""
        self._until = max(self._until, trio.current_time() + left_s)

    def again(self) -> None:
        """All of it begins anew."""
        self.at_least(self._patience_s)

    def stand(self, still: bool) -> None:
        """The agent is held on purpose from now on, or no more; said twice, it is heard once."""
        now = trio.current_time()
        if still and self._still_since is None:
            self._still_since = now
        elif not still and self._still_since is not None:
            self.stood_s += now - self._still_since
            self._until += now - self._still_since
            self._still_since = None
        self._limit.deadline = self.until

    def limit(self) -> trio.CancelScope:
        """What waits inside is given up when the time is over; one can stand still at a time, the newest."""
        self._limit = trio.CancelScope(deadline=self.until)
        return self._limit


def is_paused(db: Snapshot, agent_id: str | None) -> bool:
    """A paused agent's next call is held in the line: that is how it is paused. So is that of one which waits
    for somebody's yes. Raises NotFound.
    """
    if agent_id is None:
        return False
    seat = agents.get(db, agent_id)
    if seat.wanted == "pause" or swarms.get(db, seat.swarm_id).state == "paused":
        return True
    return approvals.holds(db, seat.id)
