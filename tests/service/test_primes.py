"""A session summed up: from the rows and its words, bounded."""

from dashd.domain.session_tree import Node, SessionTree
from dashd.service.primes import SAID_CHARACTERS_MAX, Facts, markdown, text

FACTS = Facts("fix it", "a.py", "completed", "3 of 5: halfway", '{"summary": "ok"}', ("M a.py",), 2)


class Talk:
    """A transcript whose steps say what they are."""

    whole = b""
    tree = SessionTree(
        [
            Node("n0", None, "system"),
            Node("n1", "n0", "user"),
            Node("n2", "n1", "assistant"),
            Node("x", "n1", "assistant"),
            Node("n3", "n2", "tool"),
            Node("n4", "n3", "assistant"),
        ]
    )

    def text(self, node_id):
        return "" if node_id == "n2" else f"said at {node_id} " + "x" * 2 * SAID_CHARACTERS_MAX

    def cut(self, node_id, *, session_id, cwd, at_ms):
        raise AssertionError("nothing is copied")


def test_it_holds_what_a_fresh_one_needs_and_no_other_branch():
    found = text(FACTS, Talk())
    for part in ("Task: fix it", "Item: a.py", "State: completed (3 of 5: halfway)", "M a.py\n(and 2 more)"):
        assert part in found
    assert "said at n4" in found
    assert "said at x " not in found
    assert "said at n1" not in found, "the brief is there already"
    assert len(found) < 2 * SAID_CHARACTERS_MAX


def test_what_is_not_known_is_not_there():
    found = text(Facts("t", "", "running", "", "", (), 0), Talk())
    assert "Item:" not in found
    assert "Files" not in found
    assert "returned" not in found


def test_for_people_it_is_the_way_that_goes_on():
    found = markdown("s", Talk())
    assert found.startswith("# Session s\n\n## user (n1)\n\nsaid at n1")
    assert "system" not in found
    assert "(x)" not in found
