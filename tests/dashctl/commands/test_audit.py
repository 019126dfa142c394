"""`dashctl audit …` against a scripted dashd."""

import json

import msgspec

from dashd.wire import errors
from dashd.wire.methods import audit

HEAD = "3:" + "ab" * 32


def row(seq, **changes):
    made = audit.AuditRow(
        seq=seq,
        at="2026-11-20T10:00:00.000Z",
        at_ms=1,
        actor="operator:uid-1000",
        action="budget.extend",
        subject="7k2m9q",
        data={"params": {"budget": "7k2m9q", "usd": 2.5, "why": "\x1b]52;c;evil\x07go"}, "uid": 1000},
        prev="0" * 64,
        hash="ab" * 32,
    )
    return msgspec.structs.replace(made, **changes)


def test_list_shows_who_did_what(dashd, ctl):
    dashd.on("audit.list", audit.AuditList(rows=[row(3), row(2, data={"refused": "not for you"})], head=HEAD))
    ran = ctl("audit", "list", "--action", "budget.*", "--limit", "10")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == ["SEQ", "AT", "WHO", "WHAT", "ON", "DETAILS"]
    assert lines[1].endswith("operator:uid-1000  budget.extend  7k2m9q  budget=7k2m9q usd=2.5 why=go")
    assert lines[2].endswith('refused="not for you"')
    assert dashd.asked("audit.list") == [{"limit": 10, "action": "budget.*"}]


def test_list_goes_on_to_the_next_page(dashd, ctl):
    pages = iter([audit.AuditList(rows=[row(3), row(2)], next=2), audit.AuditList(rows=[row(1)])])
    dashd.on("audit.list", lambda params: next(pages))
    assert [each["seq"] for each in json.loads(ctl("audit", "list", "--json").out)["rows"]] == [3, 2, 1]
    assert dashd.asked("audit.list") == [{"limit": 50}, {"limit": 48, "before": 2}]


def test_list_of_nothing(dashd, ctl):
    dashd.on("audit.list", audit.AuditList())
    assert ctl("audit", "list").out == "Nothing of that kind is on record.\n"


def test_verify_of_a_whole_record(dashd, ctl):
    dashd.on("audit.verify", audit.AuditVerified(ok=True, rows=3, head=HEAD, broken=None, why=""))
    ran = ctl("audit", "verify", "--head", HEAD)
    assert (ran.code, ran.out) == (0, f"ok: 3 rows, each sealed by the next; it ends at {HEAD}\n")
    assert dashd.asked("audit.verify") == [{"head": HEAD}]


def test_verify_of_a_broken_one(dashd, ctl):
    found = audit.AuditVerified(ok=False, rows=1, head=HEAD, broken=2, why="row 2 was changed")
    dashd.on("audit.verify", found)
    ran = ctl("audit", "verify")
    assert ran.code == 1
    assert ran.out.startswith("broken: row 2 was changed\n")
    assert ctl("audit", "verify", "--json").code == 1


def test_export_is_one_object_a_line_and_the_head_last(dashd, ctl):
    sealed = audit.SealedRow(
        prev="0" * 64, seq=1, at_ms=1, actor="a", action="b", subject="c", data='{"é":1}', hash="ab" * 32
    )
    pages = iter(
        [
            audit.AuditExported(rows=[sealed], next=1, head=HEAD),
            audit.AuditExported(rows=[msgspec.structs.replace(sealed, seq=2)], head=HEAD),
        ]
    )
    dashd.on("audit.export", lambda params: next(pages))
    lines = [json.loads(line) for line in ctl("audit", "export").out.splitlines()]
    assert [line.get("seq") for line in lines] == [1, 2, None]
    assert lines[0]["data"] == '{"é":1}'
    assert lines[-1] == {"head": HEAD}
    assert [asked["since"] for asked in dashd.asked("audit.export")] == [0, 1]


def test_an_orchestrator_is_refused(dashd, ctl):
    dashd.on("audit.export", errors.Forbidden("audit.export is not for orchestrator:claude"))
    assert ctl("audit", "export").code == 5
