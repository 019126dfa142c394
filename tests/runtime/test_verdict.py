"""What a program's end means: of one that prints, by the end of what it printed."""

import errno
import os

import msgspec
import pytest
import trio

from dashd.drivers.command import PRINTED
from dashd.jail import spool
from dashd.jail.launch_folder import ExitRecord
from dashd.runtime import verdict
from dashd.runtime.plan import read_plan
from dashd.runtime.verdict import judged
from tests.fakes.scene import SWARM

ENDED = ExitRecord(
    code=0, signal=None, reason="exit", error=None, spool_bytes=0, spool_dropped=0, wall_ms=1, cpu_ms=1,
    max_rss_kib=1,
)  # fmt: skip


@pytest.fixture
def plan(bed):
    bed.scene.swarm("a", cwd="/")
    return read_plan(bed.store.db, bed.claim(), 0)


async def test_nothing_printed_is_an_empty_result(bed, plan) -> None:
    ending = await judged(bed.world, plan, ENDED)
    assert (ending.state, ending.result, ending.result_cut) == ("succeeded", "", False)


def print_(folder, *pieces):
    folder.mkdir(parents=True)
    opened = os.open(folder, os.O_RDONLY)
    writer = spool.Writer(opened, None)
    for piece in pieces:
        writer.append(spool.STDOUT, piece)
    os.close(opened)
    os.close(writer.fd)
    return writer.payload_bytes


async def test_of_much_the_end_is_the_result_and_it_says_so(bed, plan) -> None:
    longest = PRINTED.result_bytes_max
    printed = print_(bed.world.folder(f"{SWARM}-t1.1"), *[b"x" * 1_000] * (longest // 1_000 + 1), b"end")
    ending = await judged(bed.world, plan, msgspec.structs.replace(ENDED, spool_bytes=printed))
    assert (ending.result_cut, len(ending.result), ending.result[-4:]) == (True, longest, "xend")


async def test_a_damaged_spool_is_no_result(bed, plan) -> None:
    folder = bed.world.folder(f"{SWARM}-t1.1")
    folder.mkdir(parents=True)
    (folder / "spool").write_bytes(b"\xff" * 100)
    with pytest.raises(spool.SpoolCorrupt):
        await judged(bed.world, plan, msgspec.structs.replace(ENDED, spool_bytes=95))


@pytest.mark.parametrize(("refusals", "state"), [(2, "succeeded"), (verdict.TRIES_MAX, "failed")])
async def test_what_cannot_be_read_is_tried_again_for_a_while(
    bed, plan, autojump_clock, monkeypatch, refusals, state
) -> None:
    print_(bed.world.folder(f"{SWARM}-t1.1"), b"all done")
    tail, tries = spool.tail, []

    def scarce(*asked):
        tries.append(trio.current_time())
        if len(tries) <= refusals:
            raise OSError(errno.EMFILE, "Too many open files")
        return tail(*asked)

    monkeypatch.setattr(spool, "tail", scarce)
    ending = await judged(bed.world, plan, msgspec.structs.replace(ENDED, spool_bytes=8))
    assert ending.state == state
    assert ending.result == "all done" if state == "succeeded" else "Too many open files" in ending.reason
