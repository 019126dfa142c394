"""The trio client against a scripted daemon: answers, refusals, cancellation, events, and loss."""

import functools

import msgspec
import pytest
import trio
import trio.testing

from dashd import client
from dashd.wire import errors
from dashd.wire.methods import daemon, event, swarm
from tests.fakes import daemon as fake


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "dashd.sock")


async def test_a_call_returns_the_result_struct_of_the_table(path):
    async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
        stands = await dash.call("swarm.get", {"swarm": fake.ID})
        again = await dash.call("swarm.get", swarm.GetSwarm(swarm=fake.ID))
    assert stands == again == fake.a_swarm()
    assert dashd.asked("swarm.get") == [{"swarm": fake.ID}] * 2


async def test_a_refusal_is_raised_as_the_class_that_dashd_raised(path):
    refusal = errors.IllegalTransition("no", hint="do this", path="swarm", data={"state": "failed"})
    async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
        dashd.on("swarm.pause", refusal)
        with pytest.raises(errors.IllegalTransition) as caught:
            await dash.call("swarm.pause", {"swarm": fake.ID})
    got = caught.value
    assert (got.message, got.hint, got.path, got.data) == ("no", "do this", "swarm", {"state": "failed"})


async def test_calls_overlap_and_each_gets_its_own_answer(path):
    gates = {name: trio.Event() for name in ("first", "second")}
    got = {}

    async def answer(params):
        await gates[params.name].wait()
        return fake.created(name=params.name)

    async def create(dash, name):
        got[name] = (await dash.call("swarm.create", {"task": "t", "name": name})).name

    with trio.fail_after(5):
        async with (
            fake.open_daemon(path) as dashd,
            client.open_client(path) as dash,
            trio.open_nursery() as nursery,
        ):
            dashd.on("swarm.create", answer)
            nursery.start_soon(create, dash, "first")
            nursery.start_soon(create, dash, "second")
            await dashd.wait_asked("swarm.create", 2)
            gates["second"].set()
            while "second" not in got:
                await trio.lowlevel.checkpoint()
            assert "first" not in got
            gates["first"].set()
    assert got == {"first": "first", "second": "second"}


async def test_cancelling_a_call_tells_dashd_and_the_connection_goes_on(path):
    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dash.call, "event.wait", {})
                await dashd.wait_asked("event.wait")
                nursery.cancel_scope.cancel()
            await dashd.wait_cancelled("event.wait")
            assert isinstance(await dash.call("daemon.ping"), daemon.Pong)


async def test_a_call_cancelled_before_it_was_sent_is_never_sent(path):
    async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
        with trio.CancelScope() as scope:
            scope.cancel()
            await dash.call("swarm.create", {"task": "t"})
        await dash.call("daemon.ping")
    assert [method for method, _ in dashd.received] == ["daemon.ping"]


async def test_nobody_at_the_path_is_unreachable_with_a_remedy(path):
    with pytest.raises(errors.DaemonUnreachable, match=r"no dashd answers at .*: No such file") as caught:
        async with client.open_client(path):
            pytest.fail("there is no daemon")
    assert "dashctl up" in caught.value.hint


async def test_a_path_too_long_for_a_socket_is_unreachable(tmp_path):
    with pytest.raises(errors.DaemonUnreachable, match="the system allows"):
        async with client.open_client(str(tmp_path / ("x" * 120))):
            pytest.fail("there is no daemon")


async def test_a_lost_connection_fails_open_calls_and_later_ones(path):
    async def call(dash):
        with pytest.raises(errors.DaemonUnreachable, match="was lost"):
            await dash.call("event.wait")

    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, dash)
                await dashd.wait_asked("event.wait")
                await dashd.die()
            await dash.lost.wait()
            await call(dash)


async def test_an_exception_of_the_block_comes_out_alone(path):
    async def use():
        async with client.open_client(path):
            raise KeyError("mine")

    async with fake.open_daemon(path):
        with pytest.raises(KeyError, match="mine"):
            await use()


async def test_an_unknown_method_is_refused_here(path):
    async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
        with pytest.raises(errors.UnknownMethod):
            await dash.call("swarm.explode")
    assert dashd.received == []


