"""Holds agents to what nobody but a daemon can count: memory of a whole tree, growth of its folders.

    memory    TICK_S: what the machine has available. LOOK_S, or as soon as that fell by half of what the
              nearest agent has left: RSS of all. Over its bound by that: the exact figures of this agent
    disk      DISK_S: free space and inodes. Only where they fell by an agent's bound: a walk of its folders
    unnamed   COUNT_S: what it holds open that no folder shows, and the files in its own tmpfs
    processes with the look at memory, threads counted as the kernel counts them

One task for all agents, asleep while there are none. It says who is over what; runtime ends the agent. While
dashd is away rlimits, sized tmpfs and the lease bind; what folders grew by until then is forgotten. Known to
pass: memory in up to 64 unix sockets and 64 pipes, and in more of them as much as the kernel gives back
elsewhere; a jail's tmpfs, which is sized and counts only where it is mapped; as much disk, in files with a
name or only mapped, as others free at the same time, or as free space lags behind (btrfs); files where a file
system makes room for them as they come.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec
import trio

from dashd import threads

from . import queues, usage, view
from .usage import Disk, Machine, Process, Walked
from .view import MIB, Bounds

TICK_S = 0.1
LOOK_S = 1.0
"""A look takes some 25 us a process of the machine."""
DISK_S = 0.5
COUNT_S = 1.0
"""Some 10 us an open file."""
REST = 3
"""Times as long as a look took nobody looks, so that a bomb of processes cannot make us one too."""
FALL_BYTES_MIN = 16 * MIB
log = logging.getLogger(__name__)
_CTIME_SLACK_S = 0.05
"""File times come from a clock that ticks."""


class Breach(msgspec.Struct, frozen=True):
    """A bound that an agent went over."""

    bound: str
    text: str
    """For people: the bound, what was seen, and how to raise it."""


@dataclass
class Quota:
    """By how much some folders may grow, from a start before their agent's: a file takes no time to make."""

    folders: tuple[str, ...]
    bytes_max: int
    files_max: int = sys.maxsize
    bound: str = "disk"
    since_s: float = 0.0
    free: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each file system, the most bytes and files that were free since."""
    walk_above: tuple[int, int] = 0, 0
    """Free bytes, or files, must have fallen by more than this before a walk can find anything."""

    def start(self, since_s: float, disks: Collection[Disk]) -> None:
        """What was written up to now does not count, or no longer."""
        self.since_s = since_s - _CTIME_SLACK_S
        self.free = {disk.device: (disk.free_bytes, disk.free_files) for disk in disks}
        self.walk_above = self.bytes_max, self.files_max

    def fallen(self, disks: Collection[Disk]) -> tuple[int, int]:
        """By how much free bytes and files fell; upper bounds of what the folders grew by."""
        size = files = 0
        for disk in disks:
            most = self.free.get(disk.device, (0, 0))
            most = max(most[0], disk.free_bytes), max(most[1], disk.free_files)
            self.free[disk.device] = most
            size, files = size + most[0] - disk.free_bytes, files + most[1] - disk.free_files
        return size, files

    def is_due(self, disks: Collection[Disk]) -> bool:
        """Whether a walk could find anything."""
        size, files = self.fallen(disks)
        return size > self.walk_above[0] or files > self.walk_above[1]

    def has(self, path: str) -> bool:
        """Whether that path is below its folders."""
        return any(path == each or path.startswith(f"{each.rstrip('/')}/") for each in self.folders)


@dataclass(eq=False, repr=False)
class Guard:
    """One agent under watch; its figures are those of the last look."""

    holder: int
    holder_started: int
    """Pid and start time of whose descendants the agent's processes are."""
    bounds: Bounds
    quotas: tuple[Quota, ...] = ()
    breach: Breach | None = None
    breached: trio.Event = field(default_factory=trio.Event)
    used_bytes: int = 0
    unseen_bytes: int = 0
    """What the last exact look found beyond RSS."""
    hidden_bytes: int = 0
    """Of the machine, the least since then."""
    kernel_bytes: int = 0
    """Of the machine, the least since it is watched."""

    def fail(self, breach: Breach) -> None:
        """Says so, once."""
        if self.breach is None:
            self.breach = breach
            self.breached.set()


