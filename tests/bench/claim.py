"""Claiming one task in a commit of its own, against changing a row by its key; and at ten times the size."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from dashd.clock import Clock
from dashd.store import bells, queue, tail, writer
from dashd.store.transaction import Tx
from tests.fakes.here import Here

from . import measure
from .baselines.commits import InlineUpdates
from .bed import Bed
from .measure import Figure
from .writers import empty_database

SWARM = """
INSERT INTO swarm (id, name, state, goal, strategy, driver, why_driver, argv, cwd,
    priority, timeout_s, retries, lease_s, grace_s, agents_max, created_at_ms)
VALUES ('bench', 'bench', 'active', 'x', 'parallel', 'command', 'x', '["true"]', '/',
    2, 60, 0, 120, 5, 100, 1)
"""
AGENTS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
INSERT INTO agent (id, swarm_id, number, name, state, liveness, created_at_ms)
SELECT printf('bench-%03d', i), 'bench', i, 'a', 'idle', 'dead', 1 FROM n
"""
TASKS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO task (id, swarm_id, number, state, item, text, priority, level, created_at_ms)
SELECT 'bench.' || i, 'bench', i, 'ready', 'i', 'x', 2, 2, 1 FROM n
"""
END_ATTEMPT = "UPDATE attempt SET state = 'succeeded' WHERE id = ?"
END_LAUNCH = "UPDATE launch SET ended = 1 WHERE id = ?"
END_TASK = "UPDATE task SET state = 'completed' WHERE id = ?"
END_SEAT = "UPDATE agent SET state = 'idle' WHERE id = ?"


def run(bed: Bed) -> Iterator[Figure]:
    """The median time of a claim, of a bare UPDATE, and of a claim from a queue ten times as long."""
    folder = bed.place("claim")
    short, long, samples = bed.effort.count(100_000), bed.effort.count(1_000_000), bed.effort.count(500)
    with (
        contextlib.closing(filled(folder / "bare.db", short)) as bare,
        contextlib.closing(filled(folder / "short.db", short)) as short_db,
        contextlib.closing(filled(folder / "long.db", long)) as long_db,
    ):
        updates = InlineUpdates(bare, [f"bench.{number}" for number in range(1, short + 1)])
        variants: dict[str, Callable[[], float]] = {
            "bare": lambda: measure.p50_us(updates.write, samples),
            "short": claims(short_db, samples),
            "long": claims(long_db, samples),
        }
        found = measure.interleave(bed.effort.rounds, variants)
    yield measure.compared(
        "claim.beside_update", "us/claim", "ratio <= 1.5", measure.pairs(found, "short", "bare")
    )
    yield measure.compared(
        "claim.1M_beside_100k", "us/claim", "ratio <= 1.1", measure.pairs(found, "long", "short")
    )


def filled(path: Path, tasks: int) -> apsw.Connection:
    """A database with one swarm of 100 idle seats and this many ready tasks."""
    db = empty_database(path)
    db.execute("BEGIN")
    db.execute(SWARM)
    db.execute(AGENTS)
    db.execute(TASKS, (tasks,))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return db


def claim_one(tx: Tx) -> queue.Claimed:
    """One claim, where nothing is chosen."""
    return queue.claim(tx, 1, Here())


def claims(
    db: apsw.Connection, count: int, claim_one: Callable[[Tx], queue.Claimed] = claim_one
) -> Callable[[], float]:
    """The median time of `count` claims of one task each; giving it back is not measured."""
    inline = writer.Writer(db, Clock(), tail.Tail(0), bells.Bells())

    def claim() -> None:
        (claimed,) = inline.commit_now([claim_one])
        given.extend(claimed.claims)

    def once() -> float:
        times = []
        for _ in range(count):
            times.append(measure.seconds(claim) * 1e6)
            inline.commit_now([give_back])
        return measure.percentile(times, 0.5)

    def give_back(tx: Tx) -> None:
        taken = given.pop()
        tx.execute(END_ATTEMPT, (taken.attempt_id,))
        tx.execute(END_LAUNCH, (taken.attempt_id,))
        tx.execute(END_SEAT, (taken.agent_id,))
        tx.execute(END_TASK, (taken.task_id,))

    given: list[queue.Claim] = []
    return once
