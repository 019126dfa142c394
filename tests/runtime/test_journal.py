"""What was told to a conversation, as the rows have it."""

from dashd.drivers.driver import Told
from dashd.runtime.journal import Journal, Reading, word
from dashd.store.inputs import InputRow
from tests.fakes.scene import SWARM
from tests.fakes.talking import Counting

LAUNCH = f"{SWARM}-t1.1"


def test_a_journal_says_what_was_told_after_what() -> None:
    hm = word(Told("message", "message:1", "hm"))
    rows = [("hello", None), ("message:1", hm), ("message:2", hm), ("go", None), ("leave", hm)]
    made = [InputRow(LAUNCH, number, key, b"", 0, told) for number, (key, told) in enumerate(rows, 1)]
    history = Journal(tuple(made)).history()
    assert {before: [told.key for told in found] for before, found in history.items()} == {
        "hello": ["message:1", "message:2"],
        "go": ["leave"],
    }
    assert history["hello"][0] == Told("message", "message:1", "hm")


def test_what_was_heard_is_told_by_how_much_had_been_fed_in_the_order_of_hearing() -> None:
    told = [("b", 40, 2), ("a", 40, 0), ("first", 0, 1)]
    rows = [
        InputRow(LAUNCH, number, key, b"", 0, word(Told("message", key, key), fed, turn))
        for number, (key, fed, turn) in enumerate(told, 1)
    ]
    journal = Journal(tuple(rows))
    assert journal.history() == {}
    heard = {fed: [each.key for each in found] for fed, found in journal.heard().items()}
    assert heard == {0: ["first"], 40: ["a", "b"]}
    assert (journal.turns, Journal().turns) == (3, 0)


def test_a_row_of_an_earlier_version_is_told_by_the_input_before_it() -> None:
    row = InputRow(LAUNCH, 1, "message:1", b"", 0, '{"kind":"message","text":"hm"}')
    assert Journal((row,)).history() == {"": [Told("message", "message:1", "hm")]}


def test_a_conversation_hears_again_what_it_heard_where_it_heard_it() -> None:
    said = {0: [Told("message", "m:0", "at once")], 12: [Told("message", "m:1", "later")]}
    talk = Counting({})
    reading = Reading(talk, said)
    for line in (b"ready\n", b"", b"step 1", b"\nstep 2\n"):
        reading.feed(1, line)
    assert [each.key for each in talk.inputs] == ["hello", "m:0", "go", "m:1", "more:1", "more:2"]
    assert (reading.fed, reading.pending) == (20, False)
