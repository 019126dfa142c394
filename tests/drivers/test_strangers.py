"""What is said of a program that PATH happens to have; it is run for real, in a jail."""

import shutil
from pathlib import Path

import pytest

from dashd.drivers.programs import Programs, pinned
from dashd.drivers.strangers import Strangers

pytestmark = pytest.mark.slow


@pytest.fixture
def put(tmp_path: Path):
    """`put(words)`: an OpenClaw that says this, in a folder of its own that is on PATH."""

    def put(words: str) -> Strangers:
        folder = tmp_path / "lib" / "node_modules" / "openclaw"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "openclaw"
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/sh\n{words}\n")
        file.chmod(0o755)
        return made

    (tmp_path / "lib").mkdir()
    shutil.copy("/bin/sh", tmp_path / "lib" / "node")
    path = str(tmp_path / "lib" / "node_modules" / "openclaw")
    made = Strangers(Programs(None, {"node": str(tmp_path / "lib" / "node")}, path))
    return put


async def test_it_is_asked_in_a_jail_and_again_where_its_file_is_another_one(put, tmp_path: Path) -> None:
    tested = pinned()["openclaw"].version
    old = await put("echo OpenClaw 2025.1.1").ask("openclaw")
    assert old is not None
    assert (old.usable, "is of version 2025.1.1" in old.text) == (False, True)
    strangers = put(f"echo x 2>/dev/null >{tmp_path}/lib/mark; echo OpenClaw {tested} abc")
    assert (await strangers.ask("openclaw"), strangers.said("openclaw")) == (None, [])
    assert not (tmp_path / "lib" / "mark").exists(), "it has no say outside"
    broken = await put("exit 3").ask("openclaw")
    assert broken is not None
    assert "exit code 3" in broken.text


async def test_what_is_not_of_path_is_not_asked(put) -> None:
    strangers = put("exit 3")
    assert [await strangers.ask(name) for name in ("pi", "node", "command")] == [None] * 3
