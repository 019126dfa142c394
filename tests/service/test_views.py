"""Rows as the wire shows them."""

import msgspec
import pytest

from dashd.service import views
from tests.fakes.scene import SWARM


def test_instants_that_are_not_there_yet() -> None:
    assert views.iso_or_none(None) is None
    assert views.iso_or_none(0) == "1970-01-01T00:00:00.000Z"


def test_a_text_is_cut_where_it_would_not_fit_a_list() -> None:
    assert views.short("x" * 500) == "x" * 500
    assert views.short("x" * 501) == "x" * 499 + "…"


@pytest.mark.parametrize(
    ("done", "total", "shown"), [(None, None, ""), (3, 5, "3/5"), (3, None, "3"), (0, 5, "0/5"), (3, 0, "3")]
)
def test_progress(scene, done, total, shown) -> None:
    scene.swarm("a")
    row = msgspec.structs.replace(scene.task(), progress_done=done, progress_total=total)
    assert views.progress(row) == shown
    assert views.progress(None) == ""


def test_active_time_goes_on_while_it_runs_and_stands_while_it_is_paused(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    clock.advance(1_000)
    assert views.attempt_brief(scene.attempt(claim), clock.now_ms()).active_s == 1.0
    scene.paused(claim)
    clock.advance(1_000)
    assert views.attempt_brief(scene.attempt(claim), clock.now_ms()).active_s == 1.0


def test_a_swarms_duration_ends_with_it(scene, clock) -> None:
    scene.swarm("a")
    clock.advance(2_000)
    assert views.duration_s(scene.row(), clock.now_ms()) == 2.0
    scene.run("succeeded")
    clock.advance(2_000)
    assert views.duration_s(scene.row(), clock.now_ms()) == 2.0


def test_tasks_and_agents_of_a_swarm_are_counted_apart(scene, clock) -> None:
    scene.swarm("a", "b", "c", agents_made=2, retries=0)
    scene.run("succeeded", "failed")
    shown = views.swarm(scene.db, scene.row(), now_ms=clock.now_ms(), cursor=5)
    assert (shown.tasks, shown.agents) == (
        {"completed": 1, "dead": 1, "ready": 1},
        {"idle": 2},
    )
    brief = views.swarm_brief(scene.db, scene.row())
    assert (brief.tasks, brief.tasks_ended, brief.agents) == (3, 2, 2)


def test_a_list_of_agents_reads_their_runs_once(scene) -> None:
    scene.swarm(*map(str, range(30)), agents_made=10)
    scene.run(*["succeeded"] * 20)
    statements: list[str] = []
    scene.db.exec_trace = lambda _cursor, sql, _bindings: statements.append(sql) or True
    rows = [scene.agent(number) for number in range(1, 11)]
    statements.clear()
    briefs = views.agent_briefs(scene.db, rows, {})
    assert sum(brief.tasks_ended for brief in briefs) == 20
    assert len([sql for sql in statements if "FROM attempt" in sql]) == 1
    assert [brief.id for brief in briefs] == [row.id for row in rows]


def test_a_task_shows_what_it_waits_for(scene, clock) -> None:
    scene.swarm("a", "b", strategy="pipeline")
    shown = views.task(scene.db, scene.task(2), clock.now_ms())
    assert (shown.after, shown.state, shown.started_at, shown.retry_at) == (
        [f"{SWARM}-t1"],
        "waiting",
        None,
        None,
    )
