"""Room for the calls of agents that wait: so many of one agent, and so many bytes.

An agent makes one or a few calls at once, and each that waits keeps its body in memory, for days where the
agent is paused or waits for a yes. So no agent has room for many of them, whatever it waits for. What is
beyond is refused, and may be repeated. An agent with little to keep has room whatever the others keep.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dashd.wire import errors

from .formats.body import BODY_BYTES_MAX
from .waits import Waits, What

CALLS_MAX = 8
"""Calls of one agent that wait at once."""
AGENT_BYTES_MAX = BODY_BYTES_MAX
"""Of their bodies: the largest call may wait, alone."""
SURE_BYTES_MAX = 4 * 1024 * 1024
"""So much an agent may keep whatever the others do: more than a long conversation has."""
BYTES_MAX = 256 * 1024 * 1024
"""Of all agents' bodies, beside what each of them is sure of."""
AGAIN_S = 10.0


class NoRoom(errors.Unavailable):
    """No more calls of this agent may wait."""

    def __init__(self, text: str) -> None:
        """`text` says which bound was met."""
        hint = "try again when one of them has gone on; agent why says what they wait for"
        super().__init__(f"{text}; {hint}", hint=hint, data={"retry_after_s": AGAIN_S})


class Room:
    """All of it; one for the daemon."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits
        self._taken: dict[str, list[int]] = {}
        """The bytes of each agent's calls."""
        self._bytes = 0

    def take(self, agent_id: str, size: int) -> None:
        """Room for one more call. Raises NoRoom."""
        taken = self._taken.get(agent_id, [])
        if len(taken) >= CALLS_MAX:
            raise NoRoom(f"{CALLS_MAX} calls of this agent wait already, and no more may")
        own = sum(taken) + size
        if own > AGENT_BYTES_MAX:
            raise NoRoom(
                f"calls of this agent that wait keep {sum(taken)} bytes of {AGENT_BYTES_MAX} already"
            )
        if own > SURE_BYTES_MAX and self._bytes + size > BYTES_MAX:
            raise NoRoom(f"calls that wait keep {self._bytes} bytes of {BYTES_MAX}, and this one has {size}")
        self._taken[agent_id] = [*taken, size]
        self._bytes += size

    def free(self, agent_id: str, size: int) -> None:
        """Gives back what was taken."""
        self._taken[agent_id].remove(size)
        self._bytes -= size
        if not self._taken[agent_id]:
            del self._taken[agent_id]


class Seat:
    """Of one call, while it waits. A program outside needs none: it does not wait for long."""

    def __init__(self, room: Room, agent_id: str | None, size: int) -> None:
        self._room = room
        self._agent_id = agent_id
        self._size = size
        self._taken = False

    def take(self) -> None:
        """It has to wait now; said twice, it is heard once. Raises NoRoom."""
        if self._agent_id is not None and not self._taken:
            self._room.take(self._agent_id, self._size)
            self._taken = True

    def leave(self) -> None:
        """It waits no more."""
        if self._agent_id is not None and self._taken:
            self._room.free(self._agent_id, self._size)
            self._taken = False

    @contextmanager
    def during(self, what: What, on: str, text: str, for_s: float | None = None) -> Iterator[None]:
        """The call waits inside, and whoever asks is told (see Waits). Raises NoRoom."""
        self.take()
        with self._room.waits.during(self._agent_id, what, on, text, for_s):
            yield
