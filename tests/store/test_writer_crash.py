"""SIGKILL at each point of a commit: what was acknowledged is there, and rows and events agree."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.conftest import reopened

TOP = Path(__file__).resolve().parents[2]
POINTS = ["writer.before_begin", "writer.before_commit", "writer.after_commit", "writer.before_answer"]

CHILD = """
import os, signal, sys
from pathlib import Path
import trio
from dashd import clock, store
from tests.store.conftest import Note

path, point, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
passed = 0

def kill(here):
    global passed
    passed += here == point
    if passed == at:
        os.kill(os.getpid(), signal.SIGKILL)

async def caller(ours, name):
    for number in range(1000):
        key = f"{at}-{name}-{number}"
        await ours.writer.apply(Note(key))
        os.write(1, f"{key}\\n".encode())

async def main():
    async with store.open_store(path, clock.Clock(), at_point=kill) as ours, trio.open_nursery() as nursery:
        for name in range(8):
            nursery.start_soon(caller, ours, name)

trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
def test_what_was_acknowledged_survives_a_kill(path: Path, point: str) -> None:
    acknowledged: list[str] = []
    for at in (1, 20):  # the second daemon starts on what the first one has left
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), point, str(at)],
            cwd=TOP,
            stdout=subprocess.PIPE,
            timeout=30,
            check=False,
        )
        assert child.returncode == -signal.SIGKILL
        told = child.stdout.decode().split()
        assert told or at == 1
        acknowledged += told
        found = reopened(path)
        assert set(acknowledged) <= set(found)
        assert len(found) <= len(acknowledged) + 2 * 8, "beyond those, only what each caller had under way"
