"""Who is over what, and when somebody looks: made-up /proc trees and disks, in virtual time."""

import contextlib
import errno
import time

import pytest
import trio
import trio.testing

from dashd.jail import queues, usage, watchdog
from dashd.jail.usage import Disk, Unnamed, Walked
from dashd.jail.view import MIB, Bounds
from dashd.jail.watchdog import Guard, Quota, Watchdog
from tests.fakes.proc import Proc

PAGES = MIB // 4096
KIB_OF_MIB = 1024
HOLDER = 100


@pytest.fixture
def proc(tmp_path) -> Proc:
    (tmp_path / "proc").mkdir()
    made = Proc(tmp_path / "proc")
    made.process(HOLDER, 1)
    return made


@pytest.fixture
def looks(monkeypatch) -> list[float]:
    """When /proc was scanned, in virtual time. What runs in threads runs at once: a mock clock jumps else."""
    made: list[float] = []
    real = usage.all_processes

    async def inline(function, *arguments, **_options):
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    def counted(path):
        made.append(trio.current_time())
        return real(path)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    monkeypatch.setattr(usage, "all_processes", counted)
    return made


@pytest.fixture
def dog(proc, looks, nursery) -> Watchdog:
    made = Watchdog(lambda: 1_000.0, proc.path)
    nursery.start_soon(made.run)
    return made


def _guard(*quotas: Quota, holder=HOLDER, **bounds) -> Guard:
    return Guard(holder, 7, Bounds(**bounds), quotas)


async def _breach(dog: Watchdog, guard: Guard, within_s: float = 5.0) -> str:
    with dog.watching(guard), trio.move_on_after(within_s):
        await guard.breached.wait()
    return guard.breach.text if guard.breach else ""


async def test_memory_of_a_tree_counts_shared_pages_once(autojump_clock, proc, dog) -> None:
    for pid in (101, 102):
        proc.process(pid, HOLDER, rss=60 * PAGES)
        proc.rollup(pid, Pss_Anon=40 * KIB_OF_MIB, Pss_File=10 * KIB_OF_MIB)
    assert await _breach(dog, _guard(memory_bytes=100 * MIB)) == ""
    proc.rollup(102, Pss_Anon=40 * KIB_OF_MIB, Pss_File=10 * KIB_OF_MIB + 1)
    found = await _breach(dog, _guard(memory_bytes=100 * MIB))
    assert found == "memory 100 MiB exceeded (101 MiB in 2 processes); --memory-mb raises it"


