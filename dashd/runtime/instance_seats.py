"""This machine's own seats for Pis, divided into places: as many as the work wants, between min and max.

    not divided (max is 0)   one place, `local`, of all agents that the daemon may run
    divided                  local-1 … local-N of so many seats each; N follows the load

More than 80 % in use, or work that waits too long, and there is one place more; one that had no work for
`idle_s` is ended. One that was drained stays so, and counts, until it may work again; it is ended, once
nothing runs in it, where there are more than there may be. A place is a share of what may run at once, no
process: making one costs a row. N never leaves its bounds, and each change is an event that says why.

Woken by the bells of queue and instances, by work that was placed, and by the one deadline that comes next.
Rows and loads are read in the transaction that decides, so nothing is placed where a place has just ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import trio

from dashd.domain.placement import Place
from dashd.domain.scaling import Scaling, ScalingPolicy, scaling
from dashd.store import attempts, instances
from dashd.store.bells import either
from dashd.store.instances import LOCAL, InstanceRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx

from .world import World

SOON_S = 0.01
"""A deadline has passed when the clock is behind it."""


@dataclass(frozen=True, slots=True)
class Division:
    """How this machine's seats are divided."""

    policy: ScalingPolicy
    seats: int
    """Of each place."""
    undivided: int
    """Of the one place, where they are not divided."""
    notes: tuple[str, ...] = ()
    """What could not be as the settings say."""

    @property
    def capacity(self) -> int:
        """Of each place that there is."""
        return self.seats if self.divided else self.undivided

    @property
    def divided(self) -> bool:
        """Into places whose number changes."""
        return self.policy.most > 0


