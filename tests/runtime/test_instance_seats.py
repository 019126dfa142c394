"""How many places this machine's own seats make: never outside the bounds, never up and down in a row."""

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.scaling import ScalingPolicy
from dashd.runtime import instance_seats
from dashd.runtime.instance_seats import Division, InstanceSeats, Watched, decide, division, ended
from dashd.store import attempts, instances

IDLE_S = 60.0


def divided(least=1, most=3, seats=2):
    return Division(ScalingPolicy(least, most, queue_wait_s=30.0, idle_s=IDLE_S), seats, 100)


UNDIVIDED = Division(ScalingPolicy(0, 0), 2, 100)


def names(scene):
    return [row.name for row in instances.seats(scene.db)]


def told(scene):
    found = [each["data"] for each in scene.events() if each["kind"] == "system.config"]
    return [(each["instance"], each.get("change") or each["draining"], each.get("why")) for each in found]


def place(scene, claim, name):
    scene.do(lambda tx: tx.execute("UPDATE launch SET place = ? WHERE id = ?", (name, claim.attempt_id)))
    scene.do(lambda tx: tx.ring("queue"))


@pytest.mark.parametrize(
    ("least", "most", "seats", "machine", "bounds", "each", "said"),
    [
        (0, 0, 8, 100, (0, 0), 8, ""),
        (3, 0, 8, 100, (0, 0), 8, ""),
        (2, 5, 8, 100, (2, 5), 8, ""),
        (2, 50, 8, 100, (2, 12), 8, "room for 12 of 8 seats"),
        (20, 50, 8, 100, (12, 12), 8, "room for 12 of 8 seats"),
        (5, 2, 8, 100, (2, 2), 8, "2 are kept"),
        (1, 4, 200, 100, (1, 1), 100, "room for 1 of 100 seats"),
    ],
)
def test_the_settings_are_held_to_what_the_machine_can(least, most, seats, machine, bounds, each, said):
    found = division(least, most, seats, 60.0, machine=machine, agents_max=7)
    assert ((found.policy.least, found.policy.most), found.seats) == (bounds, each)
    assert (found.divided, found.undivided, found.policy.idle_s) == (most > 0, 7, 60.0)
    assert said in " ".join(found.notes)
    assert bool(said) == bool(found.notes)


def test_undivided_there_is_one_place_of_all_agents(scene):
    for _ in range(2):
        scene.do(lambda tx: instance_seats.settle(tx, UNDIVIDED))
    (row,) = instances.seats(scene.db)
    assert (row.name, row.capacity, row.source) == ("local", 100, "auto-spawn")
    assert scene.events() == []


def test_settings_that_have_changed_change_the_rows(scene):
    scene.do(lambda tx: instance_seats.settle(tx, UNDIVIDED))
    scene.do(lambda tx: instance_seats.settle(tx, divided(least=2)))
    assert [(row.name, row.capacity) for row in instances.seats(scene.db)] == [("local-1", 2), ("local-2", 2)]
    scene.do(lambda tx: instance_seats.settle(tx, divided(least=2, seats=5)))
    assert [row.capacity for row in instances.seats(scene.db)] == [5, 5]
    scene.do(lambda tx: instance_seats.settle(tx, UNDIVIDED))
    assert names(scene) == ["local"]


@pytest.fixture
async def start(bed, nursery, scene):
    async def started(found):
        made = InstanceSeats(bed.world, found)
        await made.settle()
        nursery.start_soon(made.run)
        await trio.testing.wait_all_tasks_blocked()
        return made

    return started


def a_swarm(scene, count, **more):
    """Its tasks, claimed one after the other: whoever asks gets the next."""
    scene.swarm(*map(str, range(count)), agents_made=count, driver="pi", **more)
    return iter(lambda: scene.claim(attempts.open_count(scene.db) + 1)[0], None)


async def test_what_the_settings_cannot_have_is_given_to_who_settles(bed):
    assert await InstanceSeats(bed.world, divided()).settle() == ()
    found = division(1, 3, 2, 60.0, machine=2, agents_max=7)
    assert await InstanceSeats(bed.world, found).settle() == found.notes != ()


async def settled():
    await trio.testing.wait_all_tasks_blocked()


