"""What the connection itself answers; and subscriptions over sockets, with the real store, under load."""

import json
import os
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from dashd import store
from dashd.rpc import connection, dispatch, door
from dashd.service import feed
from dashd.service.core import Caller, Refusals
from dashd.store import audit, swarms, tail
from dashd.wire import errors, events, methods, openrpc
from dashd.wire.methods import event, rpc
from tests.fakes.clock import FixedClock
from tests.fakes.ports import FakeKeys
from tests.fakes.scene import swarm_row

from .conftest import HANDLERS, METHODS, Peer, call

OWN = {name: row for name, row in methods.METHODS.items() if name in door.HANDLERS}


@asynccontextmanager
async def daemon(tmp_path, keys=None):
    """A store, its feed, and a function that opens a served connection."""
    with trio.fail_after(30):
        async with store.open_store(tmp_path / "dash.db", FixedClock()) as opened:
            with feed.open_feed(opened.tail, opened.reader) as followed:
                core = SimpleNamespace(store=opened, keys=keys or FakeKeys(), refusals=Refusals())
                table = dispatch.Dispatch(
                    HANDLERS, core, feed=followed, version="9.9", table={**METHODS, **OWN}
                )
                async with trio.open_nursery() as nursery:
                    ends = []

                    def connect(limits=connection.DEFAULTS):
                        ours, theirs = socket.socketpair(socket.AF_UNIX)
                        ends.append(theirs)
                        ours.setblocking(False)
                        nursery.start_soon(
                            connection.Connection(ours, table, Caller("operator", os.getuid()), limits).run
                        )
                        return Peer(theirs)

                    yield connect, opened, nursery
                    nursery.cancel_scope.cancel()
                for end in ends:
                    end.close()


def emit(kind, swarm=None, size=0):
    return lambda tx: tx.emit(kind, swarm=swarm, data={"pad": "x" * size})


async def test_hello_says_who_is_taken_for_whom(tmp_path):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        peer = connect()
        answer = await peer.ask(call("rpc.hello", {"client": "test"}))
        assert answer["result"] == {
            "version": "9.9",
            "actor": "operator",
            "uid": os.getuid(),
            "methods": sorted(methods.METHODS),
            "who": f"operator:uid-{os.getuid()}",
        }
        refused = await peer.ask(call("rpc.hello", {"client": "test", "key": "k"}))
        assert refused["error"]["data"]["kind"] == "Unauthorized"
        assert "key.list" in refused["error"]["data"]["hint"]


async def test_a_key_says_who_speaks_and_is_on_record(tmp_path):
    async with daemon(tmp_path) as (connect, opened, _nursery):
        peer = connect()
        answer = (await peer.ask(call("rpc.hello", {"client": "mcp", "key": "good"})))["result"]
        assert (answer["actor"], answer["who"]) == ("orchestrator", "orchestrator:claude")
        assert "swarm.create" in answer["methods"]
        assert "provider.add" not in answer["methods"]
        later = (await peer.ask(call("rpc.hello", {"client": "mcp"})))["result"]
        assert later["who"] == "orchestrator:claude", "leaving the key out gives no rights back"
        rows = await opened.reader.read(lambda db: audit.after(db, 0, 10))
        assert [row.action for row in rows] == ["auth.key"]


async def test_what_is_sent_behind_a_hello_is_already_somebody_elses(open_line, log):
    """All in one piece: the call behind it is not taken for the operator's."""
    seen, release = [], trio.Event()

    async def slow(peer, params):
        await release.wait()
        peer.caller = Caller("orchestrator", 1, params.client, "claude", "proof of claude")
        return rpc.Welcome(version="", actor="orchestrator", uid=1, methods=[])

    table = dispatch.Dispatch(
        {"subtract": lambda _core, caller, _params: seen.append(caller.who)},
        log,
        peer_handlers={"rpc.hello": slow},
        table={"subtract": METHODS["subtract"], "rpc.hello": OWN["rpc.hello"]},
    )
    async with open_line(served_by=table) as line:
        await line.peer.send(call("rpc.hello", {"client": "x"}, id=1), call("subtract", {"minuend": 1}, id=2))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        release.set()
        assert [(await line.peer.answer())["id"] for _ in range(2)] == [1, 2]
    assert seen == ["orchestrator:claude"]


async def test_hello_is_not_part_of_a_batch(tmp_path):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        (answer,) = await connect().ask([call("rpc.hello", {"client": "x"}, id=1)])
        assert answer["error"]["data"]["kind"] == "InvalidRequest"


