"""Which version a Pi says that it is, asked in a real jail; the stand-in of tests/fakes answers."""

import os
from pathlib import Path

import pytest

from dashd.drivers import program_version
from dashd.drivers.program_version import NoVersion
from dashd.drivers.programs import Found, named
from tests.jail import inside


def program(folder: Path, body: str, name: str = "pi.sh"):
    """A Node's stand-in that does not look at the script it is given."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    found = named("pi", str(path), "configured", "it")
    assert isinstance(found, Found)
    return found


@pytest.fixture
def folder(tmp_path):
    made = tmp_path.resolve() / "p"
    made.mkdir()
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "version"),
    [("1.5.2", "1.5.2"), ("pi v1.6.0-beta.1 (abc)", "1.6.0-beta.1"), ("1.5\nmore", "1.5")],
)
async def test_it_says_its_version(folder, said, version):
    inside.of_grade("C")
    pi = program(folder, f"printf '{said}'")
    assert await program_version.version(pi, pi) == version


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("exit 3", "exit code 3: it said nothing"),
        ("echo oh dear >&2; exit 1", "exit code 1: oh dear"),
        ("echo hello", "'hello', which is no version"),
    ],
)
async def test_one_that_does_not_is_told_why(folder, body, why):
    inside.of_grade("C")
    pi = program(folder, body)
    with pytest.raises(NoVersion, match=why):
        await program_version.version(pi, pi)


@pytest.mark.slow
async def test_it_writes_nowhere_and_sees_nothing_of_others(folder, tmp_path):
    inside.of_grade("B")
    (tmp_path / "secret").write_text("s")
    pi = program(folder, f"touch {folder}/mark 2>/dev/null; ls {tmp_path}/secret >/dev/null 2>&1 || echo 1.0")
    assert await program_version.version(pi, pi) == "1.0"
    assert os.listdir(folder) == ["pi.sh"]


def test_a_stamp_is_another_one_for_other_files(folder):
    pi = program(folder, "true")
    first = program_version.stamp(pi)
    assert program_version.stamp(pi) == first
    (folder / "new").write_text("#!/bin/sh\nfalse\n")
    os.replace(folder / "new", folder / "pi.sh")
    assert program_version.stamp(pi) != first
    os.unlink(pi.path)
    with pytest.raises(OSError, match="No such file"):
        program_version.stamp(pi)
