"""How soon twenty real Pis are ready, beside the same ones started by hand."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import trio

from dashd.drivers.driver import ModelAccess, Work
from dashd.drivers.pi import PiDriver
from dashd.drivers.programs import Programs
from dashd.jail import probe
from dashd.runtime.world import STARTS_PER_CORE_MAX, cores
from tests.fakes.provider import MODEL, Act
from tests.live.scenes import Scene, scene

pytestmark = pytest.mark.live

AGENTS = 20
RATIO_MAX = 1.2
ROUNDS = 3


def by_hand(programs: Programs, folder: Path, url: str) -> list[str]:
    """The command of one Pi in a plain jail of bubblewrap's, with the machine's network and a /tmp that all
    of them share: there Pi keeps its compile cache.
    """
    work = Work(
        argv=(), item="", task="", cwd=str(folder), swarm_id="s", agent_id="s-001", task_id="s-t1",
        timeout_s=300.0, model=ModelAccess(url, "dk_x", MODEL), isolated=False, write=(),
    )  # fmt: skip
    command = PiDriver(programs).command(work, {"PATH": os.environ["PATH"]})
    bwrap = probe.find_bwrap()
    assert bwrap is not None
    walls = ["--die-with-parent", "--new-session", "--unshare-all", "--share-net", "--clearenv"]
    shown = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"]
    own = {**command.env, "HOME": "/run", "TMPDIR": "/tmp"}
    environ = [word for name, value in own.items() for word in ("--setenv", name, value)]
    shared = folder.with_name(f"{folder.name}-tmp")
    shared.mkdir()
    given = ["--bind", str(shared), "/tmp", "--bind", str(folder), str(folder)]
    return [bwrap, *walls, *shown, *given, "--chdir", str(folder), *environ,
            "--", *command.argv]  # fmt: skip


async def start_by_hand(argv: list[str], count: int) -> float:
    """Seconds until all of them have answered; as few at once as Dash has, each with a task from then on."""
    places = trio.Semaphore(STARTS_PER_CORE_MAX * cores())
    began = trio.current_time()

    async def one() -> None:
        async with places:
            process = await trio.lowlevel.open_process(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send_all(b'{"id":"ready","type":"get_state"}\n')
            said = b""
            while b'"id":"ready"' not in said:
                said += await process.stdout.receive_some(65_536)
        started.append(process)
        await process.stdin.send_all(b'{"id":"task","type":"prompt","message":"wait"}\n')

    started: list[trio.Process] = []
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
        return trio.current_time() - began
    finally:
        with trio.CancelScope(shield=True):  # bounded: they are killed
            for process in started:
                process.kill()
                await process.wait()


async def start_by_dash(on: Scene, count: int) -> float:
    """Seconds from the call until the last of them has answered, by when its holder got that."""
    began = time.time()
    swarm = await on.swarm("wait", agents=count, items=[f"i{number}" for number in range(count)])
    seen: dict[str, float] = {}
    launches = on.daemon.state / "launches"
    while len(seen) < count:
        for folder in launches.glob(f"{swarm}-*"):
            if folder.name not in seen and b'"id":"ready"' in _spooled(folder):
                seen[folder.name] = time.time()
        await trio.sleep(0.1)
    await on.dash.call("swarm.destroy", swarm=swarm)
    await on.dash.events(swarm, "swarm.destroyed")
    return max(seen.values()) - began


def _spooled(folder: Path) -> bytes:
    spool = folder / "spool"
    return spool.read_bytes() if spool.exists() else b""


async def test_twenty_are_ready_nearly_as_soon_as_by_hand(start_daemon, programs, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, lambda _: Act(delay_s=300.0), within_s=600.0) as on:
        argv = by_hand(programs, tmp_path, on.provider.url)
        await start_by_hand(argv, 2)  # what both read is in memory from now on
        hand, dash = [], []
        for _ in range(ROUNDS):
            hand.append(await start_by_hand(argv, AGENTS))
            dash.append(await start_by_dash(on, AGENTS))
        print(f"ready: by hand {hand}, by dash {dash}")
        assert min(dash) <= RATIO_MAX * min(hand), (hand, dash)
