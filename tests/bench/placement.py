"""Placing among fifty gateways: a choice beside the least of as many numbers, a claim beside one without."""

import contextlib
from collections.abc import Callable, Iterator

import apsw

from dashd.clock import Clock
from dashd.domain.placement import Demand, Place, Placed, Turns, choose
from dashd.runtime.placing import Placing, Round
from dashd.store import added_gateways, bells, queue, tail, writer
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.registry import Look
from dashd.store.transaction import Tx

from . import claim, measure
from .bed import Bed
from .measure import Figure

PLACES = 50
TASKS = 10_000
WAITING = 20
"""Swarms before it in the queue that no gateway takes."""
WAIT = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO swarm (id, name, state, goal, strategy, driver, why_driver, argv, cwd,
    priority, timeout_s, retries, lease_s, grace_s, agents_max, created_at_ms, placement)
SELECT 'wait' || i, 'w', 'active', 'x', 'parallel', 'openclaw', 'x', '[]', '/',
    0, 60, 0, 120, 5, 1, 1, '{"region":"nowhere"}' FROM n
"""
THEIR_AGENTS = """
INSERT INTO agent (id, swarm_id, number, name, state, liveness, created_at_ms)
SELECT id || '-001', id, 1, 'a', 'idle', 'dead', 1 FROM swarm WHERE id LIKE 'wait%'
"""
THEIR_TASKS = """
INSERT INTO task (id, swarm_id, number, state, item, text, priority, level, created_at_ms)
SELECT id || '.1', id, 1, 'ready', 'i', 'x', 0, 0, 1 FROM swarm WHERE id LIKE 'wait%'
"""


def run(bed: Bed) -> Iterator[Figure]:
    """The median time of one choice, and of a claim of one task that is placed: all but its COMMIT, which is
    the disk's.
    """
    yield _choice(bed)
    yield from _claims(bed)


def _choice(bed: Bed) -> Figure:
    every = [
        Place(
            f"g{number:02d}",
            20,
            number % 17,
            capabilities=frozenset({"browser"}),
            region="eu",
            version=(2026, 9),
        )
        for number in range(PLACES)
    ]
    demand = Demand(frozenset({"browser"}), "eu", (2026,), swarm="s", session="c")
    turns, loads = Turns(), [place.load for place in every]
    assert isinstance(choose(every, demand, turns), Placed)
    samples = bed.effort.count(2_000)
    found = measure.interleave(
        bed.effort.rounds,
        {
            "choose": lambda: measure.p50_us(lambda: choose(every, demand, turns), samples) / 1e3,
            "least": lambda: measure.p50_us(lambda: min(loads), samples) / 1e3,
        },
    )
    made = measure.compared("placement.fifty", "ms/choice", "", measure.pairs(found, "choose", "least"))
    assert made.value is not None
    return measure.figure(made.name, made.value, made.unit, goal="value < 5", baseline=made.baseline)


def _claims(bed: Bed) -> Iterator[Figure]:
    """Of a task that is placed, beside one that needs no place; and behind others that find none."""
    samples = bed.effort.count(300)
    folder = bed.place("placement")
    with (
        contextlib.closing(claim.filled(folder / "plain.db", TASKS)) as plain,
        contextlib.closing(claim.filled(folder / "placed.db", TASKS)) as placed,
        contextlib.closing(claim.filled(folder / "behind.db", TASKS)) as behind,
    ):
        behind.execute(WAIT, (WAITING,))
        behind.execute(THEIR_AGENTS)
        behind.execute(THEIR_TASKS)
        for db in (placed, behind):
            db.execute("UPDATE swarm SET placement = '{}' WHERE id = 'bench'")
        variants = {
            "plain": _claiming(plain, samples, claim.claim_one),
            "placed": _claiming(placed, samples, _placing(placed)),
            "behind": _claiming(behind, samples, _placing(behind)),
        }
        found = measure.interleave(bed.effort.rounds, variants)
    for name, what in (("placed", "claim"), ("behind", f"claim_behind_{WAITING}_that_wait")):
        rounds = [(ours / 1e3, plainly / 1e3) for ours, plainly in measure.pairs(found, name, "plain")]
        yield measure.compared(f"placement.{what}", "ms/claim", "value < 5", rounds)


def _claiming(db: apsw.Connection, samples: int, one: Callable[[Tx], queue.Claimed]) -> Callable[[], float]:
    """The median time inside the claim's transaction, in microseconds."""
    times: list[float] = []

    def timed(tx: Tx) -> queue.Claimed:
        found: list[queue.Claimed] = []
        times.append(measure.seconds(lambda: found.append(one(tx))) * 1e6)
        return found[0]

    claims = claim.claims(db, samples, timed)

    def once() -> float:
        times.clear()
        claims()
        return measure.percentile(times, 0.5)

    return once


def _placing(db: apsw.Connection) -> Callable[[Tx], queue.Claimed]:
    """A claim of one task, over gateways that all answer."""
    looks: dict[str, Look] = {}
    inline = writer.Writer(db, Clock(), tail.Tail(0), bells.Bells())

    def add(tx: Tx) -> None:
        for number in range(PLACES):
            row = AddedGatewayRow(
                f"g{number:02d}", "ws://127.0.0.1:1", "file", None, '["browser"]', "eu", 20, 0
            )
            looks[row.name] = Look(added_gateways.put(tx, row).added_at_ms, "alive", "2026.9.6")

    inline.commit_now([add])
    placing = Placing({}, lambda: looks, frozenset)

    def one(tx: Tx) -> queue.Claimed:
        found = queue.claim(tx, 1, Round(placing.look()))
        assert [each.place is not None for each in found.claims] == [True]
        return found

    return one
