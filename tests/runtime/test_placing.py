"""Places are chosen in the claim's transaction, by what was known before it and by the rows as they are."""

import contextlib
import shutil
from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from dashd.domain.placement import Terms
from dashd.runtime import placing as module
from dashd.runtime.placing import Placing, Round
from dashd.store import added_gateways, attempts, database, instances, migrations, queue
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.instances import InstanceRow
from dashd.store.queue import Claim
from dashd.store.registry import Look
from tests.fakes.clock import FixedClock
from tests.fakes.inline import InlineStore
from tests.fakes.scene import SWARM, Scene

PLACED = msgspec.json.encode(Terms()).decode()
IN_TURN = msgspec.json.encode(Terms(policy="round-robin")).decode()


class Places:
    """Gateways in the rows, and what was last seen of them."""

    def __init__(self, scene) -> None:
        self.scene = scene
        self.looks: dict[str, Look] = {}
        self.placing = self.fresh()

    def fresh(self) -> Placing:
        """As a new daemon has it, of whose swarms' own gateways none is up."""
        return Placing({}, lambda: self.looks, frozenset)

    def add(self, name: str, capacity: int = 10, *, health: str = "alive", **row: object) -> None:
        made = AddedGatewayRow(name, "ws://127.0.0.1:1", "file", None, "[]", None, capacity, 0)
        made = msgspec.structs.replace(made, **row)
        added = self.scene.do(lambda tx: added_gateways.put(tx, made))
        self.looks[name] = Look(added.added_at_ms, health, "2026.9.6")  # type: ignore[arg-type]

    def claim(self, agents_max: int = 100) -> list[Claim]:
        seen = self.placing.look()
        claims = self.scene.do(lambda tx: queue.claim(tx, agents_max, Round(seen))).claims
        self.placing.followed(claims)
        return claims

    def where(self, agents_max: int = 100) -> list[str | None]:
        return [claim.place for claim in self.claim(agents_max)]


@pytest.fixture
def places(scene) -> Places:
    return Places(scene)


def test_a_claim_and_its_place_are_one_row_more(places, scene) -> None:
    places.add("g1")
    scene.swarm("a", placement=PLACED)
    (claim,) = places.claim()
    assert claim.place == "g1"
    assert attempts.launch(scene.db, scene.attempt(claim).launch_id).place == "g1"
    assert attempts.open_by_place(scene.db) == {"g1": 1}
    assert scene.events()[-1]["data"] == {"attempt": 1, "place": "g1"}
    scene.end(claim)
    assert attempts.open_by_place(scene.db) == {}


def test_a_swarm_without_terms_is_not_placed(places, scene) -> None:
    places.add("g1")
    scene.swarm("a")
    assert places.where() == [None]


def test_a_swarm_stays_where_it_is_until_that_is_nearly_full(places, scene) -> None:
    places.add("g1", 10)
    places.add("g2", 10)
    scene.swarm(*"abcdefghijklm", agents_made=13, placement=PLACED)
    assert places.where(4) == ["g1"] * 4
    assert places.where() == ["g1"] * 6 + ["g2"] * 3


def test_one_that_takes_nothing_is_no_swarms_home_any_more(places, scene) -> None:
    places.add("g1")
    places.add("g2")
    scene.swarm("x", swarm_id="bbbbbb", placement=PLACED)
    assert places.where() == ["g1"]
    places.placing.followed([Claim("a", "s", "t", SWARM, "g1")])
    alive = places.looks["g1"]
    places.looks["g1"] = alive._replace(health="unknown")
    assert places.placing.look().homes == {}
    places.looks["g1"] = alive
    scene.swarm("a", placement=PLACED)
    assert places.where() == ["g2"]


def test_the_next_swarm_goes_to_the_least_loaded(places, scene) -> None:
    places.add("g1", 10)
    places.add("g2", 20)
    scene.swarm(*"abc", agents_made=3, placement=PLACED)
    places.claim()
    scene.swarm(*"abc", swarm_id="bbbbbb", agents_made=3, placement=PLACED)
    assert places.where() == ["g2"] * 3


def test_in_turn_means_apart(places, scene) -> None:
    for name in ("g1", "g2", "g3"):
        places.add(name)
    scene.swarm(*"abcdefg", agents_made=7, placement=IN_TURN)
    assert places.where(2) == ["g1", "g2"]
    assert places.where() == ["g3", "g1", "g2", "g3", "g1"]


def test_in_turn_means_apart_beside_other_work_too(places, scene) -> None:
    for name in ("g1", "g2", "g3"):
        places.add(name, 100)
    scene.swarm(*"abcdef", swarm_id="bbbbbb", placement=PLACED)
    scene.swarm(*"abcdef", placement=IN_TURN)
    taken = []
    for _ in range(6):
        found = places.claim()
        taken += [claim.place for claim in found if claim.swarm_id == SWARM]
        for claim in found:
            scene.end(claim)
    assert taken == ["g1", "g2", "g3"] * 2


