"""The connection that outlives dashd: what is repeated, what is not, and for how long it is patient."""

import pytest
import trio

from dashd.wire import errors, methods
from dashd.wire.methods import rpc
from mcp_server import link, tools
from tests.fakes import daemon as fake


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "dashd.sock")


def test_only_what_may_be_done_twice_is_repeated():
    assert link.repeatable("event.wait", {})
    assert link.repeatable("agent.kill", {"agent": "a"})
    assert not link.repeatable("swarm.create", {"task": "t"})
    assert link.repeatable("swarm.create", {"task": "t", "idempotency_key": "k"})
    assert not link.repeatable("agent.retry", {"agent": "a"})


def test_no_tool_is_left_in_doubt():
    keyed = {"swarm.create", "agent.spawn", "session.fork", "budget.extend"}
    for tool in tools.TOOLS.values():
        assert "idempotency_key" in tool.method.params.__struct_fields__ or tool.method.name not in keyed
        assert tool.method.name in keyed or link.repeatable(tool.method.name, {})


async def test_a_call_that_may_not_be_repeated_says_that_it_is_not_confirmed(path):
    async def call(dash):
        with pytest.raises(link.Unconfirmed, match="whether it was carried out is not known") as caught:
            await dash.call("agent.retry", {"agent": "a"})
        assert "swarm_get" in caught.value.hint

    with trio.fail_after(5):
        async with (
            fake.open_daemon(path) as dashd,
            link.open_link(path) as dash,
            trio.open_nursery() as nursery,
        ):
            dashd.on("agent.retry", fake.wait_for_ever)
            nursery.start_soon(call, dash)
            await dashd.wait_asked("agent.retry")
            await dashd.die()
    assert len(dashd.asked("agent.retry")) == 1


async def test_one_connection_serves_all_calls_and_is_not_made_before_the_first(path):
    async with link.open_link(path) as dash, fake.open_daemon(path) as dashd:
        assert dashd.connections == 0
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(dash.call, "daemon.ping", {})
        assert dashd.connections == 1


async def test_a_daemon_that_is_leaving_has_done_nothing_so_its_successor_is_asked(path, autojump_clock):
    """Even a call that may not be repeated: a refusal for shutting down means that it was not carried out."""
    async with fake.open_daemon(path) as dashd, link.open_link(path) as dash, trio.open_nursery() as nursery:
        given = iter([errors.ShuttingDown(), fake.created()])
        dashd.on("swarm.create", lambda params: next(given))

        async def create():
            assert (await dash.call("swarm.create", {"task": "t"})).id == fake.ID

        nursery.start_soon(create)
        await trio.sleep(1)
        await dashd.die()
        await trio.sleep(1)
        await dashd.live()
    assert len(dashd.asked("swarm.create")) == 2


async def test_a_daemon_that_never_leaves_is_believed_in_the_end(path, autojump_clock):
    async with fake.open_daemon(path) as dashd, link.open_link(path) as dash:
        dashd.on("swarm.create", errors.ShuttingDown())
        with pytest.raises(errors.ShuttingDown):
            await dash.call("swarm.create", {"task": "t"})
    assert len(dashd.asked("swarm.create")) == 1


async def test_a_call_that_takes_dashd_down_every_time_is_given_up(path):
    with trio.fail_after(10):
        async with (
            fake.open_daemon(path) as dashd,
            link.open_link(path) as dash,
            trio.open_nursery() as nursery,
        ):
            dashd.on("swarm.get", fake.wait_for_ever)

            async def crash_and_restart():
                for count in range(1, link.TRIES_MAX + 1):
                    await dashd.wait_asked("swarm.get", count)
                    await dashd.die()
                    await dashd.live()

            nursery.start_soon(crash_and_restart)
            with pytest.raises(errors.DaemonUnreachable):
                await dash.call("swarm.get", {"swarm": "x"})
    assert len(dashd.asked("swarm.get")) == link.TRIES_MAX


async def test_patience_counts_from_the_loss_and_not_from_the_call(path, autojump_clock):
    async with fake.open_daemon(path) as dashd, link.open_link(path) as dash:
        await dash.call("daemon.ping", {})
        await dashd.die()
        await trio.sleep(link.RECONNECT_S_MAX + 5)
        started = trio.current_time()
        with pytest.raises(errors.DaemonUnreachable):
            await dash.call("daemon.ping", {})
        assert trio.current_time() - started < 1


def test_every_tool_calls_a_method_of_the_table():
    assert {tool.method.name for tool in tools.TOOLS.values()} <= set(methods.METHODS)


async def test_where_dashd_says_it_is_comes_before_where_it_is_expected(path, tmp_path):
    noted = [str(tmp_path / "moved.sock"), ""]
    with trio.fail_after(5):
        async with link.open_link(path, lambda: noted.pop(0)) as dash:
            async with fake.open_daemon(str(tmp_path / "moved.sock")) as moved:
                await dash.call("daemon.ping", {})
                assert moved.connections == 1
            async with fake.open_daemon(path) as dashd:
                await dash.call("daemon.ping", {})
                assert dashd.connections == 1
    assert noted == []


async def test_a_key_is_shown_before_anything_else_on_every_connection(path):
    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, link.open_link(path, key="good") as dash:
            said = rpc.Welcome(version="", actor="orchestrator", uid=1, methods=[])
            dashd.on("rpc.hello", said)
            await dash.call("daemon.ping", {})
            assert [name for name, _ in dashd.received] == ["rpc.hello", "daemon.ping"]
            assert dashd.asked("rpc.hello") == [{"client": "dash-mcp", "key": "good"}]


async def test_a_key_that_is_not_known_is_told_and_nothing_is_asked(path):
    with trio.fail_after(5):
        async with fake.open_daemon(path) as dashd, link.open_link(path, key="bad") as dash:
            dashd.on("rpc.hello", errors.Unauthorized("This key is not known."))
            with pytest.raises(errors.Unauthorized):
                await dash.call("swarm.create", {"task": "t"})
            assert dashd.asked("swarm.create") == []
