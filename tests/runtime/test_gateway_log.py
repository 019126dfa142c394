"""What an agent of a gateway says, kept for people: in order, bounded, over restarts of dashd."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_protocol import RunEvent
from dashd.jail import spool
from dashd.runtime import gateway_log
from dashd.runtime.gateway_log import BYTES_MAX, PIECE_BYTES_MAX, GatewayLog
from dashd.runtime.growth import Growth

LAUNCH = "s-t1.1"
GOLDEN = Path(__file__).parents[2] / "schema/golden/openclaw-gateway-2026.9.6/tool.ndjson"


class Kept:
    """A log, and what is in its file."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.growth = Growth()
        self.log = self.fresh()

    def fresh(self) -> GatewayLog:
        world = SimpleNamespace(folder=lambda launch_id: self.folder / launch_id, growth=self.growth)
        return GatewayLog(world, LAUNCH)  # type: ignore[arg-type]

    def says(self, text: str, delta: str | None = None) -> None:
        more = {} if delta is None else {"delta": delta}
        self.log.hear(RunEvent("r", "assistant", {"text": text, **more}))

    def calls(self, name: str, args: Any = None) -> None:
        self.log.hear(RunEvent("r", "tool", {"phase": "start", "name": name, "args": args}))

    async def written(self) -> None:
        """As at the end of the attempt, or of this dashd."""
        with trio.CancelScope() as scope:
            scope.cancel()
            await self.log.keep()

    def records(self) -> list[tuple[int, bytes]]:
        found, _ = spool.read(self.folder / LAUNCH, 0, 1 << 30)
        return found

    def text(self, stream: int | None = None) -> str:
        return b"".join(data for number, data in self.records() if stream in (None, number)).decode()


@pytest.fixture
def kept(tmp_path) -> Kept:
    return Kept(tmp_path)


async def test_a_run_of_the_real_one_is_kept_as_it_went(kept) -> None:
    for frame in GOLDEN.read_bytes().splitlines():
        told = protocol.decode(frame)
        if isinstance(told, protocol.Event):
            kept.log.hear(msgspec.json.decode(told.payload, type=RunEvent))
    await kept.written()
    said, *rest = kept.text().splitlines()
    assert (said, rest[0]) == ("I look.", "[exec echo hi]")
    assert msgspec.json.decode(rest[1])["summary"] == "all done"
    assert len(rest) == 2


async def test_what_it_says_and_which_tools_it_calls_is_there_in_order(kept) -> None:
    kept.says("I", "I")
    kept.says("I look", " look")
    kept.calls("exec", {"command": "ls\n-la"})
    kept.calls("write", {"path": "a"})
    kept.says("Do", "Do")
    kept.says("Done now.", "")  # the event between them is missing
    kept.log.settle("Done now.", "")
    kept.says("More", "More")
    kept.log.settle("More", "it was aborted (rpc)")
    await kept.written()
    assert kept.text() == (
        'I look\n[exec ls -la]\n[write {"path": "a"}]\nDone now.\nMore\n[it was aborted (rpc)]\n'
    )
    assert kept.text(spool.STDERR).startswith("[exec")


async def test_two_messages_in_a_row_and_deltas_alone(kept) -> None:
    kept.says("A long one.")
    kept.says("Short")
    kept.log.hear(RunEvent("r", "assistant", {"delta": "er"}))
    kept.log.hear(RunEvent("r", "assistant", {"text": 7, "delta": None}))
    kept.log.hear(RunEvent("r", "usage", {"text": "no"}))
    await kept.written()
    assert kept.text() == "A long one.\nShorter"


async def test_a_tool_takes_one_line_and_does_nothing_to_a_terminal(kept) -> None:
    kept.calls("exec", {"command": "\x1b[2J" + "x" * 10_000})
    kept.calls("", None)
    await kept.written()
    first, second = kept.text().splitlines()
    assert ("\x1b" in first, len(first) < 500, first.endswith("…]")) == (False, True, True)
    assert second == "[a tool]"


async def test_a_turn_that_nobody_heard_is_there_once(kept) -> None:
    kept.log.settle("fine", "")
    kept.log.settle("again", "")
    await kept.written()
    kept.log = kept.fresh()  # as after a restart of dashd, which asks how the turns have ended
    kept.log.settle("fine", "")
    kept.log.settle("again", "")
    kept.log.settle("the third", "")
    await kept.written()
    assert kept.text() == "fine\nagain\nthe third\n"


