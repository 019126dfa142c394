"""What is left to do: of a result, and of the boxes that are not ticked; whatever an agent has written."""

import json

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import todos

WORDS = st.text("ab é`{<", max_size=300)


def test_a_result_names_them() -> None:
    assert todos.follow_ups('{"summary": "s", "follow_ups": ["a", "b"]}') == ["a", "b"]
    for none in ('{"summary": "s"}', "it is done", '{"follow_ups": [1]}', "[" * 100_000, ""):
        assert todos.follow_ups(none) == []


def test_boxes_without_a_tick_are_what_is_left() -> None:
    text = "Plan:\n- [x] one\n- [ ] two\n  * [ ] three \n3. [X] four\n4) [ ] five\n- [] six\n[ ] seven\n- [ ]"
    assert todos.unticked(text) == ["two", "three", "five"]
    assert todos.unticked("- [x] one\n- [x] two") == [], "all of it is done"
    assert todos.unticked("- one\n- two") is None


def test_each_is_named_once_and_some_are_only_counted() -> None:
    assert todos.merged(["a", " a ", ""], ["b\nc", "a"]) == (["a", "b c"], 0)
    many = [str(number) for number in range(todos.TODOS_MAX + 3)]
    assert todos.merged(many) == (many[: todos.TODOS_MAX], 3)


@given(st.lists(st.tuples(st.sampled_from(["- [ ] ", "- [x] ", "- ", ""]), WORDS), max_size=60))
def test_what_is_found_are_the_items_as_they_were_written(lines) -> None:
    boxes = [(mark, said) for mark, said in lines if "[" in mark]
    left = [said.strip() for mark, said in boxes if mark == "- [ ] "] if boxes else None
    assert todos.unticked("\n".join(f"{mark}{said}" for mark, said in lines)) == left


@given(st.text(max_size=3_000), st.lists(st.text(max_size=500), max_size=80))
def test_any_text_is_read_and_bounded(text, said) -> None:
    found, more = todos.merged(todos.follow_ups(text), todos.unticked(text) or [], said)
    assert len(found) <= todos.TODOS_MAX
    assert all(len(each) <= todos.TODO_CHARACTERS_MAX + len(" […cut]") for each in found)
    assert not any("\n" in each or "\r" in each for each in found)
    assert more == 0 or len(found) == todos.TODOS_MAX


@given(st.lists(st.text(max_size=50), max_size=20))
def test_every_follow_up_of_a_stored_result_is_found(said) -> None:
    assert todos.follow_ups(json.dumps({"summary": "s", "follow_ups": said})) == said
