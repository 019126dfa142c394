"""What was told to a conversation, as the rows have it."""

from dashd.drivers.driver import Told
from dashd.runtime.journal import Journal, word
from dashd.store.inputs import InputRow
from tests.fakes.scene import SWARM

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