async def test_a_record_that_a_crash_has_torn_is_taken_back(kept) -> None:
    kept.says("first")
    await kept.written()
    with (kept.folder / LAUNCH / "spool").open("ab") as file:
        file.write(b"\x01\x00\x00\x00\x09torn")
    kept.log = kept.fresh()
    kept.says("second")
    await kept.written()
    assert kept.text() == "firstsecond"


async def test_so_much_is_written_a_second_and_the_rest_is_counted(kept, nursery, autojump_clock) -> None:
    nursery.start_soon(kept.log.keep)
    waiting = kept.growth.ticket(LAUNCH)
    for number in range(10_000):
        kept.log.hear(RunEvent("r", "assistant", {"delta": f"{number:09} "}))
    await trio.testing.wait_all_tasks_blocked()
    assert waiting.is_set()
    text = kept.text()
    assert text.startswith("000000000 000000001 ")
    assert len(text) < PIECE_BYTES_MAX + 100
    assert f"[{100_000 - PIECE_BYTES_MAX // 10 * 10:,} bytes left out]" in text
    records = len(kept.records())
    for _ in range(10):
        kept.calls("exec")
        await trio.testing.wait_all_tasks_blocked()
    assert len(kept.records()) == records  # not before the second is over
    await trio.sleep(2 * gateway_log.PERIOD_S)
    assert len(kept.records()) == records + 2  # the end of its line, and all of them


async def test_the_end_of_what_it_said_too_fast_is_there_all_the_same(kept) -> None:
    kept.says("x" * PIECE_BYTES_MAX)
    kept.says("x" * PIECE_BYTES_MAX + " and the result")
    kept.log.settle("x" * PIECE_BYTES_MAX + " and the result", "")
    await kept.written()
    assert kept.text().endswith("x and the result\n")


async def test_an_attempt_that_talks_without_end_is_cut_and_its_results_are_kept(
    kept, nursery, autojump_clock
) -> None:
    nursery.start_soon(kept.log.keep)
    for _ in range(BYTES_MAX // PIECE_BYTES_MAX + 20):
        kept.log.hear(RunEvent("r", "assistant", {"delta": "x" * PIECE_BYTES_MAX}))
        await trio.sleep(gateway_log.PERIOD_S)
    kept.log.settle("y" * 10 * PIECE_BYTES_MAX, "")
    await trio.sleep(2 * gateway_log.PERIOD_S)
    size = (kept.folder / LAUNCH / "spool").stat().st_size
    assert size < BYTES_MAX + 3 * PIECE_BYTES_MAX
    assert kept.text().count("no more of what it says is kept") == 1
    assert kept.text().endswith("y" * PIECE_BYTES_MAX + "\n")


async def test_where_nothing_can_be_written_nothing_else_happens(kept) -> None:
    (kept.folder / LAUNCH).write_text("no folder")
    kept.says("lost")
    await kept.written()


async def test_who_says_nothing_has_no_folder(kept) -> None:
    kept.log.settle("", "")
    await kept.written()
    assert list(kept.folder.iterdir()) == []


async def test_what_there_is_no_thread_to_write_is_written_in_the_next_period(
    kept, nursery, autojump_clock, scarce
) -> None:
    scarce(2)
    nursery.start_soon(kept.log.keep)
    kept.says("x" * PIECE_BYTES_MAX)
    await trio.sleep(0.1)
    kept.says("x" * PIECE_BYTES_MAX + " and more")
    await trio.sleep(2 * gateway_log.PERIOD_S - 0.2)
    assert not (kept.folder / LAUNCH).exists()
    await trio.sleep(0.2)
    assert kept.text() == "x" * PIECE_BYTES_MAX + "\n[9 bytes left out]\n"


async def test_without_a_thread_in_the_end_the_rest_is_lost_and_nothing_else(
    kept, scarce, monkeypatch
) -> None:
    kept.says("first")
    await kept.written()
    kept.says("first, second")
    scarce(99)
    closed = []
    monkeypatch.setattr(kept.log, "_close", lambda: closed.append(True))
    await kept.written()
    assert (kept.text(), closed) == ("first", [True])