async def test_it_grows_with_the_load_and_shrinks_when_idle(scene, start, autojump_clock):
    await start(divided())
    claims = a_swarm(scene, 4)
    assert names(scene) == ["local-1"]
    running = [next(claims) for _ in range(2)]
    for claim in running:
        place(scene, claim, "local-1")
    await settled()
    assert names(scene) == ["local-1", "local-2"]
    for claim in running + [next(claims) for _ in range(2)]:
        scene.start(claim)
        scene.end(claim)
    began = trio.current_time()
    while len(names(scene)) > 1:
        await scene.store.bells.instances.ticket().wait()
    assert trio.current_time() - began == pytest.approx(IDLE_S, abs=0.1)
    assert told(scene) == [
        ("local-2", "up", "2 of 2 in use"),
        ("local-1", "down", "idle for 60 s"),
    ]


async def test_work_that_waits_long_gets_a_place_although_others_are_not_full(scene, start, autojump_clock):
    await start(divided(least=1, seats=10))
    a_swarm(scene, 1)
    scene.do(lambda tx: tx.ring("queue"))
    await trio.sleep(29)
    assert names(scene) == ["local-1"]
    await trio.sleep(2)
    assert names(scene)[:2] == ["local-1", "local-2"]
    assert told(scene)[0] == ("local-2", "up", "work has waited for 30 s")


async def test_without_a_slot_of_the_daemon_nothing_waits_for_a_place(bed, scene, start, autojump_clock):
    claims = a_swarm(scene, 2)
    next(claims)
    assert instances.waiting(scene.db, 2) == ["aaaaaa-t2"]
    assert instances.waiting(scene.db, 1) == []
    scene.swarm("a", swarm_id="bbbbbb")
    assert instances.waiting(scene.db, 9) == ["aaaaaa-t2"]


async def test_a_drained_one_stays_so_and_keeps_its_room_and_its_name(scene, start, autojump_clock):
    await start(divided(least=1, most=2))
    claim = next(a_swarm(scene, 4))
    place(scene, claim, "local-1")
    scene.do(lambda tx: instances.drain(tx, "local-1", on=True))
    await settled()
    assert names(scene) == ["local-1", "local-2"]
    scene.start(claim)
    scene.end(claim)
    scene.do(lambda tx: instances.drain(tx, "local-2", on=True))
    await trio.sleep(1_000)  # with work that waits
    assert [(row.name, row.draining) for row in instances.seats(scene.db)] == [("local-1", 1), ("local-2", 1)]
    scene.do(lambda tx: instances.drain(tx, "local-1", on=False))
    await settled()
    assert [(row.name, row.draining) for row in instances.seats(scene.db)] == [("local-1", 0), ("local-2", 1)]
    assert [each[:2] for each in told(scene)] == [
        ("local-1", True),
        ("local-2", "up"),
        ("local-2", True),
        ("local-1", False),
    ]


async def test_a_drained_one_is_drained_over_a_start_and_goes_where_there_are_too_many(
    bed, scene, start, autojump_clock
):
    scene.do(lambda tx: instance_seats.settle(tx, divided(least=2)))
    scene.do(lambda tx: instances.drain(tx, "local-1", on=True))
    scene.do(lambda tx: instance_seats.settle(tx, divided(least=2)))
    assert [(row.name, row.draining) for row in instances.seats(scene.db)] == [("local-1", 1), ("local-2", 0)]
    await start(divided(least=1, most=1))
    assert [(row.name, row.draining) for row in instances.seats(scene.db)] == [("local-2", 0)]


async def test_that_of_undivided_seats_stays_drained(scene, start, autojump_clock):
    await start(UNDIVIDED)
    scene.do(lambda tx: instances.drain(tx, "local", on=True))
    await trio.sleep(1_000)
    assert [(row.name, row.draining) for row in instances.seats(scene.db)] == [("local", 1)]


async def test_fewer_may_be_than_there_are_and_what_runs_ends_first(scene, start, autojump_clock):
    scene.do(lambda tx: instance_seats.settle(tx, divided(least=3)))
    claims = a_swarm(scene, 3)
    running = [next(claims) for _ in range(3)]
    for number, claim in enumerate(running, 1):
        place(scene, claim, f"local-{number}")
    await start(divided(least=1, most=1))
    draining = [row.name for row in instances.seats(scene.db) if row.draining]
    assert len(draining) == 2
    for claim in running:
        scene.start(claim)
        scene.end(claim)
    await settled()
    assert len(names(scene)) == 1
    assert names(scene)[0] not in draining


