"""Every subscriber gets what it asked for once and in order, whoever is slow and whenever it joins."""

import json
from pathlib import Path

import apsw
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.service import feed
from dashd.service.core import Caller
from dashd.store import rows, tail
from dashd.wire import errors, events
from dashd.wire.methods.event import SubscribeEvents
from tests.fakes.scene import swarm_row

SQL = sorted((Path(__file__).parents[2] / "schema" / "sql").glob("*.sql"))
KINDS = ["task.created", "task.dead", "agent.progress", "swarm.completed"]


class Table:
    """The event table, in memory; a read is a checkpoint, as the real one is."""

    def __init__(self):
        self.db = apsw.Connection(":memory:")
        for script in SQL:
            self.db.execute(script.read_text())
        self.reads = 0

    async def read(self, query):
        self.reads += 1
        await trio.lowlevel.checkpoint()
        answer = query(self.db)
        await trio.lowlevel.checkpoint()
        return answer

    def insert(self, batch):
        self.db.executemany(
            "INSERT INTO event (seq, at_ms, kind, swarm, body) VALUES (?, 0, ?, ?, ?)",
            [(each.seq, each.kind, each.swarm, each.body.decode()) for each in batch.events],
        )


class World:
    """A table, its tail, the feed, and all that was ever published."""

    def __init__(self, *, events_max=8):
        self.table = Table()
        self.tail = tail.Tail(0, events_max=events_max)
        self.all = []

    def publish(self, *kinds, swarm=None, size=0):
        """One commit."""
        seqs = range(self.tail.last_seq + 1, self.tail.last_seq + 1 + len(kinds))
        batch = tail.Batch(
            tuple(
                tail.Committed(seq, kind, swarm, b'{"seq":%d,"pad":"%b"}' % (seq, b"x" * size))
                for seq, kind in zip(seqs, kinds, strict=True)
            )
        )
        self.all += batch.events
        self.table.insert(batch)
        self.tail.publish(batch)

    def expected(self, wanted, since):
        return [each.seq for each in self.all if each.seq > since and wanted.wants(each.kind, each.swarm)]


class Sink:
    """A reader that takes what it is given and has enough when it holds more than `capacity` bytes."""

    def __init__(self, capacity=10**9):
        self.capacity = capacity
        self.lines = []
        self.held = 0
        self.held_max = 0
        self.crowd = trio.lowlevel.ParkingLot()

    def push(self, line):
        assert line.endswith(b"]}}\n")
        self.lines.append(line)
        self.held += len(line)
        self.held_max = max(self.held, self.held_max)
        return self.held <= self.capacity

    async def room(self):
        while self.held > self.capacity:
            await self.crowd.park()

    def take(self):
        self.held = 0
        self.crowd.unpark_all()

    def seqs(self):
        return [event["seq"] for line in self.lines for event in json.loads(line)["params"]["events"]]


@pytest.fixture
def world():
    return World()


def subscribe(opened, nursery, sink, *, since=None, number=1, wanted=None, caller=None):
    params = SubscribeEvents() if since is None else SubscribeEvents(since=since)
    subscription = opened.subscribe(number, wanted or events.Filter(), params, sink, caller)
    nursery.start_soon(opened.run, subscription)
    return subscription


async def settle():
    await trio.testing.wait_all_tasks_blocked()


FILTERS = [
    {},
    {"kinds": ["task.*"]},
    {"attention": True},
    {"swarm": "s"},
    {"swarm": "t", "kinds": ["agent.*"]},
]
COMMITS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=12)
STEP = st.one_of(
    st.tuples(st.just("publish"), COMMITS, st.sampled_from([None, "s", "t"])),
    st.tuples(
        st.just("subscribe"),
        st.sampled_from([None, 0, 3]),
        st.sampled_from(FILTERS),
        st.sampled_from([0, 200, 10**9]),
    ),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("turn")),
    st.tuples(st.just("settle")),
)


@settings(max_examples=150)
@given(st.lists(STEP, max_size=25))
async def test_any_history_gives_every_subscriber_the_same_as_a_plain_model(steps):
    world = World()
    joined = []
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            for step, *given_ in steps:
                match step, given_:
                    case "publish", [kinds, swarm]:
                        world.publish(*kinds, swarm=swarm)
                    case "subscribe", [since, wanted, capacity]:
                        since = None if since is None else min(since, world.tail.last_seq)
                        sink, chosen = Sink(capacity), events.Filter(**wanted)
                        subscription = subscribe(opened, nursery, sink, since=since, wanted=chosen)
                        joined.append((subscription, sink, chosen, subscription.cursor))
                    case "take", [which]:
                        if joined:
                            joined[which % len(joined)][1].take()
                    case "end", [which]:
                        if len(joined) > 3:
                            subscription, sink, chosen, since = joined.pop(which % len(joined))
                            subscription.end()
                            got = sink.seqs()
                            assert got == world.expected(chosen, since)[: len(got)]
                    case "turn", _:
                        await trio.lowlevel.checkpoint()
                    case _:
                        await settle()
            for _ in range(len(world.all) + 2):
                for _subscription, sink, _chosen, _since in joined:
                    sink.take()
                await settle()
            for _subscription, sink, chosen, since in joined:
                assert sink.seqs() == world.expected(chosen, since)
            nursery.cancel_scope.cancel()
        assert not opened._live


