"""The turns that an attempt in a gateway was given, and which of them are over.

One is given once the one before it is over, and written down before it is sent. So of those that were given
before dashd, or its connection, came back only the last one may be under way, or may not have arrived. Of the
others the gateway is not asked: ten minutes after its end it has forgotten a run, and would do it once more.
"""

import json
from collections import deque

import msgspec

INPUTS_MAX = 1_000
"""That wait; those that were given before have rows."""
BEGINS_CHARACTERS = 400
"""Of a message, for its conversation to know it by."""


class Then(msgspec.Struct, frozen=True):
    """The turn that was given after one."""

    id: str
    begins: str
    """How its message does."""


class Turn(msgspec.Struct):
    """One of them, called as its conversation calls it."""

    id: str
    message: str
    replayed: bool = False
    """It was given before."""
    then: Then | None = None
    """It is over: what it came to has been heard, and led to this."""


class Turns:
    """In order. The first `replayed` inputs of the attempt were given before, and come all at once."""

    def __init__(self, replayed: int) -> None:
        self._replayed = replayed
        self._given = 0
        self._turns: deque[Turn] = deque()

    def take(self, number: int, data: bytes) -> None:
        """An input; without `data` it is no turn, but counts."""
        if number <= self._given:
            return
        self._given = number
        if data:
            self._add(Turn(**json.loads(data), replayed=self.has_replayed(number)))

    def _add(self, turn: Turn) -> None:
        if turn.replayed and self._turns:
            last = self._turns[-1]
            last.message, last.then = "", Then(turn.id, turn.message[:BEGINS_CHARACTERS])
        elif len(self._turns) >= INPUTS_MAX:
            return
        self._turns.append(turn)

    def has_replayed(self, number: int) -> bool:
        """Whether the input of this number was given before."""
        return number <= self._replayed

    @property
    def first(self) -> Turn | None:
        """The one to see to: none before all are here that were given before."""
        return self._turns[0] if self._turns and self.all_here else None

    @property
    def all_here(self) -> bool:
        """All have come that were given before."""
        return self._given >= self._replayed

    def end(self) -> None:
        """The first one has been seen to."""
        self._turns.popleft()

    @property
    def may_work(self) -> bool:
        """One of them may be under way, as far as is known here."""
        return bool(self._turns) or not self.all_here