def division(least: int, most: int, seats: int, idle_s: float, *, machine: int, agents_max: int) -> Division:
    """What the settings come to on a machine that has room for so many Pis."""
    each = min(seats, machine)
    found = 0 if most == 0 else min(most, machine // each)
    notes = []
    if found < most:
        notes.append(
            f"programs.pi_instances_max is {most}, and this machine has room for {found} of {each} seats"
        )
    elif most and least > most:
        notes.append(f"programs.pi_instances_min is {least}, and pi_instances_max is {most}: {most} are kept")
    policy = ScalingPolicy(min(least, found), found, idle_s=idle_s)
    return Division(policy, each, agents_max, tuple(notes))


@dataclass(slots=True)
class Watched:
    """Since when places have had no work, and work no place; on a clock that only goes forward."""

    idle_since: dict[str, float] = field(default_factory=dict)
    waits_since: dict[str, float] = field(default_factory=dict)
    """By task."""

    def see(self, now: float, loads: Mapping[str, int], waiting: list[str]) -> None:
        """How it stands now."""
        quiet = [name for name, load in loads.items() if load == 0]
        self.idle_since = {name: self.idle_since.get(name, now) for name in quiet}
        self.waits_since = {task: self.waits_since.get(task, now) for task in waiting}

    def idle_s(self, now: float) -> dict[str, float]:
        """By place."""
        return {name: now - since for name, since in self.idle_since.items()}

    def waited_s(self, now: float) -> float:
        """Of the work that has waited for longest; 0 where none does."""
        return max((max(now - since, SOON_S) for since in self.waits_since.values()), default=0.0)

    def next_at(self, now: float, policy: ScalingPolicy) -> float:
        """When there may be something to decide although nothing happens. What is overdue already is kept
        back by something else, whose end rings a bell.
        """
        idle = (since + policy.idle_s for since in self.idle_since.values())
        waits = (since + policy.queue_wait_s for since in self.waits_since.values())
        return min((at + SOON_S for at in (*idle, *waits) if at + SOON_S > now), default=float("inf"))


class InstanceSeats:
    """See the module."""

    def __init__(self, world: World, division: Division) -> None:
        self._world = world
        self._division = division
        self._watched = Watched()

    async def settle(self) -> tuple[str, ...]:
        """Before anything is claimed: the rows are what the settings say. Gives what could not be so."""
        await self._world.commit(lambda tx: settle(tx, self._division))
        return self._division.notes

    async def run(self) -> None:
        """Follows the load until cancelled, or over at once where the seats are not divided."""
        bells = self._world.store.bells
        while True:
            tickets = bells.queue.ticket(), bells.instances.ticket(), bells.placed.ticket()
            deadline = await self._look()
            if deadline is None:
                return
            with trio.CancelScope(deadline=deadline):
                await either(*tickets)

    async def _look(self) -> float | None:
        """Changes what there is to change; when to look again although nothing happens, None: never."""
        rows, loads, waiting = await self._world.store.own.read(self._read)
        now, division, watched = trio.current_time(), self._division, self._watched
        watched.see(now, {row.name: loads.get(row.name, 0) for row in rows}, waiting)
        idle_s, waited_s = watched.idle_s(now), watched.waited_s(now)
        if ended(rows, loads, division):
            await self._world.commit(lambda tx: end(tx, division))
            return now  # one thing at a time: what that has changed is looked at next
        if division.divided and decide(rows, loads, idle_s, waited_s, division) is not None:
            await self._world.commit(lambda tx: change(tx, idle_s, waited_s, division))
            return now
        if division.divided:
            return watched.next_at(now, division.policy)
        return None if all(_is_current(row, division) for row in rows) else float("inf")

    def _read(self, db: Snapshot) -> tuple[list[InstanceRow], dict[str, int], list[str]]:
        rows = instances.seats(db)
        return rows, attempts.open_by_place(db), instances.waiting(db, self._world.agents_max, rows)


def settle(tx: Tx, division: Division) -> None:
    """Places of the other kind take nothing new, and are ended once nothing runs in them."""
    rows, loads = instances.seats(tx.db), attempts.open_by_place(tx.db)
    for row in rows:
        if _is_current(row, division):
            instances.resize(tx, row, division.capacity)
        elif loads.get(row.name, 0):
            instances.drain(tx, row.name, on=True, why="the settings are others now")
        else:
            instances.remove(tx, row.name)
    _fill(tx, division, rows)


def decide(
    rows: list[InstanceRow],
    loads: Mapping[str, int],
    idle_s: Mapping[str, float],
    waited_s: float,
    division: Division,
) -> Scaling | None:
    """One place more, one less, or as many as before; those of the other kind leave, and do not count."""
    places = [_place(row, loads) for row in rows if _is_current(row, division)]
    return scaling(places, idle_s, waited_s, division.policy)


def change(tx: Tx, idle_s: Mapping[str, float], waited_s: float, division: Division) -> None:
    """Decides anew, on the rows as they are in this transaction, and says why."""
    rows, loads = instances.seats(tx.db), attempts.open_by_place(tx.db)
    found = decide(rows, loads, idle_s, waited_s, division)
    if found is None:
        return
    if found.change == "up":
        name = _free_name(rows)
        instances.put(tx, instances.own(name, division.seats, rows))
        _say(tx, name, "up", found.why, len(rows) + 1)
        tx.ring("queue")
        return
    assert found.place is not None, "on the way down there is one"
    if loads.get(found.place, 0):
        instances.drain(tx, found.place, on=True, why=found.why)
    else:
        instances.remove(tx, found.place)
        _say(tx, found.place, "down", found.why, len(rows) - 1)


def ended(rows: list[InstanceRow], loads: Mapping[str, int], division: Division) -> list[str]:
    """Those of the other kind in which nothing runs; and of those that were drained as many as there are too
    many. The others stay, so that what was taken out of service is not replaced.
    """
    current = [row for row in rows if _is_current(row, division)]
    quiet = [row for row in rows if not loads.get(row.name, 0)]
    drained = [row.name for row in quiet if row.draining and row in current]
    too_many = max(0, len(current) - division.policy.most) if division.divided else 0
    return [*(row.name for row in quiet if row not in current), *drained[::-1][:too_many]]


def end(tx: Tx, division: Division) -> None:
    """Removes those that have ended; where that leaves too few, another one is there at once."""
    rows, loads = instances.seats(tx.db), attempts.open_by_place(tx.db)
    for name in ended(rows, loads, division):
        instances.remove(tx, name)
        _say(tx, name, "down", "it was drained", len(instances.seats(tx.db)))
    for name in _fill(tx, division, rows):
        _say(tx, name, "up", f"at least {division.policy.least}", len(instances.seats(tx.db)))


def _fill(tx: Tx, division: Division, before: list[InstanceRow]) -> list[str]:
    """As many as there have to be; they run what those before them ran. Gives those that were missing."""
    made: list[str] = []
    if not division.divided and instances.find(tx.db, LOCAL) is None:
        instances.put(tx, instances.own(LOCAL, division.capacity, before))
    while division.divided and len(rows := _current(tx.db, division)) < division.policy.least:
        made.append(_free_name(rows))
        instances.put(tx, instances.own(made[-1], division.capacity, before))
        tx.ring("queue")
    return made


def _place(row: InstanceRow, loads: Mapping[str, int]) -> Place:
    return Place(row.name, row.capacity, loads.get(row.name, 0), draining=bool(row.draining))


def _current(db: Snapshot, division: Division) -> list[InstanceRow]:
    return [row for row in instances.seats(db) if _is_current(row, division)]


def _is_current(row: InstanceRow, division: Division) -> bool:
    return (row.name == LOCAL) != division.divided


def _free_name(rows: list[InstanceRow]) -> str:
    taken = {row.name for row in rows}
    return next(name for number in range(1, len(taken) + 2) if (name := f"{LOCAL}-{number}") not in taken)


def _say(tx: Tx, name: str, direction: str, why: str, count: int) -> None:
    data = {"instance": name, "change": direction, "instances": count, "why": why}
    tx.emit("system.config", data=data)
