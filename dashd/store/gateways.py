"""Table `gateway`: processes that a swarm's agents run in together. A swarm has one at a time."""

import apsw
import msgspec

from dashd.domain import ids
from dashd.wire import errors

from . import attempts, rows, tasks
from .rows import AttemptRow, GatewayRow, LaunchRow, SwarmRow, columns, placeholders
from .transaction import Tx

MODE = "gateway"
"""Column `swarm.mode` of swarms that have one."""
FAILURES_KEPT_MAX = 3
"""Of a swarm's gateways so many, the newest, are kept where they never came up."""
_COLUMNS = columns(GatewayRow)
_q_insert = f"INSERT INTO gateway ({_COLUMNS}) VALUES ({placeholders(GatewayRow)})"
_q_next_number = "SELECT coalesce(max(number), 0) + 1 FROM gateway WHERE swarm_id = ?"
_q_open = f"SELECT {_COLUMNS} FROM gateway WHERE ended_at_ms IS NULL ORDER BY launch_id"
_q_open_of = f"SELECT {_COLUMNS} FROM gateway WHERE swarm_id = ? AND ended_at_ms IS NULL"
# The list of open states repeats the condition of the index swarm_open, which SQLite would not use otherwise.
_q_wanted = (
    "SELECT s.id FROM swarm s WHERE s.state IN ('creating', 'active', 'paused') AND s.state = 'active'"
    f" AND s.wanted = 'run' AND s.mode = '{MODE}' AND s.walls = 'required'"
    " AND EXISTS (SELECT 1 FROM task t WHERE t.swarm_id = s.id AND t.state = 'ready')"
)
_q_boot = "UPDATE gateway SET boot_id = ?2 WHERE launch_id = ?1"
_q_ended = "UPDATE gateway SET ended_at_ms = ?2, reason = ?3 WHERE launch_id = ?1 AND ended_at_ms IS NULL"
# Not the first one: its folder holds the sessions of all that follow.
_q_failures = (
    "WITH newest AS (SELECT swarm_id, max(number) AS number FROM gateway GROUP BY swarm_id)"
    " SELECT g.launch_id FROM gateway g JOIN newest n USING (swarm_id)"
    " WHERE g.boot_id IS NULL AND g.ended_at_ms IS NOT NULL AND g.number > 1 AND g.number <= n.number - ?1"
    " AND g.launch_id > ?2 ORDER BY g.launch_id LIMIT ?3"
)
_q_forget = "DELETE FROM gateway WHERE launch_id = ?"
_q_forget_launch = "DELETE FROM launch WHERE id = ?"
_q_launch_ended = "UPDATE launch SET ended = 1 WHERE id = ?"
_q_within = "UPDATE launch SET within = ?2 WHERE id = ?1"


def insert(tx: Tx, swarm_id: str, token: str) -> GatewayRow:
    """Adds a gateway together with its launch, before anything is forked for it."""
    assert open_of(tx.db, swarm_id) is None, f"swarm {swarm_id} has a gateway"
    number: int = rows.value(tx.db, _q_next_number, (swarm_id,))
    row = GatewayRow(ids.gateway_id(swarm_id, number), swarm_id, number, token, tx.now_ms)
    attempts.insert_launch(tx, LaunchRow(row.launch_id, swarm_id, 0, 0, None, None, None, 0, tx.now_ms))
    tx.execute(_q_insert, msgspec.structs.astuple(row))
    return row


def open_gateways(db: apsw.Connection) -> list[GatewayRow]:
    """Every one that has not ended."""
    return rows.every(GatewayRow, db, _q_open)


def open_of(db: apsw.Connection, swarm_id: str) -> GatewayRow | None:
    """The swarm's, if it has one that has not ended."""
    return rows.first(GatewayRow, db, _q_open_of, (swarm_id,))


def wanted(db: apsw.Connection) -> list[str]:
    """Swarms that have a task for a gateway of Dash's own, whether they have one or not."""
    return [swarm_id for (swarm_id,) in rows.table(db, _q_wanted)]


def is_idle(db: apsw.Connection, swarm_id: str) -> bool:
    """Nothing of the swarm is left to do: its gateway ends, and then the swarm."""
    return not tasks.any_open(db, swarm_id) and not attempts.open_in_swarm(db, swarm_id)


def set_boot(tx: Tx, row: GatewayRow, boot_id: str) -> None:
    """It has said which of its own starts this is."""
    tx.execute(_q_boot, (row.launch_id, boot_id))


def set_ended(tx: Tx, row: GatewayRow, reason: str) -> None:
    """No process of it is left."""
    tx.execute(_q_ended, (row.launch_id, tx.now_ms, reason))
    tx.execute(_q_launch_ended, (row.launch_id,))


def old_failures(db: apsw.Connection, after: str, limit: int) -> list[str]:
    """Launches of gateways that never came up, but for the newest of each swarm; by id, behind `after`."""
    return [each for (each,) in rows.table(db, _q_failures, (FAILURES_KEPT_MAX, after, limit))]


def forget(tx: Tx, launch_ids: list[str]) -> None:
    """Their folders are gone, and nothing was ever done in them."""
    for launch_id in launch_ids:
        tx.execute(_q_forget, (launch_id,))
        tx.execute(_q_forget_launch, (launch_id,))


def enter(tx: Tx, launch_id: str, gateway_launch: str) -> None:
    """An attempt, by its launch, runs in this gateway from now on: in this one or in none."""
    tx.execute(_q_within, (launch_id, gateway_launch))


def session_of(db: apsw.Connection, row: AttemptRow) -> LaunchRow:
    """The launch that began the session of an attempt in a gateway: a session is one agent's, and where there
    are several gateways that one's alone.
    """
    place = attempts.launch(db, row.launch_id).place

    def is_same(before: AttemptRow) -> bool:
        return before.agent_id == row.agent_id and attempts.launch(db, before.launch_id).place == place

    return attempts.launch(db, attempts.session_launch(db, row, is_same))


def refuse_begun(swarm: SwarmRow, path: str) -> None:
    """Raises Unsupported where the swarm's agents share a gateway, in which no session begins with a copy."""
    if swarm.mode == MODE:
        raise errors.Unsupported(
            f"swarm {swarm.id} is of mode gateway: its sessions are the gateway's, none begins with a copy",
            hint="mode: jailed, for the swarm that is to go on with it",
            path=path,
        )
