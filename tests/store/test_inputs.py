"""Inputs and messages: numbered, in order, each key once."""

import apsw
import pytest

from dashd.store import attempts, inputs
from dashd.store.inputs import InputRow
from tests.fakes.scene import SWARM

LAUNCH = f"{SWARM}-t1.1"


@pytest.fixture(autouse=True)
def claimed(scene) -> None:
    scene.swarm("a")
    scene.claim()


def _row(number: int, key: str) -> InputRow:
    return InputRow(LAUNCH, number, key, b'{"\xff"}\n', int(key == "end"), None)


def test_they_come_back_in_order_until_the_launch_is_over(scene) -> None:
    rows = [_row(1, "ready"), _row(2, "prompt:1"), _row(3, "end")]
    for row in reversed(rows):
        scene.do(lambda tx, row=row: inputs.insert(tx, row))
    assert inputs.of_launch(scene.db, LAUNCH) == rows
    assert inputs.of_launch(scene.db, "other") == []
    assert scene.do(lambda tx: inputs.forget(tx, LAUNCH, LAUNCH)) == []
    assert inputs.of_launch(scene.db, LAUNCH) == []


@pytest.mark.parametrize("again", [_row(1, "prompt:1"), _row(2, "ready")])
def test_neither_number_nor_key_comes_twice(scene, again) -> None:
    scene.do(lambda tx: inputs.insert(tx, _row(1, "ready")))
    with pytest.raises(apsw.ConstraintError):
        scene.do(lambda tx: inputs.insert(tx, again))


def test_messages_that_never_became_an_input_came_too_late(scene) -> None:
    for text in ("heard", "too late"):
        scene.do(lambda tx, text=text: inputs.add_message(tx, LAUNCH, text))
    scene.do(lambda tx: inputs.insert(tx, _row(1, "message:1")))
    assert scene.do(lambda tx: inputs.forget(tx, LAUNCH, LAUNCH)) == [2]


def test_messages_are_numbered_within_their_attempt(scene) -> None:
    numbers = [scene.do(lambda tx, text=text: inputs.add_message(tx, LAUNCH, text)) for text in ("a", "b")]
    assert numbers == [1, 2]
    found = [(row.number, row.text) for row in inputs.messages(scene.db, LAUNCH, 1)]
    assert found == [(2, "b")]
    assert inputs.message_count(scene.db, LAUNCH) == 2
    assert [said for *_, said in attempts.wishes(scene.db)] == [2]
