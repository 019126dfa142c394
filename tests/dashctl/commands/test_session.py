"""`dashctl session …` against a scripted dashd."""

import msgspec
import pytest

from dashctl.commands import session
from dashd.wire.methods import session as wire
from tests.dashctl import answers
from tests.fakes import daemon as fake

S = "s-t1.1"
AT = "2026-11-20T10:00:00.000Z"


def a_session(**changes):
    made = {
        "id": S, "swarm": "s", "agent": "s-001", "task": "s-t1", "driver": "pi", "state": "closed",
        "begun_from": None, "head": None, "opened_at": AT,
    }  # fmt: skip
    return wire.Session(**(made | changes))


def test_list_and_get(dashd, ctl):
    dashd.on("session.list", wire.SessionList(items=[a_session()], next_cursor="", total=1))
    assert ctl("session", "list", "--swarm", "s").out.splitlines()[1].split()[:2] == [S, "closed"]
    dashd.on("session.list", wire.SessionList(items=[], next_cursor="", total=0))
    assert "a session begins when" in ctl("session", "list").err
    kept = wire.Checkpoint(id="c-1", kind="named", name="\x1b[31mgood", step="n1", steps=1, bytes=9, at=AT)
    dashd.on("session.get", a_session(begun_from="c-0", head="c-1", checkpoints=[kept]))
    out = ctl("session", "get", S).out
    assert "begun from checkpoint c-0" in out
    assert "named, 1 step to n1, 1 KiB" in out
    assert "\x1b" not in out


def test_a_list_is_read_to_its_end_or_to_a_limit_which_is_said(dashd, ctl):
    def page(params: wire.ListSessions) -> wire.SessionList:
        start = int(params.cursor or 0)
        end = min(start + params.limit, 120)
        items = [a_session(id=f"s-t{number}.1") for number in range(start, end)]
        return wire.SessionList(items=items, next_cursor="" if end == 120 else str(end), total=120)

    dashd.on("session.list", page)
    every = ctl("session", "list", "-q", "--agent", "s-001")
    assert (every.out.splitlines()[-1], len(every.out.splitlines()), every.err) == ("s-t119.1", 120, "")
    assert dashd.asked("session.list")[1] == {"agent": "s-001", "limit": 100, "cursor": "100"}
    ran = ctl("session", "list", "--limit", "110")
    assert len(ran.out.splitlines()) == 1 + 110
    assert "110 of 120" in ran.err


def test_what_is_forgotten_is_told_with_what_is_left(dashd, ctl):
    gone = wire.CheckpointForgotten(
        id="c-1", session=S, name="g\x1b[m", bytes=1_500, kept_bytes=3 << 20, bytes_max=1 << 30
    )
    dashd.on("session.forget", gone)
    out = ctl("session", "forget", "c-1").out
    assert "Checkpoint 'c-1' (g" in out
    assert "it took 2 KiB; the others take 3.0 MiB of 1,024.0 MiB" in out
    assert "\x1b" not in out
    assert dashd.asked("session.forget") == [{"checkpoint": "c-1"}]


def test_tree_and_show_are_safe(dashd, ctl):
    step = wire.StepSeen(id="n1", depth=1, role="user", text="a\x1b]52;c;x\x07b\nc", at=AT, parent=None)
    found = wire.SessionTree(session=S, steps=[step], more=3, leaf="n1", checkpoints={"n1": ["good"]})
    dashd.on("session.tree", found)
    out = ctl("session", "tree", S).out
    assert out.startswith("(3 earlier steps")
    assert "* n1   user: a" in out
    assert out.rstrip().endswith("[good]")
    said = wire.Said(id="n1", role="user", text="x\x1by\u202e", cut=True)
    dashd.on("session.show", wire.SessionShown(session=S, steps=[said], more=0))
    shown = ctl("session", "show", S, "--at", "n1").out
    assert "[cut]" in shown
    assert not set(out + shown) & set("\x1b\x07\u202e")
    assert dashd.asked("session.show") == [{"session": S, "step": "n1"}]


