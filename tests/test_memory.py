"""One heap for all threads, as the kernel's map of a process shows it; what an idle dashd is without."""

import ctypes
import subprocess
import sys

import pytest

import dashd.memory
from tests.tidy import TOP

HEAPS = """
import sys, threading
from dashd import memory
if sys.argv[1] == "one":
    assert memory.one_heap()
thread = threading.Thread(target=lambda: [bytes(2_000) for _ in range(1_000)])
thread.start()
thread.join()
# A thread's heap reserves 64 MiB of addresses that nobody may touch yet; nothing else here reserves so much.
maps = [line.split() for line in open("/proc/self/maps")]
spans = [[int(end, 16) for end in fields[0].split("-")] for fields in maps if fields[1] == "---p"]
print(sum(32 << 20 < end - start <= 64 << 20 for start, end in spans))
"""

HEAVY = {"asyncio", "concurrent", "difflib", "email", "fractions", "h11", "httpx2", "pydantic"}
HEAVY |= {"statistics", "tarfile", "tomllib"}
"""A megabyte and more, and nothing that an idle dashd needs."""


def test_an_idle_dashd_has_not_loaded_what_it_does_not_need():
    script = "import sys, dashd.__main__, dashd.app, dashd.config; print(*sys.modules)"
    argv = [sys.executable, "-c", script]
    loaded = subprocess.run(argv, cwd=TOP, check=True, capture_output=True, text=True).stdout.split()
    assert "trio" in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_a_thread_has_no_heap_of_its_own():
    def heaps(how: str) -> int:
        argv = [sys.executable, "-c", HEAPS, how]
        return int(subprocess.run(argv, cwd=TOP, check=True, capture_output=True).stdout)

    assert (heaps("one"), heaps("many")) == (0, 1)


def test_without_a_say_nothing_happens(monkeypatch):
    monkeypatch.setattr(dashd.memory.ctypes, "CDLL", lambda _name: object())
    assert not dashd.memory.one_heap()
