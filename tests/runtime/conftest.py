"""A runtime over rows and made-up holders, in virtual time: no thread and no process works in these tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from dashd.crash_points import CrashPoints
from dashd.drivers import Programs, over
from dashd.jail.launch import Outside
from dashd.jail.watchdog import Watchdog
from dashd.runtime import scheduler
from dashd.runtime.jails import Jails
from dashd.runtime.placing import Placing
from dashd.runtime.supervisor import Supervisor
from dashd.runtime.transcripts import Transcripts
from dashd.runtime.world import World
from dashd.store import attempts
from dashd.store.queue import Claim
from dashd.store.transaction import Tx
from tests.fakes import desk
from tests.fakes.clock import FixedClock
from tests.fakes.desk import There, stand
from tests.fakes.doors import FakeDoors
from tests.fakes.holders import FakeHolder
from tests.fakes.inline import InlineStore
from tests.fakes.launch import FakeLauncher
from tests.fakes.scene import SWARM, Scene
from tests.fakes.trees import FakeWorkspaces

FOR_EVER_S = 1_000_000
"""Of virtual time: where nothing more can happen, a test fails at once instead of hanging."""


class VirtualClock(FixedClock):
    """Wall time that moves with trio's clock; every random bit is 1, so that delays are as long as can be."""

    def now_ms(self) -> int:
        try:
            return self.at_ms + round(trio.current_time() * 1_000)
        except RuntimeError:
            return self.at_ms

    def steady_ms(self) -> int:
        return self.now_ms()

    def token(self, bits: int) -> int:
        return 2**bits - 1


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(autouse=True)
def everything_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runtime reads in worker threads is read at once: a mock clock jumps while threads work."""

    async def inline(function: Callable[..., Any], *arguments: Any, **_options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)


@pytest.fixture
def launchers() -> Iterator[list[FakeLauncher]]:
    """Closes what is in the list, apart from the loop, whose end may have cancelled everything else."""
    made: list[FakeLauncher] = []
    yield made
    for launcher in made:
        launcher.close()


@pytest.fixture
async def bed(
    launchers: list[FakeLauncher],
    inline_store: InlineStore,
    scene: Scene,
    clock: VirtualClock,
    tmp_path: Path,
    nursery: trio.Nursery,
) -> "Bed":
    """Use it with `autojump_clock`, which pytest-trio sees only among a test's own arguments."""
    made = Bed(inline_store, scene, clock, tmp_path / "launches", nursery)
    launchers.append(made.launcher)
    return made


class Bed:
    """A world, its supervisor and short ways to both."""

    def __init__(self, store: InlineStore, scene: Scene, clock: VirtualClock, launches, nursery) -> None:
        self.store = store
        self.scene = scene
        self.nursery = nursery
        self.launcher = FakeLauncher(launches, nursery)
        self.doors = FakeDoors()
        self.world = World(
            store=store,  # type: ignore[arg-type]
            clock=clock,
            launcher=self.launcher,  # type: ignore[arg-type]
            launches=launches,
            drivers=over(Programs()),
            epoch=1,
            environ={"PATH": "/usr/bin:/bin", "ANTHROPIC_API_KEY": "canary"},
            agents_max=100,
            points=CrashPoints(),
            doors=self.doors,
            gateway_doors=desk.FakeDoors(),
            jails=Jails("0", Outside(), {}),
            watchdog=Watchdog(lambda: clock.now_ms() / 1_000),
            workspaces=FakeWorkspaces(launches.parent / "workspaces"),  # type: ignore[arg-type]
            transcripts=Transcripts(launches.parent / "sessions", launches),
            checkpoints_bytes_max=1 << 30,
        )
        launches.mkdir()
        self.supervisor = Supervisor(self.world, nursery)

    def go(self) -> None:
        """Scheduler and supervisor run from now on."""
        self.nursery.start_soon(self.supervisor.watch_wishes)
        placing = Placing({}, dict, self.world.gateways.up)
        self.nursery.start_soon(scheduler.run, self.world, self.supervisor.start, placing)

    def ask(self, operation: Callable[[Tx], object]) -> None:
        """What a service function would have written, and its bell."""

        def asked(tx: Tx) -> None:
            operation(tx)
            tx.ring("agents")

        self.scene.do(asked)

    def claim(self) -> Claim:
        """One claim that is not started yet."""
        (claim,) = self.scene.claim(attempts.open_count(self.store.db) + 1)
        return claim

    async def running(self, launch_id: str) -> FakeHolder:
        """Returns once the rows say that it runs: its holder."""
        holder = await self.launcher.launched(launch_id)
        query = "SELECT state FROM attempt WHERE id = ?"
        with trio.fail_after(FOR_EVER_S):
            while self.store.db.execute(query, (launch_id,)).get != "running":
                await self.store.bells.events.ticket().wait()
        return holder

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Returns once events of this kind have been committed `count` times: the last of them."""
        with trio.fail_after(FOR_EVER_S):
            while len(found := [event for event in self.scene.events() if event["kind"] == kind]) < count:
                await self.store.bells.events.ticket().wait()
        return found[-1]


@pytest.fixture
def there(bed: Bed, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> There:
    """An added gateway, and all that it stands on."""
    return stand(bed, nursery, monkeypatch)


@pytest.fixture
def begun(bed):
    """A swarm of one task, its attempt launched and running: its holder."""

    async def begin(**swarm):
        bed.scene.swarm("a", **swarm)
        bed.go()
        return await bed.running(f"{SWARM}-t1.1")

    return begin
