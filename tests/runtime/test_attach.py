"""A launch taken over, by its holder or by its folder; more of it in tests/runtime/test_run.py."""

import errno

import trio

from dashd.jail import launch_folder, processes
from dashd.jail.launcher import ForkServerGone
from dashd.runtime.run import Run
from tests.fakes.scene import SWARM

LAUNCH = f"{SWARM}-t1.1"


async def test_a_lease_that_ran_out_while_nobody_was_connected(bed, autojump_clock, monkeypatch) -> None:
    ended = []
    monkeypatch.setattr(processes, "end_marked", lambda *what: ended.append(what))
    bed.scene.swarm("a", lease_s=7.0)
    bed.go()
    holder = await bed.running(LAUNCH)
    holder.drops()
    holder.exits(None, sig=9, reason="lease")
    await bed.until("agent.lost")
    assert ended == [(LAUNCH,)]  # its holder may have been killed after the record and before the kill


async def test_a_full_disk_keeps_what_became_of_a_launch_undecided(bed, autojump_clock, monkeypatch) -> None:
    examine, looks = launch_folder.examine, []

    def full(folder):
        looks.append(trio.current_time())
        if len(looks) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return examine(folder)

    monkeypatch.setattr(launch_folder, "examine", full)
    bed.scene.swarm("a")
    bed.launcher.refusal = ForkServerGone("gone")
    run = Run(bed.world, bed.claim())
    await run.prepare()
    with trio.move_on_after(1.5):
        await run.launch()
    assert "No space left" in bed.world.trouble.text
    assert (await run.attach()).state == "never"
    assert looks == [0.0, 1.0, 1.5, 2.5]


async def test_what_survives_sigkill_is_waited_for_and_said(bed, autojump_clock, monkeypatch) -> None:
    """A process that the kernel is stuck with, as on a file system that is away."""
    tries, tried = [], trio.Event()

    def stuck(*_what):
        tries.append(trio.current_time())
        tried.set()
        if len(tries) < 3:
            raise TimeoutError("pids [7] of it survive SIGKILL")

    monkeypatch.setattr(processes, "end_marked", stuck)
    bed.scene.swarm("a", lease_s=7.0)
    bed.go()
    holder = await bed.running(LAUNCH)
    holder.drops()
    holder.exits(None, sig=9, reason="lease")
    await tried.wait()
    await trio.sleep(0.1)
    assert "survive SIGKILL" in bed.world.trouble.text
    await bed.until("agent.lost")
    assert len(tries) == 3
