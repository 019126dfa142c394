"""Names that git refuses in a tree: hypothesis says that all come back, git fsck that none is refused."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashd.workspace import names
from tests.workspace.world import World

HOSTILE = [
    b".git", b".GIT", b".Git", b".git ", b".git.", b".git . .", b"git~1", b"GIT~1", b"git~1 ",
    b".git::$INDEX",
    b".g\xe2\x80\x8cit", b".gi\xef\xbb\xbft", b"x\\.git", b"x\\.GIT ", b"\\git~1",
]  # fmt: skip
HARMLESS = [
    b".gitignore",
    b".github",
    b"git",
    b".gitx",
    b"a.git",
    b".g",
    b"-rf",
    b"\xff\xfe",
    b"a\nb",
    b"git~2",
    b" ",
]
NAME = st.binary(min_size=1, max_size=12).filter(lambda b: b"/" not in b and b"\0" not in b)
PIECES = st.lists(
    st.sampled_from([b".", b"g", b"I", b"t", b"~1", b" ", b"\\", b"dash-kept", b":", b"\xe2\x80\x8c", b"-m"]),
    min_size=1, max_size=9,
).map(b"".join)  # fmt: skip


@given(NAME | PIECES, st.booleans())
@example(b"dash-kept.git", False)
@example(b"dash-kept-manifest", False)
@example(b"dash-keptdash-kept", True)
def test_every_name_comes_back(name: bytes, link: bool):
    kept = names.encode(name, link=link)
    assert names.decode(kept) == name
    assert kept != names.MANIFEST


@given(NAME | PIECES, NAME | PIECES, st.booleans(), st.booleans())
def test_different_names_stay_different(one: bytes, other: bytes, link: bool, other_link: bool):
    if one != other:
        assert names.encode(one, link=link) != names.encode(other, link=other_link)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_some_file_system_takes_for_dot_git_gets_another_name(name: bytes):
    assert names.encode(name) == b"dash-kept" + name


@pytest.mark.parametrize("name", HARMLESS)
def test_other_names_stay(name: bytes):
    assert names.encode(name) == name


def test_a_link_may_not_be_the_list_of_submodules():
    assert names.encode(b".gitmodules", link=True) == b"dash-kept.gitmodules"
    assert names.encode(b".gitmodules") == b".gitmodules"


@given(name=PIECES.filter(lambda b: b not in (b".", b"..")))
@example(name=b".git")
def test_git_agrees_that_what_is_left_as_it_is_is_no_dot_git(
    name: bytes, tmp_path_factory: pytest.TempPathFactory
):
    """fsck is the judge; it is asked about names that were encoded, whatever they were."""
    folder = _repository(tmp_path_factory)
    blob = _git(folder, "hash-object", "-w", "--stdin", stdin=b"").strip()
    kept = names.encode(name)
    tree = _git(folder, "mktree", "-z", stdin=b"100644 blob " + blob + b"\t" + kept + b"\0").strip()
    commit = _git(folder, "commit-tree", "-m", "x", tree.decode()).strip().decode()
    done = subprocess.run(
        ["git", "fsck", "--strict", "--no-dangling", commit],
        cwd=folder, env=_ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "hasDotgit" not in done.stderr + done.stdout


_ENV = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
}  # fmt: skip
_made: list[Path] = []


def _repository(factory: pytest.TempPathFactory) -> Path:
    if not _made:
        world = World(factory.mktemp("fsck"))
        world.repo.mkdir()
        world.git("init", "--quiet")
        _made.append(world.repo)
    return _made[0]


def _git(folder: Path, *args: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *args], cwd=folder, env=_ENV, input=stdin, capture_output=True, check=True
    ).stdout