@pytest.mark.parametrize(
    ("task", "refusal"),
    [
        ("\ud800", errors.InvalidParams),
        (object(), errors.InvalidParams),
        ("x" * 4_194_304, errors.FrameTooLarge),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_leaves_nothing_behind(path, task, refusal):
    async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
        with pytest.raises(refusal):
            await dash.call("swarm.create", {"task": task})
        await dash.call("daemon.ping")
    assert [method for method, _ in dashd.received] == ["daemon.ping"]


async def test_an_answer_of_another_shape_is_an_error_that_names_the_versions(path):
    class Other(daemon.Pong):
        pid: str

    async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
        dashd.on("daemon.ping", Other(version="9", pid="many"))
        with pytest.raises(errors.InternalError, match=r"daemon\.ping in a form") as caught:
            await dash.call("daemon.ping")
    assert "version" in caught.value.hint


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad Request\n", b"[1]\n", b'{"jsonrpc":"2.0","id":1,"er', b"x" * 70]
)
async def test_a_peer_that_speaks_something_else_is_a_lost_connection(path, noise):
    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(noise)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        with trio.socket.socket(trio.socket.AF_UNIX) as sock:
            await sock.bind(path)
            sock.listen()
            listener = trio.SocketListener(sock)
            nursery.start_soon(functools.partial(trio.serve_listeners, serve, [listener]))
            async with client.open_client(path) as dash:
                with trio.fail_after(5), pytest.raises(errors.DaemonUnreachable):
                    await dash.call("daemon.ping")
            nursery.cancel_scope.cancel()


async def take(subscription, count):
    return [(await anext(subscription)).seq for _ in range(count)]


async def test_events_come_in_order_and_the_cursor_follows(path):
    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
            async with dash.events(since=0, swarm=fake.ID, kinds=["task.*"]) as found:
                await dashd.push(1, map(fake.an_event, (1, 2)))
                await dashd.push(1, [fake.an_event(7)])
                assert await take(found, 3) == [1, 2, 7]
                assert found.cursor == 7
            await dashd.wait_asked("event.unsubscribe")
    assert dashd.asked("event.subscribe") == [{"since": 0, "swarm": fake.ID, "kinds": ["task.*"]}]


async def test_a_slow_reader_misses_nothing_and_sees_nothing_twice(path):
    """The daemon holds ten events; the reader buffers three, and takes the rest up from its cursor."""
    subscriptions = 0

    with trio.fail_after(5):
        async with (
            fake.open_daemon(path) as dashd,
            client.open_client(path) as dash,
            trio.open_nursery() as nursery,
        ):

            async def subscribe(params):
                nonlocal subscriptions
                subscriptions += 1
                since = 0 if params.since is msgspec.UNSET else params.since
                nursery.start_soon(dashd.push, subscriptions, map(fake.an_event, range(since + 1, 11)))
                return event.EventsSubscribed(subscription=subscriptions, cursor=since)

            dashd.on("event.subscribe", subscribe)
            async with dash.events(since=0, buffered_max=3) as found:
                assert await take(found, 10) == list(range(1, 11))
    assert subscriptions > 1


async def test_a_subscription_says_that_the_connection_is_lost_and_where_it_was(path):
    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, client.open_client(path) as dash, dash.events() as found:
            await dashd.push(1, [fake.an_event(3)])
            assert await take(found, 1) == [3]
            await dashd.die()
            with pytest.raises(errors.DaemonUnreachable):
                await anext(found)
            assert found.cursor == 3


async def test_a_subscription_cancelled_while_it_begins_is_ended_at_dashd(path):
    gate = trio.Event()

    async def subscribe(params):
        # dashd answers this call where it reads it, so a cancellation always comes too late for it.
        with trio.CancelScope(shield=True):
            await gate.wait()
        return event.EventsSubscribed(subscription=4, cursor=0)

    async def begin(dash):
        async with dash.events():
            pytest.fail("it was cancelled")

    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, client.open_client(path) as dash:
            dashd.on("event.subscribe", subscribe)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(begin, dash)
                await dashd.wait_asked("event.subscribe")
                nursery.cancel_scope.cancel()
            await dashd.wait_cancelled("event.subscribe")
            gate.set()
            await dashd.wait_asked("event.unsubscribe")
    assert dashd.asked("event.unsubscribe") == [{"subscription": 4}]


async def test_a_request_that_waits_to_be_written_is_taken_back_without_a_word(path):
    """The peer does not read, so a large request blocks the writer and a second one waits behind it."""
    got = []

    async def serve(stream):
        await may_read.wait()
        while chunk := await stream.receive_some():
            got.append(chunk)

    may_read = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            with trio.socket.socket(trio.socket.AF_UNIX) as sock:
                await sock.bind(path)
                sock.listen()
                nursery.start_soon(
                    functools.partial(trio.serve_listeners, serve, [trio.SocketListener(sock)])
                )
                async with client.open_client(path) as dash:
                    nursery.start_soon(dash.call, "swarm.create", {"task": "x" * 3_000_000})
                    await trio.testing.wait_all_tasks_blocked()
                    async with trio.open_nursery() as inner:
                        inner.start_soon(dash.call, "daemon.status")
                        await trio.testing.wait_all_tasks_blocked()
                        inner.cancel_scope.cancel()
                    may_read.set()
                    while not b"".join(got).endswith(b"\n"):
                        await trio.lowlevel.checkpoint()
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
    assert b"daemon.status" not in b"".join(got)
    assert b"cancelRequest" not in b"".join(got)
