"""A row type is its table's columns, in order; the database itself says so."""

import pytest

from dashd.store import rows

TABLES = {
    rows.SwarmRow: "swarm",
    rows.AgentRow: "agent",
    rows.TaskRow: "task",
    rows.AttemptRow: "attempt",
    rows.LaunchRow: "launch",
}


@pytest.mark.parametrize("row", TABLES, ids=TABLES.get)
def test_a_struct_is_its_table(row, scene) -> None:
    columns = [name for (name,) in scene.db.execute(f"SELECT name FROM pragma_table_info('{TABLES[row]}')")]
    assert rows.columns(row).split(", ") == columns
    assert rows.placeholders(row).count("?") == len(columns)


def test_a_prefix_names_the_table() -> None:
    assert rows.columns(rows.LaunchRow, "l.").startswith("l.id, l.owner, ")


def test_what_a_query_gives(scene) -> None:
    scene.swarm("a", "b")
    query = f"SELECT {rows.columns(rows.TaskRow)} FROM task WHERE item >= ? ORDER BY number"
    assert [task.item for task in rows.every(rows.TaskRow, scene.db, query, ("a",))] == ["a", "b"]
    first = rows.first(rows.TaskRow, scene.db, query, ("b",))
    assert first == scene.task(2)
    assert rows.first(rows.TaskRow, scene.db, query, ("c",)) is None
    assert rows.value(scene.db, "SELECT count(*) FROM task") == 2
    assert rows.table(scene.db, "SELECT number, item FROM task ORDER BY number") == [(1, "a"), (2, "b")]


def test_a_value_that_must_be_there_is_missed(scene) -> None:
    with pytest.raises(AssertionError, match="no row"):
        rows.value(scene.db, "SELECT id FROM swarm")
