"""One durable write after the other, each its own FULL commit, straight on an apsw connection."""

import apsw

UPDATE = "UPDATE daemon SET epoch = epoch + 1 WHERE only = ?"
EVENT = "INSERT INTO event (seq, at_ms, kind, swarm, agent, body) VALUES (?, ?, ?, ?, ?, ?)"
BODY = '{"seq":1,"at":"2026-11-20T10:00:00.000Z","kind":"agent.status","swarm":"a","data":{"state":"idle"}}'


class InlineCommits:
    """One row changed and one event written per transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._seq = 0

    def write(self) -> None:
        self._seq += 1
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(UPDATE, (1,))
        self._db.execute(EVENT, (self._seq, 1, "agent.status", "a", None, BODY))
        self._db.execute("COMMIT")


class InlineUpdates:
    """One row of `task` changed by its key per transaction."""

    def __init__(self, db: apsw.Connection, keys: list[str]) -> None:
        self._db = db
        self._keys = iter(keys)

    def write(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("UPDATE task SET state = 'running' WHERE id = ?", (next(self._keys),))
        self._db.execute("COMMIT")