def test_earlier_steps_are_reached_as_is_said(dashd, ctl):
    steps = [
        wire.StepSeen(id=f"n{number}", depth=0, role="user", text="x", at=AT, parent=None)
        for number in range(session.TREE_STEPS_MAX)
    ]
    for shown, said in ((steps[:1], "--limit N shows up to 1,000, dashctl"), (steps, "steps; dashctl")):
        found = wire.SessionTree(session=S, steps=shown, more=3, leaf="n1", checkpoints={})
        dashd.on("session.tree", found)
        first = ctl("session", "tree", S).out.splitlines()[0]
        assert said in first
        assert first.endswith(f"dashctl session export {S} FILE has all)")
    for params, limit in (
        (wire.TreeOfSession, session.TREE_STEPS_MAX),
        (wire.ShowSession, session.SHOWN_STEPS_MAX),
    ):
        assert msgspec.convert({"session": S, "limit": limit}, params).limit == limit
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"session": S, "limit": limit + 1}, params)


def test_an_export_is_a_new_private_file_or_none(dashd, ctl, tmp_path):
    path = tmp_path / "talk.md"
    dashd.on("session.export", wire.SessionExported(session=S, text="half", next_offset=None))
    assert ctl("session", "export", S, str(path), "--jsonl").code == 0
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("half", 0o600)
    assert dashd.asked("session.export") == [{"session": S, "format": "jsonl", "offset": 0}]
    ran = ctl("session", "export", S, str(path))
    assert (ran.code, "File exists" in ran.err) == (2, True)


def test_copies_and_moves_say_what_came_of_them(dashd, ctl):
    made = wire.CheckpointMade(id="c-1", session=S, name="good", step="n1", steps=1)
    for verb, words in (
        ("checkpoint", [S, "--name", "good"]),
        ("branch", [S, "n1", "good"]),
        ("archive", [S]),
    ):
        dashd.on(f"session.{verb}", made)
        out = ctl("session", verb, *words).out
        assert out == f"Checkpoint 'c-1' holds session {S} as good; goes on at n1\n", verb
    for verb in ("rewind", "switch", "restore"):
        dashd.on(f"session.{verb}", wire.SessionMoved(session=S, head="c-1", step="n1"))
        assert "goes on at n1 (checkpoint c-1)" in ctl("session", verb, S, "n1").out
    forked = wire.SessionForked(agent="s-002", swarm="s", task="s-t2", checkpoint="c-1", step="n1", cursor=1)
    dashd.on("session.fork", forked)
    dashd.on("session.migrate", forked)
    assert "Agent 's-002' goes on from step n1" in ctl("session", "fork", S, "more", "--at", "n1").out
    assert "Agent 's-002'" in ctl("session", "migrate", S, "other").out
    changed = wire.SessionChanged(session=S, state="paused", changed=True, agent="s-001")
    dashd.on("session.pause", changed)
    assert ctl("session", "pause", S).out == f"Session '{S}' is paused\n"
    went_on = wire.SessionChanged(session=S, state="closed", changed=True, agent="s-002", task="s-t2")
    dashd.on("session.resume", went_on)
    assert "goes on with session" in ctl("session", "resume", S, "--task", "more", "--key", "k").out
    assert dashd.asked("session.resume") == [{"session": S, "task": "more", "idempotency_key": "k"}]
    dashd.on("session.fork", msgspec.structs.replace(forked, step="", approval="a-1", notes=["\x1b[31mits"]))
    out = ctl("session", "fork", S, "more").out
    assert out.splitlines()[1:] == ["  its", "  it waits for approval a-1: dashctl approval list"]
    assert "when the other one has ended" in out