async def test_live_events_are_pushed_in_the_commit_itself(world):
    sink = Sink()
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            subscribe(opened, nursery, sink)
            await settle()
            world.publish("task.created", "task.dead")
            assert sink.lines == [
                b'{"jsonrpc":"2.0","method":"$/events","params":{"subscription":1,"events":'
                b'[{"seq":1,"pad":""},{"seq":2,"pad":""}]}}\n'
            ]
            assert world.table.reads == 0
            nursery.cancel_scope.cancel()
    world.publish("task.created")
    assert len(sink.lines) == 1, "nothing is pushed after the feed has been left"


def insert_swarm(table, swarm_id, cwd):
    row = swarm_row(swarm_id, cwd=str(cwd))
    query = f"INSERT INTO swarm ({rows.columns(type(row))}) VALUES ({rows.placeholders(type(row))})"
    table.db.execute(query, msgspec.structs.astuple(row))


async def test_a_key_with_folders_is_pushed_what_is_of_its_swarms(world, tmp_path):
    insert_swarm(world.table, "s", tmp_path)
    insert_swarm(world.table, "t", "/usr/share")
    sink, everything = Sink(), Sink()
    bounded = Caller("orchestrator", 1, key="k", within=(str(tmp_path.resolve()),))
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            world.publish("task.created", swarm="t")
            world.publish("task.created", swarm="s")
            subscribe(opened, nursery, sink, since=0, caller=bounded)
            subscribe(opened, nursery, everything, since=0)
            await settle()
            assert sink.seqs() == [2]
            world.publish("task.dead", swarm="t")
            world.publish("task.dead", "task.dead", swarm="s")
            world.publish("system.alert")
            await settle()
            reads = world.table.reads
            await settle()
            assert world.table.reads == reads, "nothing new, nothing read"
            nursery.cancel_scope.cancel()
    assert sink.seqs() == [2, 4, 5, 6]
    assert everything.seqs() == [1, 2, 3, 4, 5, 6]


async def test_subscribers_of_everything_share_one_line(world):
    sinks = [Sink() for _ in range(3)]
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            for sink, number in zip(sinks, [1, 1, 2], strict=True):
                subscribe(opened, nursery, sink, number=number)
            await settle()
            world.publish("task.created")
            assert sinks[0].lines[0] is sinks[1].lines[0]
            assert json.loads(sinks[2].lines[0])["params"]["subscription"] == 2
            nursery.cancel_scope.cancel()


async def test_a_stopped_reader_holds_a_bounded_amount_and_slows_no_other(world):
    stopped, quick = Sink(capacity=1_000), Sink()
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            subscribe(opened, nursery, stopped)
            subscribe(opened, nursery, quick)
            await settle()
            for _ in range(500):
                world.publish("agent.progress", size=100)
                await trio.lowlevel.checkpoint()
            assert quick.seqs() == list(range(1, 501))
            assert stopped.held_max < 1_000 + 300
            while stopped.seqs() != quick.seqs():
                stopped.take()
                await settle()
            nursery.cancel_scope.cancel()


async def test_history_comes_in_pages_from_the_table_then_from_the_tail():
    world = World(events_max=100)
    for _ in range(70):
        world.publish(*["agent.progress"] * 10)
    sink = Sink(capacity=5_000)
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            subscription = subscribe(opened, nursery, sink, since=0)
            while subscription not in opened._live:
                await settle()
                world.publish("task.created")
                sink.take()
            # Three pages of the table reach into the tail, which is 100 events long and moves on.
            assert 3 <= world.table.reads <= 5
            assert sink.seqs() == world.expected(events.Filter(), 0)
            nursery.cancel_scope.cancel()


async def test_history_waits_for_its_reader_between_two_lines():
    world = World(events_max=1)
    world.publish(*["agent.progress"] * 40, size=feed.LINE_BYTES_MAX // 4)
    sink = Sink(capacity=0)
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            subscribe(opened, nursery, sink, since=0)
            for _ in range(20):
                await settle()
                assert sink.held < 2 * feed.LINE_BYTES_MAX
                sink.take()
            assert sink.seqs() == list(range(1, 41))
            nursery.cancel_scope.cancel()


async def test_long_lines_are_split(world):
    sink = Sink()
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            subscribe(opened, nursery, sink)
            await settle()
            world.publish(*["agent.progress"] * 8, size=feed.LINE_BYTES_MAX // 3)
            late = Sink()
            subscribe(opened, nursery, late, since=0)
            await settle()
            for each in (sink, late):
                assert each.seqs() == list(range(1, 9))
                assert max(map(len, each.lines)) < feed.LINE_BYTES_MAX * 1.5
            nursery.cancel_scope.cancel()


async def test_an_ended_subscription_gets_nothing_more(world):
    sink = Sink()
    with feed.open_feed(world.tail, world.table) as opened:
        async with trio.open_nursery() as nursery:
            subscription = subscribe(opened, nursery, sink)
            await settle()
            world.publish("task.created")
            subscription.end()
            world.publish("task.created")
            await settle()
            world.publish("task.created")
    assert 1 in sink.seqs()
    assert 3 not in sink.seqs()


async def test_a_request_is_checked(world):
    world.publish("task.created", swarm="7k2m9q")
    with feed.open_feed(world.tail, world.table) as opened:
        wanted = await opened.check(SubscribeEvents(kinds=["task.*"], since=1))
        assert wanted.wants("task.dead", None)
        assert not wanted.wants("agent.lost", None)
        with pytest.raises(errors.InvalidParams) as caught:
            await opened.check(SubscribeEvents(since=2))
        assert caught.value.path == "since"
        with pytest.raises(errors.InvalidParams):
            await opened.check(SubscribeEvents(kinds=["tusk.*"]))
        with pytest.raises(errors.UnknownSwarm):
            await opened.check(SubscribeEvents(swarm="nosuch"))
