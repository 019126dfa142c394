"""The rows of the database as structs; field order is column order, names are the columns' own."""

from collections.abc import Sequence
from typing import Any, TypeVar

import apsw
import msgspec

Snapshot = apsw.Connection
"""What a reading function is handed: a connection inside one transaction."""
Among = str | None
"""Of which swarms a list may tell: a JSON array of their ids; None: of all."""


class SwarmRow(msgspec.Struct, frozen=True):
    """Table `swarm`."""

    id: str
    name: str
    state: str
    wanted: str
    outcome: str | None
    goal: str
    strategy: str
    driver: str
    why_driver: str
    argv: str
    cwd: str
    priority: int
    timeout_s: float
    retries: int
    lease_s: float
    grace_s: float
    agents_max: int
    next_agent: int
    next_task: int
    created_at_ms: int
    ended_at_ms: int | None
    output: str = "kept"
    model: str | None = None
    walls: str = "none"
    scope: str = ""
    bounds: str = "{}"
    label: str | None = None
    repo: str | None = None
    mode: str = ""
    placement: str = ""


class AgentRow(msgspec.Struct, frozen=True):
    """Table `agent`."""

    id: str
    swarm_id: str
    parent_id: str | None
    number: int
    name: str
    state: str
    liveness: str
    wanted: str
    task_id: str | None
    created_at_ms: int
    ended_at_ms: int | None
    model: str | None = None
    cause: str | None = None
    scope: str = ""
    hard: int = 0


class TaskRow(msgspec.Struct, frozen=True):
    """Table `task`."""

    id: str
    swarm_id: str
    number: int
    state: str
    item: str
    text: str | None
    priority: int
    level: int
    pinned_to: str | None
    agent_id: str | None
    attempts: int
    lost: int
    unmet: int
    retry_at_ms: int | None
    cause: str | None
    result: str | None
    result_cut: int
    progress_done: int | None
    progress_total: int | None
    note: str | None
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None


class AttemptRow(msgspec.Struct, frozen=True):
    """Table `attempt`."""

    id: str
    task_id: str
    agent_id: str
    launch_id: str
    number: int
    state: str
    stop: str | None
    reason: str | None
    exit_code: int | None
    exit_signal: int | None
    late: int
    active_ms: int
    active_since_ms: int | None
    cpu_ms: int | None
    rss_max_kib: int | None
    output_dropped: int
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    stop_cause: str | None = None


class LaunchRow(msgspec.Struct, frozen=True):
    """Table `launch`."""

    id: str
    owner: str
    ended: int
    removed: int
    pid: int | None
    start_time: int | None
    boot_id: str | None
    spool_offset: int
    created_at_ms: int
    grade: str | None = None
    jail: str | None = None
    within: str | None = None
    place_boot: str | None = None
    place: str | None = None


class GatewayRow(msgspec.Struct, frozen=True):
    """Table `gateway`."""

    launch_id: str
    swarm_id: str
    number: int
    token: str
    created_at_ms: int
    boot_id: str | None = None
    ended_at_ms: int | None = None
    reason: str | None = None


R = TypeVar("R", bound=msgspec.Struct)
Bindings = Sequence[str | int | float | None]


def every(row: type[R], db: Snapshot, query: str, bindings: Bindings = ()) -> list[R]:
    """All rows that the query gives, as structs."""
    return [row(*found) for found in db.execute(query, bindings)]


def first(row: type[R], db: Snapshot, query: str, bindings: Bindings = ()) -> R | None:
    """The first row that the query gives, as a struct."""
    found = db.execute(query, bindings).fetchone()
    return row(*found) if found else None


def value(db: Snapshot, query: str, bindings: Bindings = ()) -> Any:  # noqa: ANN401 - what the column holds
    """The first column of the one row that the query gives."""
    found = db.execute(query, bindings).fetchone()
    assert found is not None, f"no row: {query}"
    return found[0]


def table(db: Snapshot, query: str, bindings: Bindings = ()) -> list[Any]:
    """All rows that the query gives, as tuples of whatever the columns hold."""
    return db.execute(query, bindings).fetchall()


def among(column: str, number: int) -> str:
    """The condition that a row is of one of the swarms of parameter `number`, an `Among`."""
    return f"(?{number} IS NULL OR {column} IN (SELECT value FROM json_each(?{number})))"


def columns(row: type[msgspec.Struct], prefix: str = "") -> str:
    """The column list of a row type, for SELECT."""
    return ", ".join(prefix + field for field in row.__struct_fields__)


def placeholders(row: type[msgspec.Struct]) -> str:
    """One question mark a column, for INSERT."""
    return ", ".join("?" * len(row.__struct_fields__))
