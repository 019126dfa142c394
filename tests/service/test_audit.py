"""`audit.*`: what was done can be listed, checked and taken elsewhere."""

import hashlib

import pytest

from dashd.domain import chain
from dashd.store import audit
from dashd.wire import errors


def rewrite(db, sql):
    """As somebody with the file does it, triggers out of the way."""
    for (name,) in list(db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")):
        db.execute(f"DROP TRIGGER {name}")
    db.execute(sql)


async def some(call):
    made = await call("swarm.create", task="t")
    await call("swarm.pause", swarm=made.id)
    await call("swarm.resume", swarm=made.id)
    return made.id


async def test_who_did_what_newest_first(core, call):
    swarm = await some(call)
    found = await call("audit.list")
    assert [(row.action, row.subject, row.actor) for row in found.rows] == [
        ("swarm.resume", swarm, "operator:uid-0"),
        ("swarm.pause", swarm, "operator:uid-0"),
        ("swarm.create", swarm, "operator:uid-0"),
    ]
    assert found.rows[1].data == {"changed": True, "params": {"swarm": swarm}, "state": "paused", "uid": 0}
    assert found.rows[2].data["params"] == {"task": "[1 characters]"}
    assert found.head == str(audit.head(core.store.db))
    page = await call("audit.list", limit=2)
    assert (page.next, [row.seq for row in page.rows]) == (2, [3, 2])
    assert [row.seq for row in (await call("audit.list", before=2)).rows] == [1]


async def test_a_whole_chain_is_whole(call, monkeypatch):
    monkeypatch.setattr("dashd.service.audit.VERIFY_ROWS_MAX", 2)
    assert (await call("audit.verify")).ok
    await some(call)
    found = await call("audit.verify")
    assert (found.ok, found.rows, found.broken, found.why) == (True, 3, None, "")
    noted = (await call("daemon.status")).audit
    assert found.head == noted
    await some(call)
    assert (await call("audit.verify", head=noted)).ok


@pytest.mark.parametrize("rows_max", [1, 2, 2_000])
@pytest.mark.parametrize(
    ("sql", "broken", "said"),
    [
        ("UPDATE audit SET actor = 'x' WHERE seq = 2", 2, "row 2 was changed"),
        ("DELETE FROM audit WHERE seq = 2", 2, "row 2 is missing"),
        ("DELETE FROM audit WHERE seq = 3", 3, "cut off"),
        ("DELETE FROM audit", 1, "cut off"),
        ("UPDATE audit_head SET hash = 'x'", 3, "its head says"),
        (
            "INSERT INTO audit SELECT 4, at_ms, actor, action, subject, data, prev, hash FROM audit"
            " WHERE seq = 3",
            4,
            "past the head",
        ),
    ],
)
async def test_the_first_broken_row_is_named(core, call, monkeypatch, rows_max, sql, broken, said):
    monkeypatch.setattr("dashd.service.audit.VERIFY_ROWS_MAX", rows_max)
    await some(call)
    rewrite(core.store.db, sql)
    found = await call("audit.verify")
    assert (found.ok, found.broken) == (False, broken)
    assert said in found.why


async def test_a_tail_cut_off_with_its_head_is_shown_by_a_head_noted_before(core, call):
    await some(call)
    noted = (await call("daemon.status")).audit
    rewrite(core.store.db, "DELETE FROM audit WHERE seq = 3")
    core.store.db.execute("UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit WHERE seq = 2)")
    assert (await call("audit.verify")).ok, "by itself nothing shows it"
    found = await call("audit.verify", head=noted)
    assert (found.ok, found.broken) == (False, 3)
    other = chain.Head(2, "0" * 64)
    assert "another one" in (await call("audit.verify", head=str(other))).why
    with pytest.raises(errors.InvalidParams, match="is no head"):
        await call("audit.verify", head="yesterday")


async def test_an_export_can_be_checked_without_dash(call):
    await some(call)
    rows, since = [], 0
    while True:
        page = await call("audit.export", since=since, limit=2)
        rows += page.rows
        since = page.next
        if not since:
            break
    prev = "0" * 64
    for row in rows:
        fields = (prev, row.seq, row.at_ms, row.actor, row.action, row.subject, row.data)
        prev = hashlib.sha256("\n".join(map(str, fields)).encode()).hexdigest()
        assert prev == row.hash
    assert page.head == f"3:{prev}"
