"""Conversations as trees: small ones by hand, and any shape a torn or hostile file may give."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.session_tree import Node, SessionTree, UnknownStep

TALK = (
    Node("aa01", None, "note"),
    Node("aa02", "aa01", "system", "You are"),
    Node("ab03", "aa02", "user", "do it"),
    Node("ac04", "ab03", "assistant", "I look", calls=("c1", "c2")),
    Node("ac05", "ac04", "tool", "hi", answers="c1"),
    Node("ac06", "ac05", "tool", "ho", answers="c2"),
    Node("ac07", "ac06", "assistant", "done"),
    Node("ad08", "ab03", "assistant", "otherwise"),
)


@st.composite
def any_nodes(draw):
    """Nodes with parents that may come later, be themselves, or not exist; ids may repeat."""
    ids = st.integers(0, 12).map(lambda number: f"n{number}")
    calls = st.lists(st.sampled_from(["c1", "c2", "c3"]), max_size=2).map(tuple)
    return draw(
        st.lists(
            st.builds(
                Node,
                ids,
                st.none() | ids | st.just("gone"),
                st.sampled_from(["user", "assistant", "tool", "note"]),
                calls=calls,
                answers=st.none() | st.sampled_from(["c1", "c2"]),
            ),
            max_size=20,
        )
    )


def unanswered(tree, node_id):
    """The tool calls that have no result yet on the way to this step."""
    asked = set()
    for node in tree.path(node_id):
        if node.role in ("user", "assistant"):
            asked = set(node.calls)
        asked.discard(node.answers)
    return asked


def test_a_path_is_one_branch_from_the_root():
    tree = SessionTree(TALK)
    assert [node.id for node in tree.path("ac05")] == ["aa01", "aa02", "ab03", "ac04", "ac05"]
    assert tree.leaf == "ad08"
    assert tree.path(None) == []


def test_what_was_said_has_a_depth_that_grows_where_it_forks():
    said = [(depth, node.id) for depth, node in SessionTree(TALK).spoken()]
    assert said == [(0, "ab03"), (1, "ac04"), (1, "ac05"), (1, "ac06"), (1, "ac07"), (1, "ad08")]


def test_a_conversation_deeper_than_the_stack_is_read():
    tree = SessionTree(Node(str(at), str(at - 1), "user") for at in range(5_000))
    assert len(list(tree.spoken())) == len(tree.path("4999")) == 5_000


@pytest.mark.parametrize(
    ("at", "goes_on_from", "open_"),
    [
        ("ac04", "ab03", {"c1", "c2"}),
        ("ac05", "ab03", {"c2"}),
        ("ac06", "ac06", set()),
        ("ac07", "ac07", set()),
    ],
)
def test_inside_a_round_of_tools_it_goes_on_from_before_it(at, goes_on_from, open_):
    tree = SessionTree(TALK)
    assert unanswered(tree, at) == open_
    assert tree.resumable(at).id == goes_on_from


def test_a_call_that_a_kill_left_open_is_closed_by_what_was_said_next():
    killed = (*TALK[:5], Node("b6", "ac05", "user", "Your program was killed"))
    later = (*killed, Node("b7", "b6", "assistant", "I look again", calls=("c3",)))
    done = (*later, Node("b8", "b7", "tool", "hi", answers="c3"))
    assert SessionTree(killed).resumable("b6").id == "b6"
    tree = SessionTree(done)
    assert [tree.resumable(at).id for at in ("ac05", "b6", "b7", "b8")] == ["ab03", "b6", "b6", "b8"]
    assert [tree.is_broken_off(at) for at in ("ab03", "ac05", "b6", "b7", "b8")] == [
        False, True, False, True, False,
    ]  # fmt: skip


def test_a_step_is_found_by_its_beginning():
    tree = SessionTree(TALK)
    assert tree.find("ad08").id == tree.find("ad").id == "ad08"
    with pytest.raises(UnknownStep, match="'ac' is several steps") as error:
        tree.find("ac")
    assert error.value.hint == "so begin ac04, ac05, ac06, ac07"
    with pytest.raises(UnknownStep, match="there is no step 'zz'") as error:
        tree.find("zz")
    assert error.value.hint == "the latest steps are aa02, ab03, ad08"
    with pytest.raises(UnknownStep) as error:
        SessionTree([]).find("a")
    assert error.value.hint == "nothing was said yet"


@given(any_nodes())
def test_any_file_is_a_forest_in_which_every_step_is_reached_once(nodes):
    tree = SessionTree(nodes)
    assert set(tree.nodes) == {node.id for node in nodes}
    for node_id in tree.nodes:
        way = tree.path(node_id)
        assert way[0].parent is None
        assert way[-1].id == node_id
        assert all(child.parent == parent.id for parent, child in itertools.pairwise(way))
    said = [node.id for _, node in tree.spoken()]
    assert len(said) == len(set(said)) == sum(node.role != "note" for node in tree.nodes.values())


@given(any_nodes().filter(bool))
def test_where_it_goes_on_is_on_the_way_and_leaves_nothing_open(nodes):
    tree = SessionTree(nodes)
    for node_id in tree.nodes:
        found = tree.resumable(node_id)
        assert found in tree.path(node_id)
        assert not unanswered(tree, found.id) or found == tree.path(node_id)[0]