async def test_hello_names_the_client_for_later_calls(open_line, log):
    seen = []
    table = dispatch.Dispatch(
        {"subtract": lambda _core, caller, _params: seen.append(caller.client)},
        log,
        peer_handlers={"rpc.hello": door.hello},
        table={"subtract": METHODS["subtract"], "rpc.hello": OWN["rpc.hello"]},
    )
    async with open_line(served_by=table) as line:
        for message in (
            call("subtract", {"minuend": 1}),
            call("rpc.hello", {"client": "console"}),
            call("subtract", {"minuend": 1}),
        ):
            await line.peer.ask(message)
    assert seen == ["", "console"]


async def test_discover_gives_the_document(tmp_path):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        answer = await connect().ask(call("rpc.discover"))
        assert answer["result"] == json.loads(openrpc.written())


async def test_events_follow_the_answer_of_their_subscription(tmp_path):
    async with daemon(tmp_path) as (connect, opened, _nursery):
        await opened.writer.apply(emit("task.created"))
        peer = connect()
        await peer.send(call("event.subscribe", {"since": 0}, id=1), call("event.subscribe", {}, id=2))
        # Calls that wait may overtake each other, so either may be subscription 1.
        since, answered, got = {1: 0, 2: 1}, {}, []
        while len(got) < 3:
            message = await peer.answer()
            if "id" in message:
                assert message["result"]["cursor"] == since[message["id"]]
                answered[message["result"]["subscription"]] = message["id"]
                if len(answered) == 2:
                    await opened.writer.apply(emit("task.dead"))
            else:
                number = message["params"]["subscription"]
                assert number in answered, "an event before the answer that announces it"
                got += [(answered[number], each["seq"]) for each in message["params"]["events"]]
        assert sorted(got) == [(1, 1), (1, 2), (2, 2)]


async def test_whose_key_was_revoked_hears_that_instead_of_the_next_event(tmp_path):
    keys = FakeKeys()
    async with daemon(tmp_path, keys) as (connect, opened, _nursery):
        peer, other = connect(), connect()
        await peer.ask(call("rpc.hello", {"client": "mcp", "key": "good"}))
        for each in (peer, peer, other):
            await each.ask(call("event.subscribe", {}))
        keys.revoke("claude")
        await opened.writer.apply(emit("task.created"))
        assert (await other.answer())["params"]["events"]
        told = await peer.answer()
        assert (told["id"], told["error"]["data"]["kind"]) == (None, "Unauthorized")
        assert await peer.ended()


async def test_unsubscribe_ends_it(tmp_path):
    async with daemon(tmp_path) as (connect, opened, _nursery):
        peer = connect()
        number = (await peer.ask(call("event.subscribe", {})))["result"]["subscription"]
        assert (await peer.ask(call("event.unsubscribe", {"subscription": number})))["result"][
            "changed"
        ] is True
        assert (await peer.ask(call("event.unsubscribe", {"subscription": number})))["result"][
            "changed"
        ] is False
        await opened.writer.apply(emit("task.created"))
        assert (await peer.ask(call("event.subscribe", {}, id=9)))["id"] == 9


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"kinds": ["tusk.*"]}, "InvalidParams"),
        ({"swarm": "nosuch"}, "UnknownSwarm"),
        ({"since": 5}, "InvalidParams"),
        ({"since": 10**30}, "InvalidParams"),
    ],
)
async def test_a_subscription_that_could_not_work_is_refused(tmp_path, params, kind):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        assert (await connect().ask(call("event.subscribe", params)))["error"]["data"]["kind"] == kind


async def test_subscriptions_are_counted(tmp_path):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        peer = connect(connection.PeerLimits(subscriptions_max=2))
        for _ in range(2):
            assert "result" in await peer.ask(call("event.subscribe", {}))
        assert (await peer.ask(call("event.subscribe", {})))["error"]["data"]["kind"] == "RateLimited"
        await peer.ask(call("event.unsubscribe", {"subscription": 1}))
        assert "result" in await peer.ask(call("event.subscribe", {}))


async def test_a_subscription_in_a_batch_is_refused_with_the_way_out(tmp_path):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        (answer,) = await connect().ask([call("event.subscribe", {}, id=5)])
        assert (answer["id"], answer["error"]["code"]) == (5, -32600)
        assert "Send it by itself" in answer["error"]["data"]["hint"]


