"""The throw-away repository."""

import os
import subprocess

import pytest

from dashctl import calling
from dashctl.demo import repository
from dashd.proxy.offline import GREEDY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    # A user's own git settings must play no part.
    environ = {**os.environ, "GIT_DIR": "/nowhere", "GIT_AUTHOR_NAME": "somebody"}
    return folder, repository.make(folder, environ, ["/bin/echo", "a b", "c"])


def test_it_is_committed_and_clean(made):
    folder, files = made
    git = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    log = subprocess.run([*git, "log", "--format=%an %s"], check=True, capture_output=True, text=True).stdout
    status = subprocess.run(
        [*git, "status", "--porcelain"], check=True, capture_output=True, text=True
    ).stdout
    assert log == "Dash demo Dash's own sources, for the demo\n"
    assert status == ""
    assert files > 50


def test_its_script_runs_what_it_was_given_and_then_what_it_is_called_with(made):
    folder, _ = made
    said = subprocess.run(
        ["sh", "check", "note", "x.py"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert said.stdout == "a b c note x.py\n"


def test_the_items_are_different_real_files_of_growing_length_and_two_are_bad_on_purpose(made):
    folder, _ = made
    items = repository.items(folder, 20)
    assert len(set(items)) == 20
    assert all((folder / item).is_file() for item in items)
    broken = [item for item in items if not compiles(folder / item)]
    assert broken == [repository.BROKEN]
    assert items.count(repository.GREEDY) == 1
    assert GREEDY.search(repository.GREEDY)
    assert not any(GREEDY.search(item) for item in items if item != repository.GREEDY)
    bad = (repository.BROKEN, repository.GREEDY)
    lengths = [(folder / item).read_text().count("\n") for item in items if item not in bad]
    assert lengths[-1] > 2 * lengths[0]


def test_a_git_that_fails_is_quoted(tmp_path):
    (tmp_path / "git").write_text("#!/bin/sh\necho no disk >&2\nexit 128\n")
    (tmp_path / "git").chmod(0o755)
    # subprocess finds a program by the PATH of the environment that it is given.
    with pytest.raises(calling.Failure, match=r"git init failed in .*: no disk"):
        repository.make(tmp_path / "repository", {"PATH": f"{tmp_path}:/usr/bin:/bin"}, ["true"])


def compiles(path):
    try:
        compile(path.read_text(), path, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
