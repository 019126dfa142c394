"""A run's bounds in the care of the watchdog: whom it watches, and how an agent that went over one is ended.

An attempt that ended so is not tried again: the same task would come to the same bound, and until then do to
the others what it did before. What it was over is said to the holder before the kill, so that it is in the
exit record of a run whose daemon died before it wrote a row.
"""

import contextlib
import dataclasses
import signal
from pathlib import Path

from dashd import threads
from dashd.domain.attempt import Ending
from dashd.jail import processes
from dashd.jail.holder_link import HolderGone, HolderLink
from dashd.jail.watchdog import Guard, Quota, Watchdog

from .jails import SCRATCH, Asked, written_folders

OUTPUT_BYTES_MAX = 256 << 20
"""What is kept of an attempt's output; the rest is thrown away, counted, and its exit record says so."""
UNHEARD = (
    f"output {OUTPUT_BYTES_MAX >> 20} MiB exceeded: no more is kept of an attempt, so that nothing it says"
    " could be heard; have its commands print into files"
)


LOST = (
    "a part of its output could not be written, because the disk with Dash's state folder is full or fails:"
    " what it said there was not heard; `dashd doctor` shows how much room there is"
)


class Bounds:
    """The bounds of one attempt."""

    def __init__(self, watchdog: Watchdog, asked: Asked, folder: Path) -> None:
        """`folder` is the launch's."""
        self._watchdog = watchdog
        self._asked = asked
        self._folder = folder
        self._quotas: tuple[Quota, ...] | None = None
        self._guard: Guard | None = None
        self._own_processes = False
        self._unheard = False

    async def start(self, grade: str | None) -> None:
        """Before the agent starts, or when it is taken over: what is on disk now does not count.

        `grade` None: an earlier daemon died before it wrote it down, so that the weaker is assumed.
        """
        self._quotas = _quotas(self._asked, grade, self._folder)
        self._own_processes = grade in ("A", "B")
        if self._quotas:
            await self._watchdog.start(self._quotas)

    async def keep(self, link: HolderLink, grade: str | None) -> None:
        """Ends the agent should it go over one of them; `grade` is for one that was taken over."""
        if self._quotas is None:
            await self.start(grade)
        if self._guard is None or self._guard.breach is None:  # else its end was cut short
            self._guard = _guard(self._asked, self._quotas or (), link)
        if self._guard is not None:
            with self._watchdog.watching(self._guard), contextlib.suppress(HolderGone):
                await self._guard.breached.wait()
                await self._end_at_once(link, self._guard)

    async def hear(self, link: HolderLink, heard_bytes: int, lost_bytes: int = 0) -> None:
        """Ends one that is talked with by what it prints, once it has printed all that is kept, or something
        of it is lost: it would seem to work until its time is over.
        """
        if (lost_bytes or heard_bytes >= OUTPUT_BYTES_MAX) and not self._unheard:
            self._unheard = True
            with contextlib.suppress(HolderGone):
                await link.breach(LOST if lost_bytes else UNHEARD)

    async def _end_at_once(self, link: HolderLink, guard: Guard) -> None:
        """The jail goes with all that is in it; the holder sees to the rest.

        Not by the holder alone: it would first be polite to every process of what may be a bomb of them.
        With a PID namespace the kernel ends all with the first one; without, they are stopped, then ended.
        """
        assert guard.breach is not None
        await link.breach(guard.breach.text)
        processes.send_signal(link.adopted.pid, link.adopted.start_time, signal.SIGKILL)
        if not self._own_processes:
            await threads.run(processes.end_tree, guard.holder)
        await link.stop(0)

    def explained(self, ending: Ending, recorded: str | None, *, stopped: bool = False) -> Ending:
        """The ending with the bound as its reason; what succeeded all the same has succeeded.

        `recorded` is what the exit record says of a bound; `stopped`: it was dashd that ended it.
        """
        seen = self._guard.breach if self._guard is not None else None
        reason = seen.text if seen is not None else recorded
        if reason is None and not stopped:
            reason = _cpu(self._asked, ending)
        if reason is None or ending.state != "failed":
            return ending
        # A full disk is not its own doing, and may have room by then.
        return dataclasses.replace(ending, reason=reason, retry=ending.retry and reason == LOST)


def _cpu(asked: Asked, ending: Ending) -> str | None:
    """The bound on processor time, which the kernel holds, where that is how the program ended.

    A shell gives the signal of what it ran as an exit code. SIGKILL has other causes too, so there the time
    that was used decides.
    """
    most = asked.bounds.cpu_s
    if not asked.required or most is None:
        return None
    ended = (ending.exit_signal, (ending.exit_code or 0) - 128)
    killed = signal.SIGKILL in ended and (ending.cpu_ms or 0) >= most * 1_000
    if not killed and signal.SIGXCPU not in ended:
        return None
    return f"a process used its {most} s of processor time; --cpu-s raises it"


def _quotas(asked: Asked, grade: str | None, folder: Path) -> tuple[Quota, ...]:
    if not asked.required or grade == "0":
        return ()
    bounds = asked.bounds
    quotas = [Quota(written_folders(asked), bounds.disk_bytes, bounds.files)]
    if grade not in ("A", "B"):  # in a mount namespace these are of a size
        scratch = (str(folder / SCRATCH),)
        quotas.append(Quota(scratch, bounds.tmp_bytes, bounds.tmp_files, bound="temporary files"))
    return tuple(quotas)


def _guard(asked: Asked, quotas: tuple[Quota, ...], link: HolderLink) -> Guard | None:
    """Whom to watch: nobody where there is no jail, or no process any more."""
    if not quotas:
        return None
    try:
        holder = int(processes.stat_fields(link.adopted.pid)[1])
    except OSError:  # it has ended, and its record is on the way
        return None
    started = processes.start_time(holder)
    return None if started is None else Guard(holder, started, asked.bounds, quotas)
