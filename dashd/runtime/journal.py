"""What was said to a program and what it was told, as the rows have it: the memory of a conversation.

A word from outside is heard somewhere between two pieces of output, and may lead to an input only much later.
So it is kept with how much had been fed by then, and a replay hears it there. What is in no spool, as with a
gateway, is told by the input that came before; so are rows of a daemon that kept nothing else.
"""

from collections.abc import Mapping, Sequence

import msgspec

from dashd.drivers.driver import Conversation, History, Progress, Told, ToldKind
from dashd.store.inputs import InputRow


class _Word(msgspec.Struct):
    """Column `told` of an input."""

    kind: ToldKind
    text: str
    fed: int | None = None
    """Bytes of output that the conversation had been fed when it heard of this."""
    turn: int = 0
    """Its place among those of the same launch."""


class Journal(msgspec.Struct, frozen=True):
    """What was said already, as the rows have it."""

    rows: tuple[InputRow, ...] = ()

    def history(self) -> History:
        """What was told from outside, by the key of the input that came before it; without what is in
        `heard`.
        """
        found: dict[str, list[Told]] = {}
        before = ""
        for row in self.rows:
            if row.told is None:
                before = row.key
            elif (word := _read(row.told)).fed is None:
                found.setdefault(before, []).append(Told(word.kind, row.key, word.text))
        return found

    def heard(self) -> Mapping[int, Sequence[Told]]:
        """What was told from outside, in order, by how much had been fed when it was heard."""
        words = [(_read(row.told), row.key) for row in self.rows if row.told is not None]
        found: dict[int, list[Told]] = {}
        for word, key in sorted(words, key=lambda each: each[0].turn):
            if word.fed is not None:
                found.setdefault(word.fed, []).append(Told(word.kind, key, word.text))
        return found

    @property
    def turns(self) -> int:
        """How many places there are among what was told."""
        return max((_read(row.told).turn + 1 for row in self.rows if row.told is not None), default=0)


class Reading:
    """Feeds a conversation, and has it hear again what it heard before at the same places."""

    def __init__(self, conversation: Conversation, heard: Mapping[int, Sequence[Told]]) -> None:
        self.fed = 0
        """Bytes so far."""
        self._conversation = conversation
        self._heard = heard
        self._hear()

    @property
    def pending(self) -> bool:
        """See OutputReader."""
        return self._conversation.pending

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        """See OutputReader."""
        found = self._conversation.feed(stream, output)
        if output:  # else it would hear the same once more
            self.fed += len(output)
            self._hear()
        return found

    def _hear(self) -> None:
        for told in self._heard.get(self.fed, ()):
            self._conversation.tell(told)


def word(told: Told, fed: int | None = None, turn: int = 0) -> str:
    """Column `told` of the input that it led to."""
    return msgspec.json.encode(_Word(told.kind, told.text, fed, turn)).decode()


def _read(told: str) -> _Word:
    return msgspec.json.decode(told, type=_Word)
