"""The real store and the real service, driven step by step without an event loop, and every move they make.

Triggers note each change of a state column, so no arrow is taken unseen, whoever takes it.
"""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from dashd.domain import agent, attempt, swarm, task
from dashd.domain.machine import Machine
from dashd.service.core import Caller, Core, Daemon
from dashd.service.ports import Chunk, DriverAbilities
from dashd.store import transaction
from dashd.wire import errors
from tests.fakes import absent
from tests.fakes.clock import FixedClock
from tests.fakes.inline import InlineStore
from tests.fakes.ports import driver_abilities

T = TypeVar("T")
MACHINES: dict[str, Machine] = {
    m.noun: m for m in (agent.MACHINE, attempt.MACHINE, swarm.MACHINE, task.MACHINE)
}


class Real:
    """Dash without a daemon."""

    def __init__(self, path: Path) -> None:
        self.clock = FixedClock()
        self.store = InlineStore(path, self.clock)
        self.db = self.store.db
        self.letters: set[str] = set()
        """Every arrow taken so far, as `noun letter`."""
        self.heard = 0
        """How far the events have been read."""
        self.told: dict[str, tuple[str, ...]] = {}
        self.completed: set[str] = set()
        self.db.execute("CREATE TEMP TABLE move (noun TEXT, id TEXT, before TEXT, after TEXT)")
        for noun in MACHINES:
            self.db.execute(
                f"CREATE TEMP TRIGGER {noun}_moves AFTER UPDATE OF state ON main.{noun}"
                " WHEN old.state != new.state BEGIN"
                f" INSERT INTO move VALUES ('{noun}', new.id, old.state, new.state); END"
            )
        daemon = Daemon("0", 1, 1, self.clock.now_ms(), "s", state="ready")
        plain: Any = Store(self.store)
        ports: Any = Drivers(), Spools()
        self.core = Core(plain, self.clock, daemon, *ports, 3, lambda agents: None, **absent.parts())
        self.caller = Caller("operator", 0)

    def close(self) -> None:
        self.store.close()

    def do(self, operation: transaction.Operation[T]) -> T:
        """One operation of the runtime."""
        return self.store.do(operation)

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], params: Any) -> T | str:
        """One call: its answer, or the name of the error."""
        try:
            return at_once(function(self.core, self.caller, params))
        except errors.DashError as error:
            return type(error).__name__

    def rows(self, query: str) -> list[Any]:
        return self.db.execute(query).fetchall()

    def take_moves(self) -> None:
        """Checks that each move since the last look was along an arrow, and remembers the arrow's letter."""
        for noun, id_, before, after in self.rows("SELECT * FROM move"):
            found = [
                letter
                for letter, (sources, target) in MACHINES[noun].arrows.items()
                if before in sources and target == after
            ]
            assert found, f"{noun} {id_} went from {before} to {after}"
            self.letters |= {f"{noun} {letter}" for letter in found}
        self.db.execute("DELETE FROM move")


class Store:
    """The parts of a store that the service uses, with nothing that waits."""

    def __init__(self, inline: InlineStore) -> None:
        self.tail, self.bells, self.path = inline.tail, inline.bells, inline.path
        self.writer = self.reader = self
        self._inline = inline

    async def apply(self, operation: transaction.Operation[T]) -> T:
        return self._inline.do(operation)

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        return query(self._inline.db)


class Drivers:
    """One driver, which takes anything."""

    async def choose(self, name: str | None, *, has_argv: bool) -> tuple[str, str]:
        return "command", "it is the only one"

    def abilities(self, name: str) -> DriverAbilities:
        return driver_abilities("hard", message=False)

    def remarks(self, name: str, argv: Sequence[str]) -> list[str]:
        return []

    async def check(
        self, name: str, argv: Sequence[str] | None, cwd: str | None, *, away: bool = False
    ) -> tuple[list[str], str]:
        return list(argv or ["true"]), cwd or "/"


class Spools:
    """Nothing was ever printed."""

    async def read(self, launch_id: str, offset: int | None, bytes_max: int, stream: int | None) -> Chunk:
        return Chunk(b"", 0)

    def ticket(self, launch_id: str) -> Any:
        raise AssertionError("nobody waits here")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("it waited")
