"""When places are asked, and what silence means: made-up places, in virtual time."""

import msgspec
import pytest
import trio

from dashd.runtime.rounds import AGAIN_S, AT_ONCE_MAX, EVERY_S, Rounds, Seen
from dashd.store.bells import Bell


class Row(msgspec.Struct, frozen=True):
    name: str
    added_at_ms: int = 0
    draining: int = 0


class Scripted(Rounds[Row, Seen[Row]]):
    """Places that answer True, do not answer False, or hang (None)."""

    def __init__(self) -> None:
        self.bell = Bell()
        super().__init__(self.bell)
        self.made: list[Row] = []
        self.answers: dict[str, bool | None] = {}
        self.asked: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0

    def put(self, row: Row, answer: bool | None = True) -> None:
        self.made = [each for each in self.made if each.name != row.name] + [row]
        self.answers[row.name] = answer
        self.bell.ring()

    async def rows(self):
        await trio.lowlevel.checkpoint()
        return list(self.made)

    def fresh(self, row):
        return Seen(row, trio.current_time())

    async def probe(self, seen):
        self.asked.append((trio.current_time(), seen.row.name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(1 if self.answers[seen.row.name] is not None else 5)
        finally:
            self.at_once -= 1
        if self.answers[seen.row.name]:
            self.answered(seen, "1.5", 0.5)
        else:
            self.failed(seen, "no answer" * 100)


@pytest.fixture
async def rounds(nursery):
    made = Scripted()
    nursery.start_soon(made.run)
    return made


async def test_a_new_one_is_asked_at_once_and_then_every_thirty_seconds(rounds, autojump_clock):
    await trio.sleep(100)
    rounds.put(Row("a"))
    await trio.sleep(2 * EVERY_S + 5)
    assert [at - 100 for at, _ in rounds.asked] == pytest.approx([0, 1 + EVERY_S, 2 + 2 * EVERY_S])
    seen = rounds.seen["a"]
    assert (seen.health, seen.why, seen.version, seen.latency_ms) == ("alive", "", "1.5", 500)


async def test_one_silence_is_unknown_and_the_second_is_death(rounds, autojump_clock):
    rounds.put(Row("a"), answer=False)
    await trio.sleep(2)
    seen = rounds.seen["a"]
    assert (seen.health, len(seen.why)) == ("unknown", 300)
    await trio.sleep(AGAIN_S + 1)
    assert seen.health == "dead"
    rounds.answers["a"] = True
    await trio.sleep(EVERY_S + 1)
    assert (seen.health, seen.failures) == ("alive", 0)


async def test_one_added_anew_is_another_one(rounds, autojump_clock):
    rounds.put(Row("a"), answer=False)
    await trio.sleep(2)
    rounds.put(Row("a", added_at_ms=1))
    await trio.sleep(2)
    assert (rounds.seen["a"].health, rounds.seen["a"].failures) == ("alive", 0)
    rounds.made.clear()
    assert await rounds.ask("a") is None
    assert rounds.seen == {}


async def test_some_that_hang_keep_no_other_waiting_for_long(rounds, autojump_clock):
    for number in range(AT_ONCE_MAX + 4):
        rounds.put(Row(f"g{number}"), answer=None if number else True)
    await trio.sleep(30)
    assert rounds.most_at_once == AT_ONCE_MAX
    assert rounds.seen["g0"].health == "alive"


async def test_one_is_asked_although_it_is_not_due(rounds, autojump_clock):
    rounds.put(Row("a"))
    await trio.sleep(2)
    assert (await rounds.ask("a")).health == "alive"
    assert len(rounds.asked) == 2


async def test_rows_that_were_read_late_replace_no_newer_ones(rounds, autojump_clock):
    """Somebody asks while a round looks: the older answer may come last."""
    await trio.sleep(1)
    rows, first = rounds.rows, []

    async def slow():
        found = await rows()
        if not first:
            first.append(found)
            await trio.sleep(5)
        return found

    rounds.rows = slow
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.ask, "a")
        await trio.sleep(1)
        rounds.put(Row("a"))
    await trio.sleep(5)
    assert list(rounds.seen) == ["a"]