@pytest.mark.parametrize(
    ("verb", "now", "kind", "then"),
    [
        ("pause", "open", "agent.paused", "paused"),
        ("resume", "paused", "agent.resumed", "open"),
        ("terminate", "open", "agent.killed", "closed"),
    ],
)
def test_what_it_was_told_is_waited_for(dashd, ctl, verb, now, kind, then):
    dashd.on(
        f"session.{verb}", wire.SessionChanged(session=S, state=now, changed=True, agent="s-001", cursor=7)
    )
    states = [now, then]
    dashd.on("session.get", lambda params: a_session(state=states.pop(0)))
    dashd.on("event.wait", lambda params: answers.events(fake.an_event(params.since + 1, kind, swarm="s")))
    assert ctl("session", verb, S).out == f"Session '{S}' is {then}\n"
    assert [(asked["since"], asked["swarm"]) for asked in dashd.asked("event.wait")] == [(7, "s")]
    said = ctl("session", verb, S, "--no-wait").out
    assert said == f"Session '{S}' is {now}, to be {then}\n"


def test_what_is_so_already_is_said_and_what_does_not_become_so_is_a_timeout(dashd, ctl):
    told = wire.SessionChanged(session=S, state="paused", changed=False, agent="s-001")
    dashd.on("session.pause", told)
    assert ctl("session", "pause", S).out == f"Session '{S}' is paused already\n"
    dashd.on("session.pause", msgspec.structs.replace(told, state="open"))
    dashd.on("session.get", a_session(state="open"))
    dashd.on("event.wait", lambda params: answers.events())
    ran = ctl("session", "pause", S, "--within", "20ms")
    assert (ran.code, f"session '{S}' is not paused after 0.02 s but open" in ran.err) == (6, True)
    assert "hint: dashctl agent why s-001" in ran.err


def test_what_the_summary_is_to_keep_is_passed_on(dashd, ctl):
    dashd.on("session.compact", wire.SessionChanged(session=S, state="open", changed=True, agent="s-001"))
    said = ctl("session", "compact", S, "--keep", "the names").out
    assert said == f"Session '{S}' is summed up at the end of its agent's turn\n"
    (asked,) = dashd.asked("session.compact")
    assert asked.pop("idempotency_key").startswith("dashctl-")
    assert asked == {"session": S, "keep": "the names"}
    rests = wire.SessionChanged(
        session=S, state="closed", changed=True, agent="s-002", task="s-t2", notes=["alone"], approval="a-1"
    )
    dashd.on("session.compact", rests)
    out = ctl("session", "compact", S, "--key", "k").out
    assert "Agent 's-002' sums up a copy" in out
    assert out.splitlines()[2:] == ["  alone", "  it waits for approval a-1: dashctl approval list"]
    assert dashd.asked("session.compact")[1] == {"session": S, "idempotency_key": "k"}


def test_prime_prints_the_text(dashd, ctl):
    dashd.on("session.prime", wire.SessionPrimed(session=S, text="Task: x"))
    assert ctl("session", "prime", S).out == "Task: x\n"


def test_one_is_made_shown_and_listed_before_there_is_work(dashd, ctl, tmp_path):
    none = {"swarm": "", "agent": "", "task": ""}
    made = a_session(id="s-1", state="new", name="\x1bone", cwd="/w", **none)
    dashd.on("session.create", made)
    out = ctl("session", "create", "one", "--cwd", str(tmp_path)).out
    assert "(s-1) waits for an agent of pi in /w" in out
    assert dashd.asked("session.create") == [{"name": "one", "cwd": str(tmp_path)}]
    dashd.on("session.get", made)
    out += (shown := ctl("session", "get", "one").out)
    assert "nobody has begun it" in shown
    dashd.on("session.list", wire.SessionList(items=[made], next_cursor="", total=1))
    out += ctl("session", "list", "--new").out
    assert dashd.asked("session.list") == [{"new": True, "limit": 100}]
    assert "\x1b" not in out
