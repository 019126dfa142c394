"""Both streams of an agent in one spool: what it said on stderr before it spoke on stdout stands first."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from dashd.jail import spool
from dashd.jail.agent_out import STDERR_READS_MAX, AgentOut
from tests.jail.world import World, deadline, printed

PIPE_BYTES_MAX = STDERR_READS_MAX * spool.PAYLOAD_BYTES_MAX
RECORDS = 3_000


class Pipes:
    """Both pipes with somebody at their other ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        (self.stdout, self.out), (self.stderr, self.err) = os.pipe(), os.pipe()
        self.read = AgentOut(self.here, None, self.stdout, self.stderr)

    @property
    def kept(self) -> list[tuple[int, bytes]]:
        return spool.read(self.folder, 0, 1 << 30)[0]

    def close(self) -> None:
        for fd in (self.here, self.stdout, self.stderr, self.out, self.err, self.read.spool.fd):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    made = Pipes(tmp_path)
    yield made
    made.close()


def test_why_stands_before_the_end(pipes: Pipes) -> None:
    os.write(pipes.err, b"refused\n")
    os.write(pipes.out, b"ended\n")
    assert pipes.read.move(pipes.stdout, keep=True)
    assert pipes.kept == [(2, b"refused\n"), (1, b"ended\n")]
    assert not pipes.read.move(pipes.stderr, keep=True)
    assert not pipes.read.move(pipes.stdout, keep=True)


def test_all_of_it_though_the_pipe_was_made_larger(pipes: Pipes) -> None:
    fcntl.fcntl(pipes.err, fcntl.F_SETPIPE_SZ, PIPE_BYTES_MAX)
    os.set_blocking(pipes.err, False)
    said = 0
    while said < PIPE_BYTES_MAX:
        said += os.write(pipes.err, b"x" * (PIPE_BYTES_MAX - said))
    os.write(pipes.out, b"ended\n")
    assert pipes.read.move(pipes.stdout, keep=True)
    *before, last = pipes.kept
    assert last == (1, b"ended\n")
    assert (len(before), sum(len(payload) for _, payload in before)) == (STDERR_READS_MAX, PIPE_BYTES_MAX)


def test_a_flood_has_it_wait_for_what_a_pipe_can_hold(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever floods fills it again in the same instant."""
    read = os.read

    def flooded(fd: int, count: int) -> bytes:
        return b"x" * count if fd == pipes.stderr else read(fd, count)

    monkeypatch.setattr(os, "read", flooded)
    os.write(pipes.out, b"heard\n")
    assert pipes.read.move(pipes.stdout, keep=True)
    assert pipes.kept == [(2, b"x" * spool.PAYLOAD_BYTES_MAX)] * STDERR_READS_MAX + [(1, b"heard\n")]


def test_ends_are_told_once_and_what_is_not_kept_is_read_all_the_same(pipes: Pipes) -> None:
    os.write(pipes.out, b"late\n")
    os.close(pipes.err)
    pipes.err = -1
    assert pipes.read.move(pipes.stdout, keep=False)
    assert (pipes.kept, pipes.read.ended, pipes.read.open) == ([], [pipes.stderr], [pipes.stdout])
    pipes.read.ended.clear()
    assert not pipes.read.move(pipes.stderr, keep=True)
    assert pipes.read.ended == []


@deadline
async def test_whatever_a_holder_is_at_meanwhile(world: World, tmp_path: Path) -> None:
    """It stands still while the agent says why on stderr, and on stdout that it has ended."""
    go, done = tmp_path / "go", tmp_path / "done"
    os.mkfifo(go)
    os.mkfifo(done)
    script = f"echo ready; read -r _ < {go}; echo refused >&2; echo ended; echo x > {done}; sleep 100"
    folder = await world.launch("a", script)
    link = await world.adopt(folder)
    await printed(link, folder, b"ready")
    os.kill(world.holders["a"][0], signal.SIGSTOP)
    for step in (partial(go.write_text, "x\n"), done.read_text):
        await trio.to_thread.run_sync(step, abandon_on_cancel=True)
    os.kill(world.holders["a"][0], signal.SIGCONT)
    await printed(link, folder, b"ended")
    assert spool.read(folder, 0, 1 << 20)[0] == [(1, b"ready\n"), (2, b"refused\n"), (1, b"ended\n")]


BUSY = f"""
import os
for number in range({RECORDS}):
    os.write(2, b"e%d\\n" % number)
    os.write(1, b"o%d\\n" % number)
"""
FLOOD = """
import os, threading
def flood():
    while True:
        os.write(2, b"x" * 65536)
threading.Thread(target=flood, daemon=True).start()
for number in range(20):
    os.write(1, b"o%d\\n" % number)
os.write(1, b"all\\n")
threading.Event().wait()
"""


@deadline
async def test_the_order_is_kept_while_both_are_busy(world: World) -> None:
    folder = await world.launch("a", sys.executable, "-I", "-S", "-c", BUSY)
    await world.finish(folder)
    seen = {1: -1, 2: -1}
    rest = {1: b"", 2: b""}
    for stream, payload in spool.read(folder, 0, 1 << 30)[0]:
        *lines, rest[stream] = (rest[stream] + payload).split(b"\n")
        seen[stream] += len(lines)
        assert seen[2] >= seen[1], "said on stderr before, and read after"
    assert seen == {1: RECORDS - 1, 2: RECORDS - 1}


@deadline
async def test_a_flood_on_stderr_starves_nobody(world: World) -> None:
    folder = await world.launch("a", sys.executable, "-I", "-S", "-c", FLOOD, output_bytes_max=64 << 20)
    link = await world.adopt(folder)
    offset, said = 0, b""
    while b"all\n" not in said:
        await link.receive()
        records, offset = spool.read(folder, offset, 1 << 30)
        said += b"".join(payload for stream, payload in records if stream == 1)
    await link.stop(0.0)
    await world.finish(folder)
