"""Agents that take all there is, beside honest ones: stopped in time, with the reason, and nobody else is.

Every bomb is bounded by itself too, and small enough for any machine that runs tests.
"""

import pytest
import trio

from tests.jail.inside import of_grade
from tests.whole import daemons, door

pytestmark = pytest.mark.slow

HONEST = 6
STOPPED_S_MAX = 10.0
"""Generous: what is reached on a quiet machine is a second; the bench has the figure."""
LIVES_S = 60
"""Far over that: a bomb that is not stopped runs into the test's own deadline."""
PYTHON = "/usr/bin/python3"

MEMORY = f"""
import os, time
for _ in range(4):
    if os.fork() == 0:
        taken = bytearray(60 << 20)
        taken[::4096] = b"x" * (len(taken) // 4096)
        time.sleep({LIVES_S})
        os._exit(0)
time.sleep({LIVES_S})
"""
SHARED = f"""
import mmap, time
taken = mmap.mmap(-1, 240 << 20)
for at in range(0, len(taken), 4096):
    taken[at] = 1
time.sleep({LIVES_S})
"""
# They go on for a while, because what somebody else frees on the same disk hides as much of them.
DISK = f"""
import time
for number in range(100):
    with open(f"f{{number}}", "wb") as file:
        file.write(b"x" * (8 << 20))
    time.sleep(0.03)
time.sleep({LIVES_S})
"""
ALLOCATED = f"""
import os, time
os.mkdir("closed")
fd = os.open("closed/f", os.O_CREAT | os.O_WRONLY)
os.chmod("closed", 0)
for number in range(100):
    os.posix_fallocate(fd, number << 23, 8 << 20)
    time.sleep(0.03)
time.sleep({LIVES_S})
"""
DELETED = f"""
import os, time
file = open("f", "wb")
os.unlink("f")
for number in range(100):
    file.write(b"x" * (8 << 20))
    time.sleep(0.03)
time.sleep({LIVES_S})
"""
# 256 at most, whatever the walls: where there are none, it would take the machine with it.
FORKS = f"""
import os, time
for _ in range(8):
    try:
        os.fork()
    except OSError:
        pass
time.sleep({LIVES_S})
"""
# What is in no RSS. Each stops by itself when the machine has 200 MiB less than before.
_MACHINE = """
import mmap, os, socket, time
def left():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
begun = left()
def goes_on():
    return left() > max(begun - (200 << 10), 1 << 20)
"""
TABLES = f"""{_MACHINE}
maps = []
while goes_on() and len(maps) < 100:
    maps.append(mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
    maps[-1].madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, 1 << 30, 2 << 20):
        maps[-1][at]
time.sleep({LIVES_S})
"""
SOCKETS = f"""{_MACHINE}
pairs = []
while goes_on() and len(pairs) < 700:
    pairs.append(socket.socketpair())
    for each in pairs[-1]:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        each.setblocking(False)
        try:
            while True:
                each.send(b"x" * 32768)
        except BlockingIOError:
            pass
time.sleep({LIVES_S})
"""
HIDDEN = f"import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE\n{SOCKETS}"
CONNECTIONS = f"""{_MACHINE}
listener = socket.create_server(("127.0.0.1", 0))
pairs = []
while goes_on() and len(pairs) < 200:
    pairs.append((socket.create_connection(listener.getsockname()), listener.accept()[0]))
    for each in pairs[-1]:
        each.setblocking(False)
        try:
            while True:
                each.send(b"x" * 65536)
        except BlockingIOError:
            pass
time.sleep({LIVES_S})
"""
BOMBS = {
    "page tables": (TABLES, {"memory_mb": 64}, "memory 64 MiB exceeded ("),
    "unix sockets": (SOCKETS, {"memory_mb": 96}, "memory 96 MiB exceeded ("),
    "hidden sockets": (HIDDEN, {"memory_mb": 96}, "memory 96 MiB exceeded ("),
    "connections": (CONNECTIONS, {"memory_mb": 96}, "memory 96 MiB exceeded ("),
    "memory of four": (MEMORY, {"memory_mb": 128}, "memory 128 MiB exceeded ("),
    "shared memory": (SHARED, {"memory_mb": 128}, "memory 128 MiB exceeded ("),
    "disk": (DISK, {"disk_mb": 16}, "disk 16 MiB exceeded ("),
    "allocated": (ALLOCATED, {"disk_mb": 16}, "disk 16 MiB exceeded ("),
    "deleted": (DELETED, {"disk_mb": 16}, "disk 16 MiB exceeded ("),
    "forks": (FORKS, {"processes": 60}, "processes 60 exceeded ("),
}


