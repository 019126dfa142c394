"""What processes use: made-up /proc trees, real trees of files, and this very process."""

import contextlib
import mmap
import os
import socket
import time

import pytest

from dashd.jail import launch, usage, view
from dashd.jail.usage import Process
from tests.fakes.proc import Proc
from tests.jail import inside
from tests.jail.world import World, deadline, printed

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
    proc.meminfo(available=100, shmem=20, swap=50, swap_free=45, kernel=7)
    assert usage.machine(proc.path) == (100 * KIB, 32 * KIB, 7 * KIB)


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


def test_page_tables_count_also_of_who_hides(proc, monkeypatch) -> None:
    real = usage._read

    def hidden(path, bytes_max):
        if path.endswith("12/smaps_rollup"):
            raise PermissionError(13, "Permission denied")
        return real(path, bytes_max)

    monkeypatch.setattr(usage, "_read", hidden)
    for pid in (11, 12):
        proc.process(pid, 10, rss=2)
        proc.rollup(pid, Pss_Anon=10)
        proc.page_tables(pid, 300)
    assert usage.memory_bytes(proc.tree(10), proc.path) == 610 * KIB + 2 * PAGE


def test_page_tables_of_a_real_process_are_seen_without_any_rss() -> None:
    me = Process(os.getpid(), 0, 1, 1, 0)
    before = usage.memory_bytes([me])
    maps = [mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) for _ in range(8)]
    try:
        for each in maps:
            if hasattr(mmap, "MADV_NOHUGEPAGE"):
                each.madvise(mmap.MADV_NOHUGEPAGE)
            assert not any(each[at] for at in range(0, 1 << 30, 2 << 20))
        assert usage.memory_bytes([me]) - before > 14 << 20  # 16 MiB, but for what the heap gave back
    finally:
        for each in maps:
            each.close()


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
    path = str(tmp_path / "f")
    with open(path, "wb") as file, open(path, "rb"):
        file.write(b"x" * (1 << 20))
        file.flush()
        assert path not in dict(usage.unnamed([me], {device}).files)
        os.unlink(path)
        found = usage.unnamed([me], {device})
        assert dict(found.files)[path] >= 1 << 20
        assert [each for each, _ in found.files].count(path) == 1
        assert usage.unnamed([me], {device + 1}).files == []


def test_a_deleted_file_that_is_only_mapped_counts_as_far_as_it_is(tmp_path) -> None:
    me = Process(os.getpid(), 0, 1, 1, 0)
    device = tmp_path.stat().st_dev
    path = str(tmp_path / "f")
    with open(path, "w+b") as file:
        file.truncate(1 << 20)
        mapped = mmap.mmap(file.fileno(), 1 << 20)
        os.unlink(path)
    others = [mmap.mmap(-1, (2 + at % 2) * PAGE, prot=1 + at % 2 * 2) for at in range(500)]  # pages of maps
    with mapped, contextlib.ExitStack() as stack:
        for each in others:
            stack.enter_context(each)
        seen: set[tuple[int, int]] = set()
        assert dict(usage._mapped(me.pid, seen, "/proc", {device}))[path] == 1 << 20
        assert usage._mapped(me.pid, seen, "/proc", {device}) == []


def test_what_is_on_its_way_from_socket_to_socket_is_told() -> None:
    me = Process(os.getpid(), 0, 1, 1, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs, open(__file__, "rb") as file:
        assert not usage.unnamed([me], {0}, thorough=True).hidden
        socket.send_fds(ours, [b"x"], [file.fileno()])
        assert usage.unnamed([me], {0}, thorough=True).hidden


def test_a_process_that_hides_its_files_is_told(proc, monkeypatch) -> None:
    def refused(path):
        raise PermissionError(13, "Permission denied")

    proc.process(11, 10)
    monkeypatch.setattr(os, "listdir", refused)
    assert usage.unnamed([Process(11, 10, 1, 1, 0)], {0}, proc.path) == ([], True)
    monkeypatch.undo()
    assert usage.unnamed([Process(12, 10, 1, 1, 0)], {0}, proc.path) == ([], False)


def test_files_are_counted_in_a_tmpfs_of_its_own_alone(proc, tmp_path) -> None:
    """The machine's own folders, seen through a root, are nobody's jail; another device is."""
    proc.process(11, 10)
    (proc.folder / "11" / "root").symlink_to("/")
    assert usage.tmpfs_files(proc.tree(10), [str(tmp_path)], proc.path) == 0
    (proc.folder / "11" / "root").unlink()
    (proc.folder / "11" / "root").mkdir()
    (proc.folder / "11" / "root" / "sys").symlink_to(tmp_path)
    state = os.statvfs(tmp_path)
    counted = usage.tmpfs_files(proc.tree(10), ["/sys", "/not there"], proc.path)
    assert abs(counted - (state.f_files - state.f_ffree)) < 10_000


@deadline
async def test_what_a_jail_holds_where_no_folder_shows_it_is_counted_from_outside(
    world: World, tmp_path
) -> None:
    seen = view.View(str(tmp_path), (view.Folder(str(tmp_path)),))
    walls, nothing = inside.of_grade("B"), launch.Outside()
    plan = launch.plan(walls, seen, python=view.python(), outside=nothing, listener=False)
    made = "for name in 1 2 3 4 5 6 7; do : > /tmp/$name; done; head -c 2000000 /dev/zero >&3"
    folder = await world.launch("a", f"exec 3> x; rm x; {made}; echo made; read line", stdin=True, jail=plan)
    link = await world.adopt(folder)
    await printed(link, folder, b"made")
    holder = world.holders["a"][0]
    tree = usage.trees(usage.all_processes(), [holder])[holder]
    assert 7 < usage.tmpfs_files(tree, view.TMP_PLACES) < 7 + 20  # the folder itself, and mount points in it
    found = usage.unnamed(tree, {tmp_path.stat().st_dev}, thorough=True)
    assert dict(found.files)[str(tmp_path / "x")] >= 2_000_000
    assert not found.hidden
    await link.send_input(1, b"\n")


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
    assert found[str(tmp_path)][:2] == (tmp_path.stat().st_dev, found[str(tmp_path)].free_bytes)


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


def test_a_walk_counts_files_and_looks_first_where_there_are_new_ones(tmp_path) -> None:
    for number in range(5):
        _filled(tmp_path / f"old{number}" / "f", 1)
    since_s = time.time() + 1000
    real, order = os.scandir, []
    new = tmp_path / "old2"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "scandir", lambda folder: order.append(folder) or real(folder))
        patched.setattr(usage, "_entries", _with_new(usage._entries, {str(new), str(new / "f")}, since_s))
        found = _changed(tmp_path, since_s)
    assert (found.changed_files, found.seen_files) == (2, 10)
    assert order[:2] == [str(tmp_path), str(new)]
    assert _changed(tmp_path, enough_files=3).changed_files == 4


def _with_new(entries, new, at_s):
    def found(folder):
        for path, state in entries(folder):
            if path in new:
                fields = list(state)
                fields[9] = at_s
                state = os.stat_result(fields, {"st_ctime": at_s, "st_blocks": state.st_blocks})
            yield path, state

    return found


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
