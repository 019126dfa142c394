"""Table `audit` grows at its end, in the transaction of what it records, and in no other way."""

import apsw
import pytest

from dashd.domain import chain
from dashd.store import audit
from dashd.wire import errors


def put(inline_store, action="swarm.pause", subject="s", **data):
    return inline_store.do(lambda tx: audit.append(tx, "operator:uid-1", action, subject, data))


def test_rows_follow_each_other(inline_store):
    first, second = put(inline_store, a=1), put(inline_store, b=[2])
    links = audit.after(inline_store.db, 0, 10)
    assert [link.seq for link in links] == [1, 2]
    assert (links[0].prev, links[1].prev) == (chain.GENESIS, first.hash)
    assert chain.walk(links, chain.Head()) == (second, None)
    assert audit.head(inline_store.db) == second
    assert audit.hash_of(inline_store.db, 1) == first.hash
    assert audit.hash_of(inline_store.db, 3) is None


def test_the_json_is_one_and_the_same_whatever_the_order(inline_store):
    put(inline_store, b=1, a={"d": 1, "c": 2})
    assert audit.after(inline_store.db, 0, 1)[0].data == '{"a":{"c":2,"d":1},"b":1}'


def test_a_subject_is_one_short_line(inline_store):
    put(inline_store, subject="a\nb\x0bc " + "x" * 500)
    assert audit.after(inline_store.db, 0, 1)[0].subject == "a b c " + "x" * 194


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor = 'somebody else' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT seq, at_ms, 'x', action, subject, data, prev, hash FROM audit"
        " WHERE seq = 2",
        "INSERT INTO audit VALUES (9, 0, '', '', '', '{}', '', '')",
        "UPDATE audit_head SET seq = 1",
        "DELETE FROM audit_head",
        "INSERT OR REPLACE INTO audit_head VALUES (1, 0, '')",
    ],
)
def test_the_tables_refuse_all_else(inline_store, sql):
    put(inline_store)
    head = put(inline_store)
    with pytest.raises(apsw.ConstraintError, match="audit"):
        inline_store.do(lambda tx: tx.execute(sql))
    assert audit.head(inline_store.db) == head
    assert len(audit.after(inline_store.db, 0, 10)) == 2


def test_an_operation_that_fails_leaves_no_row(inline_store):
    def refused(tx):
        audit.append(tx, "a", "b", "c", {})
        raise errors.Conflict("no")

    with pytest.raises(errors.Conflict):
        inline_store.do(refused)
    assert audit.head(inline_store.db) == chain.Head()


def test_ends_are_recorded_with_whoever_was_behind_them(inline_store):
    def operation(tx):
        tx.emit("task.created", swarm="s", task="t")
        tx.emit("swarm.completed", swarm="s", data={"outcome": "complete", "text": "sk-canary"})

    inline_store.do(operation)
    (row,) = audit.after(inline_store.db, 0, 10)
    assert row[2:6] == ("dashd", "swarm.completed", "s", '{"event":2,"outcome":"complete"}')


def test_pages_are_newest_first_and_chosen_by_pattern(inline_store):
    for action in ("swarm.pause", "swarm.resume", "budget.set"):
        put(inline_store, action=action, subject=action[0])

    def page(before=99, limit=10, **chosen):
        given = {"action": "", "actor": "", "subject": ""} | chosen
        return [row.seq for row in audit.page(inline_store.db, before, limit, **given)]

    assert page() == [3, 2, 1]
    assert page(limit=2) == [3, 2]
    assert page(before=2) == [1]
    assert page(action="swarm.*") == [2, 1]
    assert page(subject="b") == [3]
    assert page(actor="orchestrator:*") == []
