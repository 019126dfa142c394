"""`./run` where it can be shown cheaply: its words, and what it says on a machine that lacks something.

The set-up itself is shown by every fresh checkout; here no test downloads anything.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy import TOP

# What `run` calls beside Python; a PATH of only these is a machine without Python and uv.
TOOLS = ["sh", "cat", "cksum", "dirname", "flock", "id", "mkdir", "rm", "rmdir", "env"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what `run` reads, in a folder whose name has a space."""
    top = tmp_path / "a checkout"
    top.mkdir()
    for name in ("run", "pyproject.toml", "requirements.lock"):
        (top / name).write_bytes((TOP / name).read_bytes())
    (top / "run").chmod(0o755)
    return top


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH folder with the tools of every Unix and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        for place in ("/bin", "/usr/bin"):
            if os.path.exists(f"{place}/{tool}"):
                (folder / tool).symlink_to(f"{place}/{tool}")
                break
    return folder


def run(
    top: Path, *words: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DASH_")}
    return subprocess.run(
        [top / "run", *words],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
    )


def stub(folder: Path, name: str, answer: str) -> Path:
    """A program that prints `answer`, whatever it is asked."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {answer}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("words", [(), ("help",), ("-h",), ("--help",)])
def test_help_lists_each_command_and_sets_nothing_up(checkout: Path, words: tuple[str, ...]) -> None:
    done = run(checkout, *words)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("demo", "test", "bench", "check", "torture", "live", "dashctl", "dashd", "help"):
        assert f"\n  {command} " in done.stdout
    assert {path.name for path in checkout.iterdir()} == {"run", "pyproject.toml", "requirements.lock"}


def test_an_unknown_command_is_refused_with_the_nearest_one(checkout: Path) -> None:
    done = run(checkout, "tset", cwd=checkout.parent, DASH_PYTHON=sys.executable)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no command 'tset'. Did you mean 'test'?" in done.stderr
    assert "commands: demo test bench" in done.stderr


def test_an_unknown_command_needs_no_python_to_be_refused(checkout: Path, bare_path: Path) -> None:
    done = run(checkout, "xyzzy", PATH=str(bare_path), DASH_PYTHON=str(stub(bare_path, "python3", "old")))
    assert done.returncode == 2
    assert "Did you mean" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bare", ["has no venv module", "apt-get install python3-venv"]),
        ("old", ["3.11 or newer", "is older"]),
    ],
)
def test_a_python_that_will_not_do_is_named_with_the_remedy(
    checkout: Path, bare_path: Path, kind: str, words: list[str]
) -> None:
    python = stub(bare_path, "python3", kind)
    done = run(checkout, "test", PATH=str(bare_path), DASH_PYTHON=str(python))
    assert done.returncode == 1
    assert str(python) in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not (checkout / ".venv").exists()


def test_a_named_python_that_does_not_run_is_said(checkout: Path) -> None:
    done = run(checkout, "check", DASH_PYTHON="/no/such/python")
    assert done.returncode == 1
    assert "DASH_PYTHON=/no/such/python" in done.stderr


def test_a_failed_set_up_shows_why_and_leaves_no_stamp(checkout: Path, bare_path: Path) -> None:
    stub(bare_path, "uv", "no such package >&2; exit 1")
    done = run(checkout, "check", PATH=str(bare_path), DASH_PYTHON=str(stub(bare_path, "python3", "good")))
    assert done.returncode == 1
    assert "setting up in" in done.stderr
    assert "no such package" in done.stderr
    assert "starts afresh next time" in done.stderr
    assert not (checkout / ".venv/.stamp").exists()


def test_a_folder_of_yours_is_not_taken_for_an_environment(
    checkout: Path, bare_path: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    python = stub(bare_path, "python3", "good")
    done = run(checkout, "check", PATH=str(bare_path), DASH_PYTHON=str(python), DASH_VENV=str(mine))
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_finished_set_up_is_used_from_anywhere_and_says_nothing(checkout: Path, bare_path: Path) -> None:
    made = _make_environment(checkout)
    done = run(checkout, "dashctl", "one word", "two", cwd=Path("/"), PATH=str(bare_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{made}/bin/dashctl|one word|two\n"


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.lock"])
def test_a_set_up_of_other_files_is_done_again(checkout: Path, bare_path: Path, changed: str) -> None:
    _make_environment(checkout)
    with (checkout / changed).open("a") as file:
        file.write("# newer\n")
    stub(bare_path, "uv", "unreachable; exit 1")
    done = run(checkout, "dashctl", PATH=str(bare_path), DASH_PYTHON=str(stub(bare_path, "python3", "good")))
    assert done.returncode == 1
    assert "setting up in" in done.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root goes on as somebody who cannot reach this folder")
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([], ["tests/crash", "200", "-m", "tests.live.lanes", "tests/live/test_torture.py"]),
        (["-k", "money"], ["tests/crash", "-k", "money"]),
        (["tests/crash/test_money.py", "-x"], ["tests/crash/test_money.py", "-x"]),
        (["-q", "tests/crash/test_a.py::test_b[0]"], ["-q", "tests/crash/test_a.py::test_b[0]"]),
        (["tests/whole"], ["tests/whole"]),
    ],
)
def test_torture_runs_what_it_is_given_alone(checkout: Path, asked: list[str], told: list[str]) -> None:
    python = _make_environment(checkout) / "bin/python"
    python.write_text(
        '#!/bin/sh\n[ "$1" = -m ] || { echo 3.11; exit; }\nprintf "%s\\n" "$DASH_TORTURE" "$@"\n'
    )
    done = run(checkout, "torture", *asked)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["200", "-m", "pytest", "--timeout=0", *told])


def _make_environment(checkout: Path) -> Path:
    """The least that `run` takes for a finished set-up: a python, dashctl, and the stamp for them."""
    made = checkout / ".venv"
    (made / "bin").mkdir(parents=True)
    stub(made / "bin", "python", "3.11")
    (made / "bin/dashctl").write_text('#!/bin/sh\nprintf "%s|%s|%s\\n" "$0" "$1" "$2"\n')
    (made / "bin/dashctl").chmod(0o755)
    files = (checkout / "pyproject.toml").read_bytes() + (checkout / "requirements.lock").read_bytes()
    sums = subprocess.run(["cksum"], input=files, capture_output=True, check=True).stdout.decode()
    (made / ".stamp").write_text(f"{checkout}|{made}\n{sums}3.11\n")
    return made
