"""All copies of conversations together: what goes by itself, what is refused, what is forgotten."""

import pytest

from dashd.store import attempts, session_room, sessions
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors
from tests.fakes.scene import SWARM

ROOM = 100


@pytest.fixture
def claims(scene):
    scene.swarm("a", "b", "c", agents_made=3)
    return scene.claim(3)


@pytest.fixture
def talks(scene, claims):
    """Sessions of three agents of one swarm: `talks[0]` is the id of the first."""
    found = []
    for claim in claims:
        scene.start(claim)
        attempt = attempts.get(scene.db, claim.attempt_id)
        scene.do(lambda tx, attempt=attempt: sessions.opened(tx, attempt.launch_id, attempt, SWARM, "pi"))
        found.append(attempt.launch_id)
    return found


def copy(number, session, kind, size, name=""):
    return CheckpointRow(f"c-{number}", session, kind, name, "s", 1, size, number)


def automatic(scene, number, session, size, *, needed=False):
    row = copy(number, session, "automatic", size)
    return scene.do(lambda tx: sessions.keep_newest(tx, row, ROOM, needed=needed))


def asked(scene, number, session, size, kind="named", name=""):
    return scene.do(lambda tx: sessions.keep(tx, copy(number, session, kind, size, name), ROOM))


def removed(scene):
    told = [event["data"] for event in scene.events() if event["kind"] == "session.state"]
    return [(data["removed"], data["why"]) for data in told if "removed" in data]


def test_the_oldest_that_nobody_asked_for_go_first_and_it_is_said(scene, talks):
    automatic(scene, 1, talks[0], 30)
    automatic(scene, 2, talks[1], 30)
    asked(scene, 3, talks[0], 30, name="good")
    assert asked(scene, 4, talks[2], 40) == ["c-1"], "30 bytes are enough: the other one stays"
    assert session_room.total(scene.db) == 100
    assert sessions.kept(scene.db) == {"c-2", "c-3", "c-4"}
    ((gone, why),) = removed(scene)
    assert gone == "c-1"
    assert "daemon.checkpoints_total_mib" in why


def test_where_only_those_are_left_that_were_asked_for_a_new_one_is_refused(scene, talks):
    asked(scene, 1, talks[0], 60)
    automatic(scene, 2, talks[1], 10)
    with pytest.raises(errors.Conflict, match=r"take 1 KiB of 1 KiB") as refused:
        asked(scene, 3, talks[2], 50)
    assert "session.forget" in refused.value.hint
    assert "raise daemon.checkpoints_total_mib" in refused.value.hint
    assert sessions.kept(scene.db) == {"c-1", "c-2"}, "nothing happens halfway"
    with pytest.raises(errors.Conflict, match="has no room"):
        session_room.refuse_full(scene.db, 50, ROOM)
    session_room.refuse_full(scene.db, 40, ROOM)


def test_sizes_are_told_in_mib(scene, talks):
    said = session_room.full(scene.db, 3 << 20, 1 << 30).message
    assert "0 KiB of 1,024.0 MiB" in said
    assert "one of 3.0 MiB more" in said


def test_an_automatic_one_is_left_out_and_the_one_before_it_stays(scene, talks):
    automatic(scene, 1, talks[0], 20)
    asked(scene, 2, talks[0], 80)
    gone, why_not = automatic(scene, 3, talks[0], 21)
    assert gone == []
    assert "one of 1 KiB more has no room" in why_not
    assert sessions.kept(scene.db) == {"c-1", "c-2"}
    assert automatic(scene, 4, talks[0], 20) == (["c-1"], ""), "it takes the place of the one before"


def test_what_somebody_waits_for_is_kept_in_any_case(scene, talks):
    automatic(scene, 1, talks[1], 20)
    asked(scene, 2, talks[0], 80)
    assert automatic(scene, 3, talks[0], 30, needed=True) == (["c-1"], "")
    assert session_room.total(scene.db) == 110


def test_a_setting_that_was_lowered_is_come_down_to_in_steps(scene, talks):
    for number, session in enumerate(talks):
        automatic(scene, number, session, 10)
    asked(scene, 9, talks[0], 10)
    assert scene.do(lambda tx: session_room.trim(tx, 1, 2)) == ["c-0", "c-1"]
    assert scene.do(lambda tx: session_room.trim(tx, 1, 2)) == ["c-2"]
    assert scene.do(lambda tx: session_room.trim(tx, 1, 2)) == [], "what was asked for stays"
    assert sessions.kept(scene.db) == {"c-9"}


def test_copies_of_forks_go_once_their_swarms_have_ended_and_their_rows_tell(scene, claims, talks):
    asked(scene, 1, talks[0], 60, kind="fork")
    task = scene.task(1).id
    scene.do(lambda tx: sessions.sow(tx, task, "c-1"))
    with pytest.raises(errors.Conflict, match="has no room"):
        asked(scene, 2, talks[0], 60)
    for claim in claims:
        scene.end(claim)
    assert scene.row().ended_at_ms is not None
    assert asked(scene, 2, talks[0], 60) == ["c-1"]
    assert sessions.kept(scene.db) == {"c-2"}
    assert sessions.begun_with(scene.db, task).id == "c-1"
    with pytest.raises(errors.NotFound, match="c-1 is no more: it was removed at 20"):
        sessions.of_checkpoint(scene.db, "c-1")


def test_automatic_copies_go_in_time_unless_something_goes_on_from_them(scene, talks):
    for number in (1, 2):
        automatic(scene, number, talks[number], 10)
    scene.do(lambda tx: sessions.set_head(tx, talks[1], "c-1"))
    asked(scene, 3, talks[0], 10, name="good")
    assert session_room.oldest_ms(scene.db) == 2
    assert scene.do(lambda tx: session_room.expire(tx, 1, 10)) == []
    assert scene.do(lambda tx: session_room.expire(tx, 3, 10)) == ["c-2"]
    assert sessions.kept(scene.db) == {"c-1", "c-3"}
    assert session_room.oldest_ms(scene.db) is None
    assert removed(scene) == [("c-2", "kept long enough")]


def test_no_more_of_them_go_at_once_than_asked_for(scene, talks):
    for number, session in enumerate(talks):
        automatic(scene, number, session, 1)
    found = [len(scene.do(lambda tx: session_room.expire(tx, 5, 2))) for _ in range(3)]
    assert found == [2, 1, 0]


def test_one_is_forgotten_unless_something_goes_on_from_it(scene, talks):
    for number in (1, 2, 3):
        asked(scene, number, talks[0], 10, name=f"n{number}")
    scene.do(lambda tx: sessions.set_head(tx, talks[0], "c-1"))
    scene.do(lambda tx: sessions.sow(tx, scene.task(1).id, "c-2"))
    for checkpoint, who, hint in (
        ("c-1", f"session {talks[0]} goes on from it", f"session.restore {talks[0]}"),
        ("c-2", f"task {SWARM}-t1 begins with it", f"swarm {SWARM} has ended"),
    ):
        with pytest.raises(errors.Conflict, match=who) as refused:
            scene.do(lambda tx, checkpoint=checkpoint: session_room.forget(tx, checkpoint))
        assert hint in refused.value.hint
    scene.do(lambda tx: session_room.forget(tx, "c-3"))
    assert sessions.kept(scene.db) == {"c-1", "c-2"}
    assert removed(scene) == [("c-3", "on request")]
    asked(scene, 4, talks[0], 10, name="n3")
    assert sessions.checkpoint(scene.db, talks[0], "n3").id == "c-4", "its name is free again"