async def test_half_closing_ends_subscriptions_but_not_answers(tmp_path):
    async with daemon(tmp_path) as (connect, _store, _nursery):
        peer = connect()
        await peer.send(call("event.subscribe", {}), call("subtract", {"minuend": 1}, id=2))
        peer.finish_sending()
        assert {(await peer.answer())["id"] for _ in range(2)} == {1, 2}
        assert await peer.ended()


class Unreadable:
    """A table whose reads fail."""

    def __init__(self, error):
        self.error = error

    async def read(self, _query):
        await trio.lowlevel.checkpoint()
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"), [(errors.StoreClosed(), "StoreClosed"), (ZeroDivisionError(), "InternalError")]
)
async def test_a_subscription_that_fails_says_so_and_ends_only_its_connection(open_line, error, kind, log):
    newest = tail.Tail(10)
    with feed.open_feed(newest, Unreadable(error)) as followed:
        table = dispatch.Dispatch(HANDLERS, log, feed=followed, table={**METHODS, **OWN})
        async with open_line(served_by=table) as line:
            await line.peer.send(call("wait", id=1), call("change", {"seconds": 0}, id=2))
            await line.peer.send(call("event.subscribe", {"since": 3}, id=3))
            answers = {}
            while (got := await line.peer.line()) is not None:
                answer = json.loads(got)
                answers[answer["id"]] = answer
            assert answers[3]["result"]["cursor"] == 3
            assert answers[None]["error"]["data"]["kind"] == kind
            assert answers[1]["error"]["data"]["kind"] == "Cancelled"
            assert "result" in answers[2]


FILTERS = [{}, {"kinds": ["task.*"]}, {"attention": True}, {"kinds": ["agent.progress"]}]


@pytest.mark.slow
async def test_joining_under_load_misses_nothing_and_repeats_nothing(tmp_path):
    """Twelve subscribers join while events are committed; half of them read slowly, with a small outbox."""
    total, kinds = 3_000, ["task.created", "agent.progress", "task.dead", "agent.lost"]
    async with daemon(tmp_path) as (connect, opened, _nursery):
        committed = []
        opened.tail.follow(lambda batch: committed.extend((each.seq, each.kind) for each in batch.events))

        async def write(first):
            for number in range(first, total, 10):
                await opened.writer.apply(emit(kinds[number % 4], size=number % 300))

        async def follow(place):
            while opened.tail.last_seq < place * 200:
                await opened.bells.events.ticket().wait()
            slow, chosen = place % 2 == 1, FILTERS[place % 4]
            since = 0 if place % 3 == 0 else opened.tail.last_seq // 2
            peer = connect(connection.PeerLimits(out_bytes_max=3_000 if slow else 1 << 20))
            answer = await peer.ask(call("event.subscribe", {**chosen, "since": since}))
            assert answer["result"]["cursor"] == since
            got = []
            while not got or got[-1] <= total:
                if slow:
                    await trio.sleep(0.002)
                got += [each["seq"] for each in (await peer.answer())["params"]["events"]]
            wanted = events.Filter(None, chosen.get("kinds", ()), attention=chosen.get("attention", False))
            assert got == [
                seq for seq, kind in committed if since < seq <= got[-1] and wanted.wants(kind, None)
            ]

        async with trio.open_nursery() as followers:
            for place in range(12):
                followers.start_soon(follow, place)
            async with trio.open_nursery() as writers:
                for first in range(10):
                    writers.start_soon(write, first)
            # One of these passes each filter, and says that all before it has been seen.
            await opened.writer.apply(emit("task.dead"))
            await opened.writer.apply(emit("agent.progress"))


def test_the_doors_methods_take_what_the_table_says():
    assert set(OWN) == {"rpc.hello", "rpc.discover", "event.subscribe", "event.unsubscribe"}
    assert OWN["rpc.hello"].params is rpc.Hello
    assert OWN["event.subscribe"].params is event.SubscribeEvents


async def test_a_key_follows_no_swarm_outside_its_folders(tmp_path):
    within = Caller("orchestrator", 7, key="claude", within=(str(tmp_path),))
    async with daemon(tmp_path) as (_, opened, _):
        row = swarm_row(cwd="/elsewhere")
        await opened.writer.apply(lambda tx: swarms.insert(tx, row))
        with feed.open_feed(opened.tail, opened.reader) as followed:
            peer = SimpleNamespace(feed=followed, core=SimpleNamespace(store=opened), caller=within)
            with pytest.raises(errors.Forbidden, match="/elsewhere does not"):
                await door.subscribe(peer, event.SubscribeEvents(swarm=row.id))
