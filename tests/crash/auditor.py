"""Looks at a database from outside while daemons work in it: every snapshot must keep the invariants.

It has a connection of its own, which may only read, in a thread of its own, and outlives daemons.
"""

import threading
from pathlib import Path
from typing import Self

import apsw

from tests.proxy.world import check_tree

BETWEEN_S = 0.005
WRONG_MAX = 20


class Auditor:
    """A context manager; `wrong` and `snapshots` are complete afterwards."""

    def __init__(self, database: Path) -> None:
        self.wrong: list[str] = []
        self.snapshots = 0
        self.closest_nusd: int | None = None
        """The least that was ever left of a limit, holds subtracted; below 0 it was passed."""
        self._database = database
        self._left = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="auditor")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._left.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            db = apsw.Connection(str(self._database), flags=apsw.SQLITE_OPEN_READONLY)
            db.set_busy_timeout(5_000)
            while not self._left.wait(BETWEEN_S) and len(self.wrong) < WRONG_MAX:
                self.look(db)
            db.close()
        except BaseException as fault:
            self._fault = fault

    def look(self, db: apsw.Connection) -> None:
        """One snapshot: everything is read inside one transaction."""
        db.execute("BEGIN")
        try:
            found = check_tree(db)
            (left,) = next(
                iter(db.execute("SELECT min(limit_nusd + overrun_nusd - held_nusd - spent_nusd) FROM budget"))
            )
        finally:
            db.execute("COMMIT")
        self.wrong += [f"snapshot {self.snapshots}: {each}" for each in found]
        self.snapshots += 1
        if left is not None and (self.closest_nusd is None or left < self.closest_nusd):
            self.closest_nusd = left
