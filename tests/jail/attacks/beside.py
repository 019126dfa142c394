"""What agents run that share a machine: `beside.py honest|forks|memory|disk|files|output LIMITS`.

A bomb takes four times what it is allowed and no more, says how far it got, and holds it until it is ended, a
minute at most. Standard library alone.
"""

import contextlib
import ctypes
import hashlib
import json
import mmap
import os
import resource
import signal
import subprocess
import sys

TIMES = 4
PAGE = 4096
PDEATHSIG = 1


def honest(limits):
    """Work of all kinds: processes, files, arithmetic; the answer is always the same."""
    digest = hashlib.sha256()
    for number in range(20):
        with open(f"work-{number}", "wb") as file:
            file.write(bytes([number]) * 10_000)
        copied = subprocess.run(["/bin/cat", f"work-{number}"], capture_output=True, check=True, timeout=30)
        digest.update(copied.stdout)
    return digest.hexdigest()


def forks(limits):
    made = 0
    for _ in range(TIMES * limits["processes"]):
        try:
            pid = os.fork()
        except BlockingIOError:
            break
        if pid == 0:
            ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.alarm(60)
            signal.pause()
            os._exit(0)
        made += 1
    return made / limits["processes"]


def memory(limits):
    length = TIMES * limits["memory"]
    kept.append(mmap.mmap(-1, length, flags=mmap.MAP_ANONYMOUS | mmap.MAP_SHARED))
    for offset in range(0, length, PAGE):
        kept[0][offset] = 1
    return TIMES


def disk(limits):
    piece = limits["file_bytes"] // 2
    for number in range(TIMES * limits["disk_bytes"] // piece):
        with open(f"fill-{number}", "wb") as file:
            file.write(bytes(piece))
    return TIMES


def files(limits):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(OSError):
        while len(kept) < TIMES * limits["files"]:
            kept.append(os.dup(2))
    return len(kept) / limits["files"]


def output(limits):
    for _ in range(TIMES * limits["output_bytes"] // PAGE):
        os.write(1, b"y" * (PAGE - 1) + b"\n")
    return TIMES


kept = []
PROGRAMS = {program.__name__: program for program in (honest, forks, memory, disk, files, output)}

signal.alarm(60)
print(PROGRAMS[sys.argv[1]](json.loads(sys.argv[2])), flush=True)
if sys.argv[1] != "honest":
    signal.pause()