def test_a_lost_run_goes_on_where_its_session_is(places, scene, clock) -> None:
    places.add("g1")
    scene.swarm("a", "b", placement=PLACED)
    (claim,) = places.claim()
    scene.start(claim)
    scene.end(claim, "lost")
    places.add("g2")
    places.placing = places.fresh()  # a new daemon has no swarm's home in mind
    scene.swarm("x", swarm_id="bbbbbb", placement=PLACED, priority=0)
    clock.advance(60_000)
    found = {each.task_id: each.place for each in places.claim()}
    assert found == {"bbbbbb-t1": "g1", f"{SWARM}-t1": "g1"}


@pytest.mark.parametrize("why", ["dead", "unknown", "draining", "another row", "full"])
def test_what_cannot_be_placed_waits_and_holds_up_nobody(places, scene, why) -> None:
    places.add("g1", 1, health=why if why in ("dead", "unknown") else "alive")
    if why == "draining":
        scene.do(lambda tx: added_gateways.drain(tx, "g1", on=True))
    elif why == "another row":
        places.looks["g1"] = Look(-1, "alive", None)
    elif why == "full":
        scene.swarm("x", swarm_id="cccccc", placement=PLACED)
        places.claim()
    scene.swarm("a", "b", agents_made=2, placement=PLACED, priority=0)
    scene.swarm("c", "d", swarm_id="bbbbbb", agents_made=2, priority=3)
    assert [claim.task_id for claim in places.claim()] == ["bbbbbb-t1", "bbbbbb-t2"]
    assert scene.states() == ["ready", "ready"]


def test_homes_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "HOMES_MAX", 2)
    monkeypatch.setattr(module, "TURNS_MAX", 2)
    placing = Placing({}, dict, frozenset)
    placing.followed([Claim("a", "s", "t", swarm, f"g{swarm}", f"t{swarm}") for swarm in "1231"])
    placing.followed([Claim("a", "s", "t", "1", "g1"), Claim("a", "s", "t", "9")])
    assert placing.look().homes == {"3": "g3", "1": "g1"}
    assert placing.look().last == {"t3": "g3", "t1": "g1"}


# --- strict order among what can start (invariant 5) --------------------------------------------------------

