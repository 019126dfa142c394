"""What every test folder shares. Fixtures that only one folder needs live in that folder's conftest."""

import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import settings

from dashd import threads
from dashd.service.core import Caller, Core, Daemon
from dashd.store import Store, database, migrations, open_store
from tests.fakes import absent
from tests.fakes.clock import FixedClock
from tests.fakes.inline import InlineStore
from tests.fakes.ports import FakeDrivers, FakeSpools
from tests.fakes.scene import Scene

# Started in the background of a script, the tests would ignore INT, and so would all that they start.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# The machine decides how long an example takes, so time is no reason to fail;
# and a run repeats the one before it.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")


@pytest.fixture
def clock() -> FixedClock:
    """Stands still until it is told to move."""
    return FixedClock()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy, because migrating one for every test costs more than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    connection = database.connect(path)
    migrations.migrate(connection, path, FixedClock())
    database.close(connection, checkpoint=True)
    return path


@pytest.fixture
def database_path(tmp_path: Path, empty_database: Path) -> Path:
    """A fresh migrated database."""
    return Path(shutil.copy(empty_database, tmp_path / "dash.db"))


@pytest.fixture
def inline_store(database_path: Path, clock: FixedClock) -> Iterator[InlineStore]:
    """A store without threads; use it with a clock that jumps, and where no event loop runs."""
    made = InlineStore(database_path, clock)
    yield made
    made.close()


@pytest.fixture
def scene(inline_store: InlineStore, clock: FixedClock) -> Scene:
    """Swarms in a store without threads."""
    return Scene(inline_store, clock)


@pytest.fixture
async def store(database_path: Path, clock: FixedClock) -> AsyncIterator[Store]:
    """The real store, writer thread and all; its test lasts 20 s at most."""
    with trio.fail_after(20):
        async with open_store(database_path, clock) as opened:
            yield opened


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """From now on each function is denied its first so many threads; gives the names of all that ask."""

    def begin(count: int) -> list[str]:
        run_sync, tries = trio.to_thread.run_sync, []

        async def start(function: Any, *arguments: object, **options: Any) -> object:
            tries.append(getattr(function, "__name__", str(function)))
            if tries.count(tries[-1]) <= count:
                raise RuntimeError("can't start new thread")
            return await run_sync(function, *arguments, **options)

        monkeypatch.setattr(trio.to_thread, "run_sync", start)
        return tries

    monkeypatch.setattr(threads, "AGAIN_S", 0)
    return begin


@pytest.fixture
def core(inline_store: InlineStore, clock: FixedClock) -> Core:
    """What a service function is given: the store without threads, a ready daemon, fake ports, no other part.

    `core.stop` appends to `core.daemon.warnings` what it was asked for.
    """
    daemon = Daemon("0.1", 4321, 3, clock.now_ms(), "/run/dashd.sock", state="ready")

    def stop(agents: str) -> None:
        daemon.warnings.append(f"stop {agents}")

    ports = FakeDrivers(), FakeSpools()
    return Core(inline_store, clock, daemon, *ports, 100, stop, **absent.parts())  # type: ignore[arg-type]


@pytest.fixture
def caller() -> Caller:
    """The operator."""
    return Caller("operator", uid=0)
