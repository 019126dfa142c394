"""Bundles made by hand, which git itself must accept."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.workspace.pack import Bundle, ContentChanged, Objects
from tests.workspace.world import World

TIP = "refs/heads/tip"


@pytest.fixture(params=["sha1", "sha256"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    made = World(tmp_path)
    made.make_repo(f"--object-format={request.param}")
    return made


def object_format(world: World) -> str:
    return world.git("rev-parse", "--show-object-format")


def bundle_of(
    world: World, contents: list[bytes], known: frozenset[str] = frozenset()
) -> tuple[Path, str, Bundle]:
    """A bundle of a commit with one file per content."""
    file, base = world.folder / "made.bundle", world.git("rev-parse", "HEAD")
    made = Bundle(file, object_format(world), base, TIP, known)  # type: ignore[arg-type]
    entries = []
    for n, content in enumerate(contents):
        id_ = made.add("blob", len(content), lambda content=content: (content,))
        entries.append((b"100644", b"f%d" % n, id_))
    who = "x <x@example.org> 1 +0000"
    commit = f"tree {made.tree(entries)}\nparent {base}\nauthor {who}\ncommitter {who}\n\nm\n"
    tip = made.finish(commit.encode())
    made.close()
    return file, tip, made


@pytest.mark.slow
def test_git_takes_it_and_finds_the_same_bytes(repository: World):
    contents = [
        b"",
        b"a",
        b"x" * 15,
        b"x" * 16,
        b"y" * 2047,
        b"z" * 2048,
        os.urandom(300_000),
        b"\r\n\0" * 40_000,
    ]
    file, tip, _ = bundle_of(repository, contents)
    repository.git("bundle", "verify", "--quiet", str(file))
    repository.git("fetch", "--quiet", str(file), f"{TIP}:{TIP}")
    repository.git("fsck", "--strict", "--no-dangling")
    assert repository.ref(TIP) == tip
    for n, content in enumerate(contents):
        shown = subprocess.run(
            ["git", "cat-file", "blob", f"{tip}:f{n}"], cwd=repository.repo, capture_output=True, check=True
        )
        assert shown.stdout == content


def test_what_is_there_already_is_not_stored(repository: World):
    known = frozenset([repository.git("rev-parse", "HEAD:README")])
    _, _, made = bundle_of(repository, [b"hello\n", b"new", b"new"], known)
    assert made.objects == 3, "one blob, a tree, a commit"


def test_ids_are_those_of_git(repository: World):
    objects = Objects(object_format(repository))  # type: ignore[arg-type]
    assert objects.add("blob", 6, lambda: (b"hel", b"lo\n")) == repository.git("rev-parse", "HEAD:README")
    inner = objects.tree([(b"100644", b"app.py", repository.git("rev-parse", "HEAD:src/app.py"))])
    entries = [(b"40000", b"src", inner), (b"100644", b"README", repository.git("rev-parse", "HEAD:README"))]
    assert objects.tree(entries) == repository.git("rev-parse", "HEAD^{tree}")


def test_folders_are_sorted_as_if_their_names_ended_in_a_slash():
    objects = Objects("sha1")
    blob, empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    entries = [(b"40000", b"a", empty), (b"100644", b"a.b", blob), (b"100644", b"a0", blob)]
    content = b"".join(
        b"%s %s\0%s" % (mode, name, bytes.fromhex(id_))
        for mode, name, id_ in (entries[1], entries[0], entries[2])
    )
    assert objects.tree(entries) == hashlib.sha1(b"tree %d\0" % len(content) + content).hexdigest()


@pytest.mark.parametrize("found", [b"shorter", b"much longer than said"])
def test_content_of_another_size_is_refused(found: bytes):
    with pytest.raises(ContentChanged):
        Objects("sha1").add("blob", 10, lambda: (found,))


def test_content_that_changed_before_it_was_stored_leaves_nothing_behind(tmp_path: Path):
    readings = iter([b"one", b"two"])
    sizes = []
    for name in ("with", "without"):
        made = Bundle(tmp_path / name, "sha1", "1" * 40, TIP, frozenset())
        if name == "with":
            with pytest.raises(ContentChanged):
                made.add("blob", 3, lambda: (next(readings),))
        made.finish(b"")
        made.close()
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[0] == sizes[1]


@settings(max_examples=25)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 15, 16, 127, 128, 2047, 2048, 4095, 70_000]), max_size=6),
    data=st.data(),
)
def test_index_pack_reads_any_sizes(
    sizes: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("pack")
    contents = [data.draw(st.binary(min_size=1, max_size=1)) * size for size in sizes]
    made = Bundle(folder / "b", "sha1", "1" * 40, TIP, frozenset())
    ids = {made.add("blob", len(content), lambda content=content: (content,)) for content in contents}
    tip = made.finish(
        b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n"
    )
    made.close()
    pack = (folder / "b").read_bytes().partition(b"\n\n")[2]
    (folder / "p.pack").write_bytes(pack)
    subprocess.run(["git", "index-pack", "p.pack"], cwd=folder, capture_output=True, check=True)
    index = (folder / "p.idx").read_bytes()
    shown = subprocess.run(["git", "show-index"], cwd=folder, input=index, capture_output=True, check=True)
    assert {line.split()[1].decode() for line in shown.stdout.splitlines()} == ids | {tip}