@pytest.fixture(scope="module")
def walled(tmp_path_factory):
    """A dashd with walls."""
    of_grade("B")
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("b"), DASH_JAIL_REQUIRED="true")
    try:
        made.start()
        yield made
        assert made.stop() == 0
        assert made.processes() == []
    finally:
        made.end()


@pytest.fixture
async def dash(walled):
    async with door.open_door(walled.socket) as opened:
        yield opened
        await opened.destroy_all()


async def _bomb(dash, folder, script, **limits):
    folder.mkdir()
    return await dash.swarm(
        "", argv=[PYTHON, "-c", script], cwd=str(folder), limits={"timeout_s": LIVES_S, **limits}
    )


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_stopped_and_says_why_and_honest_agents_finish(dash, tmp_path, gate, name) -> None:
    script, limits, reason = BOMBS[name]
    honest = await dash.swarm(
        'read -r _ < "$1"; echo done',
        gate.path,
        cwd=str(tmp_path),
        agents=HONEST,
        items=[str(number) for number in range(HONEST)],
    )
    await dash.events(honest["id"], "agent.started", HONEST)
    bomb = await _bomb(dash, tmp_path / "bomb", script, **limits)
    await dash.events(bomb["id"], "agent.started")
    with trio.fail_after(STOPPED_S_MAX):
        (dead,) = await dash.events(bomb["id"], "task.dead")
    assert dead["data"]["cause"].startswith(reason)
    assert " raises it" in dead["data"]["cause"]
    gate.let(HONEST)
    report = await dash.ended(honest["id"])
    assert (report["outcome"], len(report["results"])) == ("complete", HONEST)
    events = await dash.events(bomb["id"], ["task.failed", "task.retrying", "task.dead"], 2)
    assert [event["kind"] for event in events] == ["task.failed", "task.dead"]


@pytest.mark.parametrize("ignored", ["", "signal.signal(signal.SIGXCPU, signal.SIG_IGN)"])
async def test_processor_time_is_a_bound_like_the_others(dash, tmp_path, ignored) -> None:
    script = f"import signal, time\n{ignored}\nend = time.time() + {LIVES_S}\nwhile time.time() < end: pass"
    made = await _bomb(dash, tmp_path / "busy", script, cpu_s=1, retries=3)
    with trio.fail_after(LIVES_S):
        events = await dash.events(made["id"], ["task.failed", "task.retrying", "task.dead"], 2)
    assert [event["kind"] for event in events] == ["task.failed", "task.dead"]
    assert events[1]["data"]["cause"] == "a process used its 1 s of processor time; --cpu-s raises it"


async def test_a_full_tmpfs_is_the_agents_own_affair(dash, tmp_path) -> None:
    script = """
import os
taken, fd = 0, os.open("/dev/shm/bomb", os.O_CREAT | os.O_WRONLY)
try:
    while taken < 4 << 30:
        taken += os.write(fd, b"x" * (1 << 20))
except OSError as error:
    print(taken >> 20, error.strerror)
"""
    made = await _bomb(dash, tmp_path / "shm", script)
    report = await dash.ended(made["id"])
    assert report["results"][0]["result"] == "512 No space left on device\n"


async def test_a_flood_of_output_is_cut_and_stops_nobody(dash, tmp_path) -> None:
    script = """
import os
for _ in range(5000):
    os.write(1, b"y" * 65536)
"""
    made = await _bomb(dash, tmp_path / "flood", script)
    with trio.fail_after(LIVES_S):
        report = await dash.ended(made["id"])
    assert report["outcome"] == "complete"


async def test_who_stays_within_its_bounds_is_left_alone(dash, tmp_path) -> None:
    script = """
import os, socket, time
pairs = [socket.socketpair() for _ in range(100)]
for each, _ in pairs:
    each.send(b"x" * 4096)
taken = bytearray(60 << 20)
taken[::4096] = b"x" * (len(taken) // 4096)
for _ in range(20):
    if os.fork() == 0:
        time.sleep(3)  # the pages are its parent's, twenty times
        os._exit(0)
with open("f", "wb") as file:
    file.write(b"x" * (8 << 20))
time.sleep(3)
"""
    made = await _bomb(dash, tmp_path / "honest", script, memory_mb=512, processes=40, disk_mb=16)
    assert (await dash.ended(made["id"]))["outcome"] == "complete"
