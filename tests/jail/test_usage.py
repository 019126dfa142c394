"""What processes use: made-up /proc trees, real trees of files, and this very process."""

import mmap
import os
import time

import pytest

from dashd.jail import usage
from dashd.jail.usage import Disk, Process
from tests.fakes.proc import Proc

PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1 << 10


@pytest.fixture
def proc(tmp_path) -> Proc:
    (tmp_path / "proc").mkdir()
    return Proc(tmp_path / "proc")


def test_a_look_finds_who_can_be_seen_and_passes_over_who_has_gone(proc) -> None:
    proc.process(10, 1, rss=3, name="a) (b c", threads=4)
    (proc.folder / "11").mkdir()
    (proc.folder / "12").mkdir()
    (proc.folder / "12" / "stat").write_text("")
    (proc.folder / "self").mkdir()
    assert usage.all_processes(proc.path) == {10: Process(10, 1, 4, 7, 3 * PAGE)}


def test_a_tree_is_all_descendants_and_not_the_root(proc) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (13, 12), (20, 1), (21, 20)):
        proc.process(pid, parent)
    found = usage.trees(usage.all_processes(proc.path), [10, 20, 99])
    assert {root: [each.pid for each in tree] for root, tree in found.items()} == {
        10: [11, 12, 13],
        20: [21],
        99: [],
    }


def test_the_machine_in_bytes(proc) -> None:
    proc.meminfo(available=100, shmem=20, swap=50, swap_free=45)
    assert usage.machine(proc.path) == (100 * KIB, 25 * KIB)


def test_memory_is_pss_and_swap_and_the_rss_of_who_hides(proc, monkeypatch) -> None:
    real = usage._read

    def hidden(path, bytes_max):
        if path.endswith("13/smaps_rollup"):
            raise PermissionError(13, "Permission denied")
        return real(path, bytes_max)

    monkeypatch.setattr(usage, "_read", hidden)
    for pid in (11, 12, 13):
        proc.process(pid, 10, rss=2)
    proc.rollup(11, Pss_Anon=10, Pss_File=1, Pss_Shmem=4, SwapPss=5)
    proc.rollup(12, Pss_Anon=100)
    tree = proc.tree(10)
    assert usage.memory_bytes(tree, proc.path) == (10 + 1 + 4 + 5 + 100) * KIB + 2 * PAGE
    gone = [*tree, Process(999, 10, 1, 1, 1 << 40)]
    assert usage.memory_bytes(gone, proc.path) == usage.memory_bytes(tree, proc.path)


def test_a_memory_file_counts_once_and_not_on_top_of_its_mapping() -> None:
    me = Process(os.getpid(), 0, 1, 1, 0)
    content = b"x" * (8 << 20)  # made before it counts: the heap need not give it back
    before = usage.memory_bytes([me])
    memfd = os.memfd_create("bomb")
    twin = os.dup(memfd)
    try:
        os.write(memfd, content)
        written = usage.memory_bytes([me])
        assert 7 << 20 < written - before < 12 << 20
        with mmap.mmap(memfd, 8 << 20) as mapped:
            assert mapped[::PAGE].count(b"x") == (8 << 20) // PAGE
            assert usage.memory_bytes([me]) - written < 4 << 20
    finally:
        os.close(memfd)
        os.close(twin)


def test_a_deleted_file_that_is_open_counts_on_its_own_disk(tmp_path) -> None:
    me = Process(os.getpid(), 0, 1, 1, 0)
    device = tmp_path.stat().st_dev
    before = usage.deleted_bytes([me], {device})
    with (tmp_path / "f").open("wb") as file:
        file.write(b"x" * (1 << 20))
        file.flush()
        os.unlink(tmp_path / "f")
        assert usage.deleted_bytes([me], {device}) - before >= 1 << 20
        assert usage.deleted_bytes([me], {device + 1}) == 0


def test_what_was_written_is_read_where_it_can_be(proc) -> None:
    for pid, text in ((11, "rchar: 5\nwrite_bytes: 70\n"), (12, "write_bytes: x\n"), (13, None)):
        proc.process(pid, 10)
        if text:
            (proc.folder / str(pid) / "io").write_text(text)
    assert usage.written_bytes(proc.tree(10), proc.path) == 70


def test_a_disk_is_asked_once_and_a_folder_that_is_not_there_is_left_out(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    found = usage.disks([str(tmp_path), str(tmp_path / "a"), str(tmp_path / "no")])
    assert set(found) == {str(tmp_path), str(tmp_path / "a")}
    assert found[str(tmp_path)] is found[str(tmp_path / "a")]
    assert found[str(tmp_path)] == Disk(tmp_path.stat().st_dev, found[str(tmp_path)].free_bytes)


def _filled(path, size=1 << 20):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def _changed(folder, since_s=0.0, enough=1 << 40, **more):
    return usage.changed_since([str(folder)], since_s, enough_bytes=enough, **more)


def test_a_walk_counts_what_changed_since_once_and_follows_no_link(tmp_path) -> None:
    scope = tmp_path / "scope"
    _filled(scope / "deep" / "er" / "f")
    _filled(tmp_path / "outside" / "f", 4 << 20)
    (scope / "link").symlink_to(tmp_path / "outside")
    os.link(scope / "deep" / "er" / "f", scope / "twin")
    found = _changed(scope)
    assert (found.finished, found.closed) == (True, False)
    assert 1 << 20 <= found.changed_bytes < 2 << 20
    assert _changed(scope, time.time() + 100).changed_bytes == 0


def test_a_walk_ends_when_it_knows_enough_or_its_time_is_over(tmp_path) -> None:
    for number in range(20):
        _filled(tmp_path / str(number), 64 << 10)
    assert 100 << 10 < _changed(tmp_path, enough=100 << 10).changed_bytes <= 256 << 10
    assert _changed(tmp_path, s_max=-1.0).finished is False


def test_a_folder_that_was_closed_since_is_told(tmp_path, monkeypatch) -> None:
    _filled(tmp_path / "closed" / "f")
    real = os.scandir

    def refusing(folder):  # root could read it all the same
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert _changed(tmp_path).closed is True
    assert _changed(tmp_path, time.time() + 100).closed is False
    assert _changed(tmp_path / "not there").changed_bytes == 0


def test_a_real_look_sees_this_process_under_its_parent() -> None:
    found = usage.all_processes()
    assert found[os.getpid()].rss_bytes > 1 << 20
    assert os.getpid() in {each.pid for each in usage.trees(found, [os.getppid()])[os.getppid()]}
    assert usage.machine().available_bytes > 1 << 20