class Watchdog:
    """All agents with bounds, in the care of one task."""

    def __init__(self, now_s: Callable[[], float], proc: str = "/proc") -> None:
        """`now_s` is the wall clock, which file times are held against."""
        self._now_s = now_s
        self._proc = proc
        self._guards: set[Guard] = set()
        self._some = trio.Event()
        self._seen: dict[Guard, list[Process]] = {}
        """The processes of each at the last look."""
        self._last = Machine(0, 0, sys.maxsize)
        """The machine, when it could last be looked at."""
        self._left_bytes = 0
        """What the agent nearest to its bound of memory had left."""

    async def start(self, quotas: Sequence[Quota]) -> None:
        """What is there now does not count."""
        folders = {folder for quota in quotas for folder in quota.folders}
        found = await threads.run(usage.disks, folders)
        for quota in quotas:
            quota.start(self._now_s(), _of(quota, found))

    @contextlib.contextmanager
    def watching(self, guard: Guard) -> Iterator[Guard]:
        """Watches an agent for as long as the block runs."""
        guard.kernel_bytes = self._machine().kernel_bytes
        self._guards.add(guard)
        self._left_bytes = min(self._left_bytes, guard.bounds.memory_bytes)
        self._some.set()
        try:
            yield guard
        finally:
            self._forget(guard)

    async def run(self) -> NoReturn:
        """Looks for as long as there is somebody to look at, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_disks)
            await self._watch_processes()

    def _machine(self) -> Machine:
        """Where it cannot be read for now, as it was at the last look."""
        with contextlib.suppress(OSError):
            self._last = usage.machine(self._proc)
        return self._last

    def _forget(self, guard: Guard) -> None:
        self._guards.discard(guard)
        self._seen.pop(guard, None)
        if not self._guards and self._some.is_set():
            self._some = trio.Event()

    def _tell(self, breaches: Sequence[tuple[Guard, Breach]]) -> None:
        for guard, breach in breaches:
            if guard in self._guards:
                self._forget(guard)
                guard.fail(breach)

    # -- memory and processes ------------------------------------------------------------------------------

    async def _watch_processes(self) -> NoReturn:
        alone = trio.CapacityLimiter(1)  # whatever else waits for a thread, this does not
        while True:
            await self._some.wait()
            begun, machine = trio.current_time(), self._machine()
            guards = tuple(self._guards)
            trees, breaches = await threads.run(self._look, guards, machine, limiter=alone)
            # Agents may have ended during the look; what a thread works with is nobody else's meanwhile.
            self._seen = {guard: tree for guard, tree in trees.items() if guard in self._guards}
            self._tell(breaches)
            left = (guard.bounds.memory_bytes - guard.used_bytes for guard in self._guards)
            self._left_bytes = min(left, default=0)
            await self._rest(machine, trio.current_time() - begun)

    async def _rest(self, machine: Machine, took_s: float) -> None:
        """Until the next look is due, or the machine's memory says that it cannot wait."""
        ended = trio.current_time()
        earliest = ended + REST * took_s
        due = max(ended + LOOK_S, earliest)
        while self._guards and (now := trio.current_time()) < due:
            await trio.sleep(min(TICK_S, due - now))
            fallen = machine.available_bytes - self._machine().available_bytes
            if fallen > max(FALL_BYTES_MIN, self._left_bytes // 2) and trio.current_time() >= earliest:
                return

    def _look(
        self, guards: Sequence[Guard], machine: Machine
    ) -> tuple[dict[Guard, list[Process]], list[tuple[Guard, Breach]]]:
        """In a thread: one scan for all of them. What runs of each, and who is over what."""
        trees = self._trees(guards)
        found = (
            (guard, self._memory(guard, tree, machine) or _processes(guard, tree))
            for guard, tree in trees.items()
        )
        return trees, [(guard, breach) for guard, breach in found if breach]

    def _trees(self, guards: Sequence[Guard]) -> dict[Guard, list[Process]]:
        """The processes of each; none of one whose holder's pid is somebody else's by now."""
        try:
            found = usage.all_processes(self._proc)
        except OSError as error:  # no descriptor is left, mostly: it is for the next look to find
            log.warning("nobody can be looked at: %s", error)
            found = {}
        trees = usage.trees(found, {guard.holder for guard in guards})
        live = [
            guard
            for guard in guards
            if (holder := found.get(guard.holder)) and holder.started == guard.holder_started
        ]
        return {guard: [] for guard in guards} | {guard: trees[guard.holder] for guard in live}

    def _memory(self, guard: Guard, tree: list[Process], machine: Machine) -> Breach | None:
        rss = sum(process.rss_bytes for process in tree)
        guard.hidden_bytes = min(guard.hidden_bytes, machine.hidden_bytes)
        guard.kernel_bytes = min(guard.kernel_bytes, machine.kernel_bytes)
        guard.used_bytes = rss + guard.unseen_bytes + machine.hidden_bytes - guard.hidden_bytes
        if guard.used_bytes <= guard.bounds.memory_bytes:
            return None
        guard.used_bytes = self._exact(guard, tree, machine)
        guard.unseen_bytes, guard.hidden_bytes = max(0, guard.used_bytes - rss), machine.hidden_bytes
        if guard.used_bytes <= guard.bounds.memory_bytes:
            return None
        seen = f"{_mib(guard.used_bytes)} MiB in {_count(len(tree), 'process', 'processes')}"
        bound = f"memory {_mib(guard.bounds.memory_bytes)} MiB exceeded"
        return Breach("memory", f"{bound} ({seen}); --memory-mb raises it")

    def _exact(self, guard: Guard, tree: list[Process], machine: Machine) -> int:
        """Over the bound only if it is so twice: pages of processes that end meanwhile move to the others."""
        grown = machine.kernel_bytes - guard.kernel_bytes
        used = self._used(tree, grown)
        if used > guard.bounds.memory_bytes:
            used = min(used, self._used(self._trees([guard])[guard], grown))
        return used

    def _used(self, tree: list[Process], grown: int) -> int:
        """What sockets and pipes may hold counts as far as the kernel itself has grown, by whomever."""
        queued = min(grown, queues.queued_bytes(tree, self._proc)) if grown > 0 else 0
        return usage.memory_bytes(tree, self._proc) + queued

    # -- disk ----------------------------------------------------------------------------------------------

    async def _watch_disks(self) -> NoReturn:
        alone = trio.CapacityLimiter(1)  # apart from the other: a file system that hangs must not stop both
        count_at = 0.0
        while True:
            await self._some.wait()
            guards = tuple(self._guards)
            self._tell(await threads.run(self._look_at_disks, guards, limiter=alone))
            if (begun := trio.current_time()) >= count_at:
                self._tell(await threads.run(self._count, tuple(self._guards), limiter=alone))
                ended = trio.current_time()
                count_at = max(begun + COUNT_S, ended + REST * (ended - begun))
            await trio.sleep(DISK_S)

    def _count(self, guards: Sequence[Guard]) -> list[tuple[Guard, Breach]]:
        """In a thread: what a walk does not see. Over the bound only if it is so of who lives now as well."""
        found = []
        for guard in guards:
            tree = self._seen.get(guard, [])
            if self._uncounted(guard, tree):
                breach = self._uncounted(guard, self._trees([guard])[guard])
                found += [(guard, breach)] if breach else []
        return found

    def _uncounted(self, guard: Guard, tree: Sequence[Process]) -> Breach | None:
        for quota in guard.quotas:
            held, _ = self._unnamed(guard, quota, tree)
            if held > quota.bytes_max:
                return _breach(quota, f"{_mib(held)} MiB in open files without a name")
        files, most = usage.tmpfs_files(tree, view.TMP_PLACES, self._proc), guard.bounds.tmp_files
        if guard.quotas and files > most:
            return Breach("temporary files", f"temporary files {most} exceeded ({files} in one tmpfs)")
        return None

    def _unnamed(
        self, guard: Guard, quota: Quota, tree: Sequence[Process], *, thorough: bool = False
    ) -> tuple[int, bool]:
        """Bytes in files without a name, and whether some are hidden. The first quota has the rest."""
        others = [each for each in guard.quotas if each is not quota]
        found = usage.unnamed(tree, quota.free, self._proc, thorough=thorough)
        own = quota is guard.quotas[0]
        return sum(
            size for path, size in found.files if quota.has(path) or (own and not _any_has(others, path))
        ), found.hidden

    def _look_at_disks(self, guards: Sequence[Guard]) -> list[tuple[Guard, Breach]]:
        """In a thread: what fell, and walks where it matters; whoever wrote most is looked at first."""
        disks = usage.disks({folder for guard in guards for each in guard.quotas for folder in each.folders})
        due: dict[tuple[str, ...], list[tuple[Guard, Quota]]] = {}
        for guard in guards:
            for quota in guard.quotas:
                if quota.is_due(_of(quota, disks)):
                    due.setdefault(quota.folders, []).append((guard, quota))
        if not due:
            return []
        trees = self._trees([guard for each in due.values() for guard, _ in each])
        written = {guard: usage.written_bytes(tree, self._proc) for guard, tree in trees.items()}
        order = sorted(due, key=lambda folders: -sum(written[guard] for guard, _ in due[folders]))
        found = (self._walk(due[folders], trees, written, disks) for folders in order)
        return [breach for breach in found if breach]

    def _walk(
        self,
        sharing: list[tuple[Guard, Quota]],
        trees: dict[Guard, list[Process]],
        written: dict[Guard, int],
        disks: dict[str, Disk],
    ) -> tuple[Guard, Breach] | None:
        """One walk for all who share these folders. Of several, who wrote most is at fault."""
        folders = sharing[0][1].folders
        on = _of(sharing[0][1], disks)
        since_s = min(quota.since_s for _, quota in sharing)
        walked = usage.changed_since(
            folders,
            since_s,
            enough_bytes=max(quota.bytes_max for _, quota in sharing),
            enough_files=max(quota.files_max for _, quota in sharing),
        )
        over: list[tuple[Guard, Quota, Breach]] = []
        where = ", ".join(folders)
        for guard, quota in sharing:
            fallen = quota.fallen(on)
            size, files = self._grown(guard, quota, trees[guard], walked, written[guard], fallen)
            if size > quota.bytes_max:
                over.append((guard, quota, _breach(quota, f"{_mib(size)} MiB written below {where}")))
            elif files > quota.files_max:
                limit, seen = f"{quota.files_max} files", f"{files} made below {where}"
                over.append((guard, quota, _breach(quota, seen, limit)))
            else:  # free space has to fall by what is left before there can be more
                quota.walk_above = fallen[0] + quota.bytes_max - size, fallen[1] + quota.files_max - files
        if not over:
            return None
        guard, _, breach = max(over, key=lambda each: written[each[0]])
        for _, other, _ in over:  # what is there now stays there, and is nobody else's fault
            other.start(self._now_s(), on)
        return guard, breach

    def _grown(
        self,
        guard: Guard,
        quota: Quota,
        tree: Sequence[Process],
        walked: Walked,
        written: int,
        fallen: tuple[int, int],
    ) -> tuple[int, int]:
        """Bytes and files; where something cannot be seen, what fell stands for it."""
        held, hidden = self._unnamed(guard, quota, tree, thorough=True)
        size, files = walked.changed_bytes + held, walked.changed_files
        if not walked.finished:
            size = max(size, written)
            if 2 * files > walked.seen_files:  # changed folders come first, so there is more of it
                files = fallen[1]
        if walked.closed or hidden:
            return fallen
        return min(fallen[0], size), min(fallen[1], files)


def _any_has(quotas: Sequence[Quota], path: str) -> bool:
    return any(quota.has(path) for quota in quotas)


def _breach(quota: Quota, seen: str, limit: str = "") -> Breach:
    bound = f"{quota.bound} {limit or f'{_mib(quota.bytes_max)} MiB'} exceeded"
    how = "--disk-mb raises it" if quota.bound == "disk" else "its temporary files count"
    return Breach(quota.bound, f"{bound} ({seen}); {how}")


def _of(quota: Quota, disks: dict[str, Disk]) -> set[Disk]:
    return {disks[folder] for folder in quota.folders if folder in disks}


def _processes(guard: Guard, tree: Sequence[Process]) -> Breach | None:
    threads = sum(process.threads for process in tree)
    if threads <= guard.bounds.processes:
        return None
    bound = f"processes {guard.bounds.processes} exceeded"
    seen = f"{threads} threads in {_count(len(tree), 'process', 'processes')}"
    return Breach("processes", f"{bound} ({seen}); --processes raises it")


def _mib(count_bytes: int) -> int:
    """Rounded up, so that what is over a bound never looks equal to it."""
    return -(-count_bytes // MIB)


def _count(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
