"""Tables `input` and `message`: what programs are told while they run. A row comes before its sending."""

import msgspec

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx

MESSAGE_KEY = "message:"
"""Before its number: the key of the input that a message becomes."""


class InputRow(msgspec.Struct, frozen=True):
    """Table `input`."""

    launch_id: str
    number: int
    key: str
    data: bytes
    eof: int
    told: str | None


class MessageRow(msgspec.Struct, frozen=True):
    """Table `message`."""

    id: int
    attempt_id: str
    number: int
    text: str
    at_ms: int
    heard: str = "step"
    compacts: int = 0


_q_of_launch = f"SELECT {columns(InputRow)} FROM input WHERE launch_id = ? ORDER BY number"
_q_insert = f"INSERT INTO input ({columns(InputRow)}) VALUES ({placeholders(InputRow)})"
_q_forget = "DELETE FROM input WHERE launch_id = ?"
_q_message = (
    "INSERT INTO message (attempt_id, number, text, at_ms, heard, compacts)"
    " SELECT ?1, 1 + count(*), ?2, ?3, ?4, ?5 FROM message WHERE attempt_id = ?1 RETURNING number"
)
_q_messages = f"SELECT {columns(MessageRow)} FROM message WHERE attempt_id = ? AND number > ? ORDER BY number"
_q_missed = (
    "SELECT m.number FROM message m WHERE m.attempt_id = ?1 AND NOT EXISTS"
    " (SELECT 1 FROM input i WHERE i.launch_id = ?2 AND i.key = ?3 || m.number) ORDER BY m.number"
)
_q_message_count = "SELECT count(*) FROM message WHERE attempt_id = ?"


def of_launch(db: Snapshot, launch_id: str) -> list[InputRow]:
    """All inputs of a launch that has not ended, in order."""
    return rows.every(InputRow, db, _q_of_launch, (launch_id,))


def insert(tx: Tx, row: InputRow) -> None:
    """Adds an input; its number and its key must be new."""
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def forget(tx: Tx, attempt_id: str, launch_id: str) -> list[int]:
    """The launch is over: nobody will ask again what it was told. Gives the messages that came too late."""
    missed = [number for (number,) in rows.table(tx.db, _q_missed, (attempt_id, launch_id, MESSAGE_KEY))]
    tx.execute(_q_forget, (launch_id,))
    return missed


def add_message(tx: Tx, attempt_id: str, text: str, heard: str = "step", *, compacts: bool = False) -> int:
    """Keeps a message to whoever runs the attempt, and has its run look; its number there."""
    number: int = tx.execute(_q_message, (attempt_id, text, tx.now_ms, heard, compacts)).get
    tx.ring("agents")
    return number


def messages(db: Snapshot, attempt_id: str, after: int) -> list[MessageRow]:
    """The attempt's messages with higher numbers than `after`, in order."""
    return rows.every(MessageRow, db, _q_messages, (attempt_id, after))


def message_count(db: Snapshot, attempt_id: str) -> int:
    """How many messages the attempt has."""
    count: int = rows.value(db, _q_message_count, (attempt_id,))
    return count
