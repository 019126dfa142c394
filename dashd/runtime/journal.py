"""What was said to a program and what it was told, as the rows have it: the memory of a conversation."""

import msgspec

from dashd.drivers.driver import History, Told, ToldKind
from dashd.store.inputs import InputRow


class _Word(msgspec.Struct):
    """Column `told` of an input."""

    kind: ToldKind
    text: str


class Journal(msgspec.Struct, frozen=True):
    """What was said already, as the rows have it."""

    rows: tuple[InputRow, ...] = ()

    def history(self) -> History:
        """What was told from outside, by the key of the input that came before it."""
        found: dict[str, list[Told]] = {}
        before = ""
        for row in self.rows:
            if row.told is None:
                before = row.key
            else:
                word = msgspec.json.decode(row.told, type=_Word)
                found.setdefault(before, []).append(Told(word.kind, row.key, word.text))
        return found


def word(told: Told) -> str:
    """Column `told` of the input that it led to."""
    return msgspec.json.encode(_Word(told.kind, told.text)).decode()