REGIONS = ("", "eu", "us")
swarm_shapes = strategies.tuples(
    strategies.integers(0, 3),  # priority
    strategies.integers(1, 3),  # seats
    strategies.integers(0, 5),  # tasks
    strategies.sampled_from(["here", *REGIONS]),  # here: it needs no place
    strategies.sampled_from(["least-loaded", "round-robin"]),
)
place_shapes = strategies.tuples(
    strategies.integers(1, 12), strategies.sampled_from(["alive", "alive", "dead", "unknown"]),
    strategies.sampled_from(REGIONS), strategies.booleans(),
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty database, migrated once."""
    path = tmp_path_factory.mktemp("placing") / "empty.db"
    connection = database.connect(path)
    migrations.migrate(connection, path, FixedClock())
    database.close(connection, checkpoint=True)
    return path


@given(
    swarms=strategies.lists(swarm_shapes, min_size=1, max_size=5),
    gateways=strategies.lists(place_shapes, max_size=3),
    slots=strategies.lists(strategies.integers(0, 9), min_size=1, max_size=4),
    endings=strategies.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_starts_is_always_the_first_that_can(template, swarms, gateways, slots, endings) -> None:
    """Against a list of plain tuples: no task that some place would take waits while a later one starts."""
    path, clock = template.with_name("run.db"), FixedClock()
    for left in path.parent.glob("run.db*"):
        left.unlink()
    shutil.copy(template, path)
    with contextlib.closing(InlineStore(path, clock)) as store:
        scene = Scene(store, clock)
        places = Places(scene)
        for number, (capacity, health, region, draining) in enumerate(gateways):
            places.add(f"g{number}", capacity, health=health, region=region or None, draining=int(draining))
        for number, (priority, seats, tasks, where, policy) in enumerate(swarms):
            terms = Terms(policy=policy, region=where or None)
            text = "" if where == "here" else msgspec.json.encode(terms).decode()
            items = [str(item) for item in range(tasks)]
            name = f"s{number:05d}"
            clock.advance(1)
            scene.swarm(*items, swarm_id=name, agents_made=seats, priority=priority, placement=text)
        oracle = Oracle(swarms, gateways)
        open_: list[Claim] = []
        for free in slots:
            claims = places.claim(len(open_) + free)
            assert len(claims) <= free
            for claim in claims:
                assert claim.task_id == oracle.next()
                oracle.took(claim)
            assert len(claims) == free or oracle.next() is None
            open_ += claims
            for claim in [each for each in open_ if endings.random() < 0.5]:
                open_.remove(claim)
                scene.end(claim)
                oracle.ended(claim)


class Oracle:
    """The rules again, over plain values."""

    def __init__(self, swarms, gateways) -> None:
        self.tasks = [
            (priority, number, item, f"s{number:05d}-t{item + 1}")
            for number, (priority, _, tasks, _, _) in enumerate(swarms)
            for item in range(tasks)
        ]
        self.seats = {f"s{number:05d}": shape[1] for number, shape in enumerate(swarms)}
        self.where = {f"s{number:05d}": shape[3] for number, shape in enumerate(swarms)}
        self.gateways = {f"g{number}": shape for number, shape in enumerate(gateways)}
        self.loads = Counter()

    def next(self) -> str | None:
        able = [task for task in self.tasks if self._can_start(task[3].partition("-")[0])]
        return min(able)[3] if able else None

    def _can_start(self, swarm: str) -> bool:
        where = self.where[swarm]
        return self.seats[swarm] > 0 and (
            where == "here" or any(self._takes(name, where) for name in self.gateways)
        )

    def _takes(self, name: str, region: str) -> bool:
        capacity, health, own, draining = self.gateways[name]
        fits = health == "alive" and not draining and region in ("", own)
        return fits and self.loads[name] < capacity and self.loads[name] <= 0.9 * capacity

    def took(self, claim: Claim) -> None:
        self.tasks = [task for task in self.tasks if task[3] != claim.task_id]
        self.seats[claim.swarm_id] -= 1
        assert (claim.place is None) == (self.where[claim.swarm_id] == "here")
        if claim.place is not None:
            assert self._takes(claim.place, self.where[claim.swarm_id])
            self.loads[claim.place] += 1

    def ended(self, claim: Claim) -> None:
        self.seats[claim.swarm_id] += 1
        self.loads[claim.place] -= 1


# --- Pis, among instances -----------------------------------------------------------------------------------


@pytest.fixture
def pis(places, scene) -> Places:
    """The same with this machine's own seats, and one Pi that was added."""
    own = scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    places.looks["local"] = Look(own.added_at_ms, "alive", None)
    row = InstanceRow("next", "static", "/p/cli.js", '["gpu"]', "eu", 2, version="1.6.0")
    added = scene.do(lambda tx: instances.put(tx, row))
    places.looks["next"] = Look(added.added_at_ms, "alive", "1.6.0")
    return places


def test_every_pi_is_placed_with_terms_or_without(pis, scene) -> None:
    scene.swarm("a", "b", agents_made=2, driver="pi")
    assert pis.where() == ["local", "local"]
    assert attempts.open_by_place(scene.db) == {"local": 2}
    scene.swarm("a", swarm_id="bbbbbb")
    assert pis.where() == [None]


def test_its_own_seats_may_all_be_taken_and_others_to_nine_tenths(pis, scene) -> None:
    scene.swarm(*"abcdefgh", agents_made=8, driver="pi")
    assert sorted(pis.where()) == ["local"] * 4 + ["next"] * 2


@pytest.mark.parametrize(
    "terms", [Terms(capabilities=("gpu",)), Terms(region="eu"), Terms(version="1.6"), Terms(version="1.5.9")]
)
def test_terms_choose_among_instances_too(pis, scene, terms) -> None:
    scene.swarm(*"abc", agents_made=3, driver="pi", placement=msgspec.json.encode(terms).decode())
    assert pis.where() == ["next", "next"]
    assert scene.states() == ["running", "running", "ready"]


@pytest.mark.parametrize("why", ["dead", "another row", "draining"])
def test_one_that_is_not_well_gets_nothing_new(pis, scene, why) -> None:
    if why == "draining":
        scene.do(lambda tx: instances.drain(tx, "next", on=True))
    else:
        pis.looks["next"] = Look(-1 if why == "another row" else pis.looks["next"].added_at_ms, "dead", None)
    scene.do(lambda tx: instances.resize(tx, instances.find(tx.db, "local"), 1))
    scene.swarm("a", "b", agents_made=2, driver="pi")
    assert pis.where() == ["local"]


@pytest.mark.parametrize("health", ["dead", "unknown"])
def test_this_machine_s_own_gets_nothing_either_where_its_pi_is_gone(pis, scene, health) -> None:
    scene.swarm("a", "b", "c", agents_made=3, driver="pi")
    assert pis.where(1) == ["local"]
    pis.looks["local"] = pis.looks["local"]._replace(health=health)
    assert pis.where() == ["next", "next"]


def test_a_gateway_is_no_place_for_a_pi(pis, scene) -> None:
    pis.add("g1")
    scene.swarm("a", driver="pi", placement=PLACED)
    assert pis.where() == ["local"]


def test_what_waits_for_one_more_of_this_machine_s_own(pis, scene) -> None:
    scene.swarm(*"abcdefgh", agents_made=8, driver="pi")
    pis.claim()
    own = instances.seats(scene.db)
    assert instances.waiting(scene.db, 100, own) == [f"{SWARM}-t7"]
    for_gpu = msgspec.json.encode(Terms(capabilities=("gpu",))).decode()
    scene.swarm("a", swarm_id="bbbbbb", driver="pi", placement=for_gpu)
    assert instances.waiting(scene.db, 100, own) == [f"{SWARM}-t7"]  # one more would not help the other
    assert instances.waiting(scene.db, 6, own) == []
