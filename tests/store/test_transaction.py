"""What an operation is handed: events with a dense seq and the exact body; nothing true before COMMIT."""

import apsw
import msgspec
import pytest

from dashd import store
from dashd.store import writer
from dashd.wire import events


def test_an_event_is_a_row_with_the_body_that_travels(inline: writer.Writer, db: apsw.Connection) -> None:
    def operation(tx: store.Tx) -> tuple[int, int]:
        return (
            tx.emit("swarm.created", swarm="s", data={"name": "é"}),
            tx.emit("task.started", swarm="s", agent="s-001", task="s.1"),
        )

    assert inline.commit_now([operation]) == [(1, 2)]
    rows = list(db.execute("SELECT seq, at_ms, kind, swarm, agent, body FROM event ORDER BY seq"))
    assert [row[:5] for row in rows] == [
        (1, 1_795_168_800_000, "swarm.created", "s", None),
        (2, 1_795_168_800_000, "task.started", "s", "s-001"),
    ]
    assert msgspec.json.decode(rows[0][5], type=events.Event) == events.Event(
        1, "2026-11-20T10:00:00.000Z", "swarm.created", "s", None, None, {"name": "é"}
    )
    assert msgspec.json.decode(rows[1][5]) == {
        "seq": 2,
        "at": "2026-11-20T10:00:00.000Z",
        "kind": "task.started",
        "swarm": "s",
        "agent": "s-001",
        "task": "s.1",
    }


def test_an_unknown_kind_is_a_bug_of_the_operation(inline: writer.Writer) -> None:
    (answer,) = inline.commit_now([lambda tx: tx.emit("task.invented")])
    assert isinstance(answer, AssertionError)


def test_an_event_that_cannot_be_text_hurts_only_its_operation(inline: writer.Writer) -> None:
    answers = inline.commit_now(
        [
            lambda tx: tx.emit("task.created", data={"note": "\ud800"}),
            lambda tx: tx.emit("task.created", data={"note": "fine"}),
        ]
    )
    assert isinstance(answers[0], UnicodeEncodeError)
    assert answers[1] == 1


def test_an_operation_sees_its_own_writes_and_those_before_it(inline: writer.Writer) -> None:
    def look(tx: store.Tx) -> object:
        return tx.execute("SELECT epoch FROM daemon").get

    def raise_it(tx: store.Tx) -> object:
        tx.execute("UPDATE daemon SET epoch = epoch + 1")
        return look(tx)

    assert inline.commit_now([raise_it, raise_it, look]) == [1, 2, 2]


def test_callbacks_run_after_commit_in_order(inline: writer.Writer, db: apsw.Connection) -> None:
    seen: list[tuple[str, bool]] = []

    def operation(tx: store.Tx) -> None:
        tx.execute("UPDATE daemon SET epoch = epoch + 1")
        tx.after_commit(lambda: seen.append(("first", db.in_transaction)))
        tx.after_commit(lambda: seen.append(("second", db.in_transaction)))

    def failing(tx: store.Tx) -> None:
        tx.after_commit(lambda: pytest.fail("this operation was undone"))
        raise ValueError

    inline.commit_now([operation, failing])
    assert seen == [("first", False), ("second", False)]
