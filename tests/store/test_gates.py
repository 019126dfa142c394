"""Table `gate`."""

from dashd.domain.gates import Gate
from dashd.store import gates

BIG = Gate("big", "money", "", 10, "ask", "operator", False, 60.0, "deny")
PUSH = Gate("push", "command", "git push*", 0, "deny", "operator", True, 60.5, "deny")


def test_rules_are_kept_replaced_and_removed(inline_store):
    for each in (BIG, PUSH):
        inline_store.do(lambda tx, each=each: gates.put(tx, each))
    assert gates.every(inline_store.db) == [PUSH, BIG]
    assert gates.of_kind(inline_store.db, "money") == [BIG]
    dearer = Gate("big", "money", "", 20, "ask", "orchestrator", False, 60.0, "allow")
    inline_store.do(lambda tx: gates.put(tx, dearer))
    assert gates.of_kind(inline_store.db, "money") == [dearer]
    assert inline_store.do(lambda tx: gates.remove(tx, "big"))
    assert not inline_store.do(lambda tx: gates.remove(tx, "big"))
    assert gates.every(inline_store.db) == [PUSH]