async def test_exact_figures_are_read_only_of_who_may_be_over(autojump_clock, proc, dog, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(usage, "memory_bytes", lambda tree, path: asked.append(tree) or 0)
    proc.process(101, HOLDER, rss=10 * PAGES)
    proc.meminfo(shmem=90 * KIB_OF_MIB)
    assert await _breach(dog, _guard(memory_bytes=100 * MIB)) == ""
    assert asked == []
    proc.meminfo(shmem=91 * KIB_OF_MIB)  # it might all be its own, so that is looked at, once
    assert await _breach(dog, _guard(memory_bytes=100 * MIB)) == ""
    assert len(asked) == 1


async def test_one_exact_look_over_the_bound_is_checked_by_another(
    autojump_clock, proc, dog, monkeypatch
) -> None:
    """Processes that end between two reads leave their share of common pages to the others."""
    found = iter([200 * MIB, 50 * MIB] + [50 * MIB] * 100)
    monkeypatch.setattr(usage, "memory_bytes", lambda tree, path: next(found))
    proc.process(101, HOLDER, rss=110 * PAGES)
    assert await _breach(dog, _guard(memory_bytes=100 * MIB)) == ""


async def test_agents_may_end_while_they_are_looked_at(autojump_clock, proc, dog, monkeypatch) -> None:
    watched = contextlib.ExitStack()
    ending = [watched.enter_context(dog.watching(_guard(memory_bytes=100 * MIB))) for _ in range(2)]
    monkeypatch.setattr(usage, "memory_bytes", lambda tree, path: watched.close() or 101 * MIB)
    proc.process(101, HOLDER, rss=101 * PAGES)
    assert "exceeded" in await _breach(dog, _guard(memory_bytes=100 * MIB)), "it goes on looking"
    assert not any(guard.breached.is_set() for guard in ending), "they are nobody's any more"


async def test_what_rss_does_not_show_is_looked_for_when_the_machine_has_more_of_it(
    autojump_clock, proc, dog, monkeypatch
) -> None:
    proc.process(101, HOLDER, rss=10 * PAGES)
    proc.meminfo(shmem=5 * KIB_OF_MIB)
    guard = _guard(memory_bytes=100 * MIB)
    monkeypatch.setattr(usage, "memory_bytes", lambda tree, path: 200 * MIB)
    with dog.watching(guard):
        await trio.sleep(3)
        assert guard.breach is None
        proc.meminfo(shmem=100 * KIB_OF_MIB)
        with trio.fail_after(3):
            await guard.breached.wait()


async def test_what_sockets_may_hold_counts_as_far_as_the_kernel_has_grown(
    autojump_clock, proc, dog, monkeypatch
) -> None:
    monkeypatch.setattr(queues, "queued_bytes", lambda tree, path: 500 * MIB)
    proc.process(101, HOLDER, rss=10 * PAGES)
    proc.rollup(101, Pss_Anon=10 * KIB_OF_MIB)
    proc.meminfo(kernel=300 * KIB_OF_MIB)  # before it began
    guard = _guard(memory_bytes=100 * MIB)
    with dog.watching(guard):
        await trio.sleep(3)
        proc.meminfo(kernel=390 * KIB_OF_MIB)
        await trio.sleep(3)
        assert guard.breach is None
        proc.meminfo(kernel=391 * KIB_OF_MIB)
        with trio.fail_after(3):
            await guard.breached.wait()
    assert guard.breach.text == "memory 100 MiB exceeded (101 MiB in 1 process); --memory-mb raises it"


async def test_what_the_kernel_has_grown_by_is_not_the_fault_of_who_has_no_sockets(
    autojump_clock, proc, dog, monkeypatch
) -> None:
    monkeypatch.setattr(queues, "queued_bytes", lambda tree, path: 0)
    proc.process(101, HOLDER, rss=10 * PAGES)
    with dog.watching(_guard(memory_bytes=100 * MIB)) as guard:
        await trio.sleep(3)
        proc.meminfo(kernel=900 * KIB_OF_MIB)
        await trio.sleep(5)
    assert guard.breach is None


async def test_an_exact_look_that_finds_nothing_is_not_repeated_until_there_is_more(
    autojump_clock, proc, dog, monkeypatch
) -> None:
    asked = []
    monkeypatch.setattr(usage, "memory_bytes", lambda tree, path: asked.append(tree) or 20 * MIB)
    proc.process(101, HOLDER, rss=10 * PAGES)
    with dog.watching(_guard(memory_bytes=100 * MIB)):
        await trio.sleep(3)
        proc.meminfo(shmem=500 * KIB_OF_MIB)  # somebody else's
        await trio.sleep(10)
    assert len(asked) == 1


async def test_processes_are_counted_with_their_threads(autojump_clock, proc, dog) -> None:
    proc.process(101, HOLDER, threads=6)
    proc.process(102, 101, threads=4)
    assert await _breach(dog, _guard(processes=10)) == ""
    proc.process(102, 101, threads=5)
    found = await _breach(dog, _guard(processes=10))
    assert found == "processes 10 exceeded (11 threads in 2 processes); --processes raises it"


async def test_a_holder_that_is_somebody_else_by_now_has_no_agent(autojump_clock, proc, dog) -> None:
    proc.process(HOLDER, 1, started=8)
    proc.process(101, HOLDER, threads=50)
    assert await _breach(dog, _guard(processes=10)) == ""


async def test_nobody_looks_while_there_is_nobody_to_look_at(autojump_clock, dog, looks, monkeypatch) -> None:
    woken = []
    real = usage.machine
    monkeypatch.setattr(usage, "machine", lambda path: woken.append(1) or real(path))
    await trio.sleep(1_000)
    assert (looks, woken) == ([], [])
    with dog.watching(_guard()):
        await trio.sleep(10.5)
    assert 9 <= len(looks) <= 12
    seen = len(woken)
    await trio.sleep(1_000)
    assert len(woken) <= seen + 1


async def test_memory_that_goes_fast_is_looked_at_at_once(autojump_clock, proc, dog, looks) -> None:
    proc.meminfo(available=1000 * KIB_OF_MIB)
    with dog.watching(_guard(memory_bytes=100 * MIB)):
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(watchdog.TICK_S * 1.5)
        assert len(looks) == 1
        proc.meminfo(available=960 * KIB_OF_MIB)  # less than half of what it has left
        await trio.sleep(watchdog.TICK_S)
        assert len(looks) == 1
        proc.meminfo(available=940 * KIB_OF_MIB)
        await trio.sleep(watchdog.TICK_S)
        assert len(looks) == 2


class Disks:
    """Scripted free space, walks and writes."""

    def __init__(self, monkeypatch) -> None:
        self.free = 1000 * MIB
        self.walked = Walked(0)
        self.walks: list[tuple[str, ...]] = []
        self.written: dict[int, int] = {}
        self.free_files = 1_000_000
        self.unnamed = Unnamed([])
        self.thorough: list[bool] = []
        self.tmpfs_files = 0
        monkeypatch.setattr(
            usage, "disks", lambda folders: {each: Disk(1, self.free, self.free_files) for each in folders}
        )
        monkeypatch.setattr(usage, "changed_since", self._walk)
        monkeypatch.setattr(usage, "unnamed", self._unnamed)
        monkeypatch.setattr(usage, "tmpfs_files", lambda tree, places, path: self.tmpfs_files)
        monkeypatch.setattr(
            usage, "written_bytes", lambda tree, path: sum(self.written.get(each.pid, 0) for each in tree)
        )

    def _unnamed(self, tree, devices, path, *, thorough) -> Unnamed:
        self.thorough.append(thorough)
        return self.unnamed

    def _walk(self, folders, since_s, *, enough_bytes, enough_files) -> Walked:
        self.walks.append(folders)
        return self.walked


@pytest.fixture
def disks(monkeypatch) -> Disks:
    return Disks(monkeypatch)


async def _started(dog: Watchdog, *folders: str, mib=100, **more) -> Quota:
    quota = Quota(folders, mib * MIB, **more)
    await dog.start([quota])
    return quota


async def test_folders_are_walked_only_where_free_space_fell_by_the_bound(
    autojump_clock, dog, looks, disks
) -> None:
    guard = _guard(await _started(dog, "/a"))
    with dog.watching(guard):
        disks.free -= 100 * MIB
        await trio.sleep(5)
        assert disks.walks == []
        disks.free -= 1
        disks.walked = Walked(30 * MIB)  # the rest is somebody else's doing
        await trio.sleep(5)
        assert (disks.walks, guard.breach) == ([("/a",)], None)
        disks.free -= 69 * MIB  # what it has left is 70
        await trio.sleep(5)
        assert len(disks.walks) == 1
        disks.free -= 2 * MIB
        disks.walked = Walked(101 * MIB)
        with trio.fail_after(1):
            await guard.breached.wait()
    assert guard.breach.text == "disk 100 MiB exceeded (101 MiB written below /a); --disk-mb raises it"


@pytest.mark.parametrize(
    ("walked", "deleted", "written", "over"),
    [
        (Walked(99 * MIB), 2 * MIB, 0, True),
        (Walked(99 * MIB), 0, 500 * MIB, False),
        (Walked(0, finished=False), 0, 500 * MIB, True),
        (Walked(0, closed=True), 0, 0, True),
        (Walked(5000 * MIB), 0, 0, True),
    ],
)
async def test_what_no_walk_can_show_is_judged_by_what_fell(
    autojump_clock, proc, dog, looks, disks, walked, deleted, written, over
) -> None:
    proc.process(101, HOLDER)
    guard = _guard(await _started(dog, "/a"))
    disks.walked, disks.written = walked, {101: written}
    disks.unnamed = Unnamed([("/a/f", deleted)])
    with dog.watching(guard):
        await trio.sleep(2)  # the tree has been seen
        disks.free -= 150 * MIB
        await trio.sleep(5)
    assert (guard.breach is not None) == over
    if over:
        assert "(101 MiB" in guard.breach.text or "(150 MiB" in guard.breach.text


async def test_files_without_a_name_count_whatever_is_free(autojump_clock, proc, dog, looks, disks) -> None:
    proc.process(101, HOLDER)
    guard = _guard(await _started(dog, "/a"))
    with dog.watching(guard):
        disks.unnamed = Unnamed([("/a/f", 60 * MIB), ("/gone/g", 40 * MIB)])
        await trio.sleep(5)
        assert (guard.breach, disks.walks) == (None, [])
        disks.unnamed = Unnamed([("/a/f", 60 * MIB), ("/gone/g", 41 * MIB)])
        with trio.fail_after(2):
            await guard.breached.wait()
    assert guard.breach.text == (
        "disk 100 MiB exceeded (101 MiB in open files without a name); --disk-mb raises it"
    )
    assert not any(disks.thorough)


async def test_a_file_without_a_name_counts_where_it_was(autojump_clock, proc, dog, looks, disks) -> None:
    proc.process(101, HOLDER)
    scratch = await _started(dog, "/s", mib=10, bound="temporary files")
    guard = _guard(await _started(dog, "/a"), scratch)
    with dog.watching(guard):
        disks.unnamed = Unnamed([("/a/f", 60 * MIB)])
        await trio.sleep(5)
        assert guard.breach is None
        disks.unnamed = Unnamed([("/s/f", 11 * MIB)])
        with trio.fail_after(2):
            await guard.breached.wait()
    assert guard.breach.bound == "temporary files"


async def test_who_hides_files_is_judged_by_what_fell(autojump_clock, proc, dog, looks, disks) -> None:
    proc.process(101, HOLDER)
    guard = _guard(await _started(dog, "/a"))
    disks.unnamed = Unnamed([], hidden=True)
    with dog.watching(guard):
        await trio.sleep(5)
        assert guard.breach is None
        disks.free -= 101 * MIB
        with trio.fail_after(2):
            await guard.breached.wait()
    assert any(disks.thorough)


async def test_files_are_counted_where_the_free_ones_fell(autojump_clock, dog, looks, disks) -> None:
    guard = _guard(await _started(dog, "/a", files_max=1000))
    with dog.watching(guard):
        disks.free_files -= 1000
        await trio.sleep(5)
        assert disks.walks == []
        disks.free_files -= 500
        disks.walked = Walked(0, 900)
        await trio.sleep(5)
        assert (len(disks.walks), guard.breach) == (1, None)
        disks.free_files -= 101
        disks.walked = Walked(0, 1001)
        with trio.fail_after(2):
            await guard.breached.wait()
    assert guard.breach.text == "disk 1000 files exceeded (1001 made below /a); --disk-mb raises it"


@pytest.mark.parametrize(("seen", "over"), [(300, True), (900, False)])
async def test_a_walk_that_met_little_but_new_files_has_not_met_all(
    seen, over, autojump_clock, dog, looks, disks
) -> None:
    guard = _guard(await _started(dog, "/a", files_max=1000))
    disks.walked = Walked(0, 200, seen, finished=False)
    with dog.watching(guard):
        disks.free_files -= 5000
        await trio.sleep(5)
    assert (guard.breach is not None) == over


async def test_files_in_a_tmpfs_are_bounded(autojump_clock, dog, looks, disks) -> None:
    guard = _guard(await _started(dog, "/a"), tmp_bytes=4 * MIB)
    with dog.watching(guard):
        disks.tmpfs_files = 1024
        await trio.sleep(5)
        assert guard.breach is None
        disks.tmpfs_files = 1025
        with trio.fail_after(2):
            await guard.breached.wait()
    assert guard.breach.text == "temporary files 1024 exceeded (1025 in one tmpfs)"


async def test_of_those_who_share_a_folder_who_wrote_most_is_at_fault_and_the_others_begin_anew(
    autojump_clock, proc, dog, looks, disks
) -> None:
    proc.process(200, 1)
    proc.process(101, HOLDER)
    proc.process(201, 200)
    disks.written = {101: 5, 201: 6}
    honest, bomb = _guard(await _started(dog, "/a")), _guard(await _started(dog, "/a"), holder=200)
    with dog.watching(honest), dog.watching(bomb):
        await trio.sleep(2)
        disks.free -= 200 * MIB
        disks.walked = Walked(200 * MIB)
        await trio.sleep(20)
        assert bomb.breach is not None
        assert honest.breach is None
        assert len(disks.walks) == 1


async def test_space_that_others_gave_back_is_no_room_for_more(autojump_clock, dog, looks, disks) -> None:
    guard = _guard(await _started(dog, "/a"))
    disks.walked = Walked(150 * MIB)
    with dog.watching(guard):
        disks.free += 500 * MIB
        await trio.sleep(2)
        disks.free -= 140 * MIB
        with trio.fail_after(2):
            await guard.breached.wait()


def test_a_quota_starts_at_the_instant_it_is_told() -> None:
    quota = Quota(("/a",), MIB)
    now_s = time.monotonic()
    quota.start(now_s, [Disk(1, 5)])
    assert now_s - 1 < quota.since_s < now_s
    assert (quota.fallen([Disk(1, 2)]), quota.fallen([Disk(2, 9)])) == ((3, 0), (0, 0))


@pytest.mark.parametrize("what", ["machine", "all_processes"])
async def test_what_cannot_be_looked_at_for_a_while_is_looked_at_later(
    autojump_clock, proc, dog, monkeypatch, what
) -> None:
    """No descriptor is left, say: then nobody ends for it, dashd least of all."""

    def scarce(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(usage, "memory_bytes", lambda tree, path: 101 * MIB)
    proc.process(101, HOLDER, rss=101 * PAGES)
    with monkeypatch.context() as patched:
        patched.setattr(usage, what, scarce)
        if what == "all_processes":
            assert await _breach(dog, _guard(memory_bytes=100 * MIB)) == ""
        else:
            assert "exceeded" in await _breach(dog, _guard(memory_bytes=100 * MIB))
    assert "exceeded" in await _breach(dog, _guard(memory_bytes=100 * MIB))