async def test_places_of_the_other_kind_end_with_their_work(scene, start, autojump_clock):
    scene.do(lambda tx: instance_seats.settle(tx, UNDIVIDED))
    claim = next(a_swarm(scene, 1))
    place(scene, claim, "local")
    await start(divided(least=1))
    assert [(row.name, row.draining) for row in instances.seats(scene.db)] == [("local", 1), ("local-1", 0)]
    scene.start(claim)
    scene.end(claim)
    await settled()
    assert names(scene) == ["local-1"]


@pytest.mark.parametrize("kept", ["undivided", "at the least", "by the load of the others"])
async def test_where_nothing_happens_nothing_is_looked_at(scene, start, autojump_clock, monkeypatch, kept):
    """Also where a place has been idle for long, and may not be ended yet."""
    made = await start({"undivided": UNDIVIDED, "at the least": divided(least=2)}.get(kept, divided(most=2)))
    if kept.startswith("by"):
        claims = a_swarm(scene, 2)
        for claim in [next(claims) for _ in range(2)]:
            place(scene, claim, "local-1")
        await settled()
        assert names(scene) == ["local-1", "local-2"]
    await trio.sleep(2 * IDLE_S)
    looked = []
    look = made._look

    async def counted():
        looked.append(trio.current_time())
        return await look()

    monkeypatch.setattr(made, "_look", counted)
    await trio.sleep(80_000)
    assert looked == []
    assert len(names(scene)) == (1 if kept == "undivided" else 2)


# --- properties: any load over time, one decision after the other ------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "end", "wait", "drain", "go"]), st.integers(0, 9), st.integers(1, 90)
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 3), st.integers(1, 3), st.integers(1, 4))
def test_the_number_stays_in_its_bounds_and_no_place_comes_and_goes_at_once(steps, least, more, seats):
    """A machine of rows without a store: work starts, ends, waits and is drained as hypothesis likes; the
    decision is the runtime's own, and so is the clock's part in it.
    """
    policy = ScalingPolicy(least, least + more, queue_wait_s=30.0, idle_s=IDLE_S)
    found = Division(policy, seats, 100)
    rows, loads, born = {}, {}, {}
    watched, now, waiting = Watched(), 0.0, 0
    for act, pick, seconds in steps:
        now += seconds if act == "wait" else 0
        open_ = [name for name, row in rows.items() if not row.draining and loads[name] < seats]
        busy = [name for name in rows if loads[name]]
        if act == "start" and open_:
            loads[open_[pick % len(open_)]] += 1
        elif act == "start":
            waiting += 1
        elif act == "end" and busy:
            loads[busy[pick % len(busy)]] -= 1
        elif act in ("drain", "go") and rows:
            name = sorted(rows)[pick % len(rows)]
            rows[name] = msgspec.structs.replace(rows[name], draining=int(act == "drain"))
        drained = {name for name, row in rows.items() if row.draining}
        for _ in range(20):  # until nothing is left to do, as the runtime goes on
            assert ended(list(rows.values()), loads, found) == []
            watched.see(now, {name: loads[name] for name in rows}, [f"t{each}" for each in range(waiting)])
            scaled = decide(list(rows.values()), loads, watched.idle_s(now), watched.waited_s(now), found)
            if scaled is None:
                break
            if scaled.change == "up":
                name = instance_seats._free_name(list(rows.values()))
                rows[name], loads[name], born[name] = instances.own(name, seats), 0, now
                while waiting and loads[name] < seats:
                    waiting, loads[name] = waiting - 1, loads[name] + 1
            else:
                assert loads[scaled.place] == 0
                assert now - born[scaled.place] > IDLE_S  # none goes that has just come
                del rows[scaled.place], loads[scaled.place]
        else:
            raise AssertionError("it does not come to rest")
        assert {name for name, row in rows.items() if row.draining} == drained
        draining = len(drained)
        assert min(policy.least, policy.most - draining) <= len(rows) - draining
        assert len(rows) <= policy.most
