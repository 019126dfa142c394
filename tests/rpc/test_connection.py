"""One peer: the specification's examples, limits, deadlines, cancelling, leaving."""

import json

import msgspec
import pytest
import trio

from dashd.rpc import connection
from dashd.wire import framing

from .conftest import call

BATCH_EXAMPLE = [
    call("subtract", {"minuend": 42, "subtrahend": 23}, id="1"),
    call("subtract", {"minuend": 1}, id=msgspec.UNSET),
    {"foo": "boo"},
    call("foo.get", {"name": "myself"}, id="5"),
    call("subtract", {"minuend": 9}, id="9"),
]


def code(answer):
    return answer["id"], answer["error"]["code"]


async def test_the_examples_of_the_specification(open_line):
    """https://www.jsonrpc.org/specification section 7; positional parameters are by name here."""
    async with open_line() as line:
        ask = line.peer.ask
        assert await ask(call("subtract", {"subtrahend": 23, "minuend": 42}, id=3)) == {
            "jsonrpc": "2.0",
            "result": {"value": 19},
            "id": 3,
        }
        assert code(await ask(call("subtract", [42, 23]))) == (1, -32602)
        assert code(await ask(call("foobar", id="1"))) == ("1", -32601)
        assert code(await ask(b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]\n')) == (
            None,
            -32700,
        )
        assert code(await ask(b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}\n')) == (None, -32600)
        assert code(await ask(b'[{"jsonrpc": "2.0", "method": "sum"}, {"jsonrpc": "2.0", "method"\n')) == (
            None,
            -32700,
        )
        assert code(await ask([])) == (None, -32600)
        assert [code(each) for each in await ask([1])] == [(None, -32600)]
        assert [code(each) for each in await ask([1, 2, 3])] == [(None, -32600)] * 3
        answers = await ask(BATCH_EXAMPLE)
        assert [each["id"] for each in answers] == ["1", None, "5", "9"]
        assert answers[0]["result"] == {"value": 19}
        assert (code(answers[1]), code(answers[2])) == ((None, -32600), ("5", -32601))
        # Neither a notification nor a batch of them is answered: the next answer is the next call's.
        await line.peer.send(
            call("subtract", {"minuend": 1}, id=msgspec.UNSET), call("foobar", id=msgspec.UNSET)
        )
        await line.peer.send([call("subtract", {"minuend": 2}, id=msgspec.UNSET)] * 2)
        assert (await ask(call("subtract", {"minuend": 3}, id="last")))["id"] == "last"


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_frames_may_come_in_any_pieces(open_line, cut):
    stream = b"\n\r\n" + json.dumps(call("subtract", {"minuend": 5})).encode() + b"\n \n" + b'{"a\n'
    async with open_line() as line:
        for start in range(0, len(stream), cut):
            await line.peer.send(stream[start : start + cut])
            await trio.testing.wait_all_tasks_blocked()
        assert (await line.peer.answer())["result"] == {"value": 5}
        assert code(await line.peer.answer()) == (None, -32700)


async def test_pipelined_calls_are_answered_in_order_and_together(open_line):
    async with open_line() as line:
        await line.peer.send(*[call("subtract", {"minuend": n}, id=n) for n in range(500)])
        assert [(await line.peer.answer())["id"] for _ in range(500)] == list(range(500))


async def test_calls_that_wait_are_overtaken(open_line):
    async with open_line() as line:
        await line.peer.send(
            call("wait", {"name": "w"}, id="slow"), call("subtract", {"minuend": 1}, id="fast")
        )
        assert (await line.peer.answer())["id"] == "fast"
        line.core.release.set()
        assert (await line.peer.answer())["id"] == "slow"


async def test_a_batch_is_answered_when_its_last_call_is(open_line):
    async with open_line() as line:
        await line.peer.send(
            [call("wait", id=1), call("subtract", {"minuend": 1}, id=2), call("wait", id=msgspec.UNSET)]
        )
        await line.peer.send(call("subtract", {"minuend": 1}, id=3))
        assert (await line.peer.answer())["id"] == 3
        line.core.release.set()
        assert [each["id"] for each in await line.peer.answer()] == [2, 1]


# Cancelling


async def test_cancel_in_the_same_breath(open_line):
    """The request is registered and the cancel seen before any task of it has run."""
    async with open_line() as line:
        await line.peer.send(
            b"".join(json.dumps(each).encode() + b"\n" for each in (call("wait", id=7), cancel(7)))
        )
        assert code(await line.peer.answer()) == (7, -32800)
        assert line.core.calls == []


def cancel(id_):
    return call("$/cancelRequest", {"id": id_}, id=msgspec.UNSET)


async def test_cancel_reaches_only_its_call(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", id=1), call("wait", id="1"), call("wait", id=2))
        await trio.testing.wait_all_tasks_blocked()
        await line.peer.send(cancel("1"), cancel(3), cancel("x"))
        assert code(await line.peer.answer()) == ("1", -32800)
        line.core.release.set()
        assert {(await line.peer.answer())["id"] for _ in range(2)} == {1, 2}


async def test_a_cancel_that_is_none_is_ignored(open_line):
    async with open_line() as line:
        odd = [
            call("$/cancelRequest", params, id=msgspec.UNSET)
            for params in ({}, {"id": None}, {"id": [1]}, [])
        ]
        await line.peer.send(*odd, call("$/unknown", {"a": 1}, id=msgspec.UNSET))
        assert (await line.peer.ask(call("subtract", {"minuend": 1})))["result"] == {"value": 1}
        assert code(await line.peer.ask(call("$/unknown", id=5))) == (5, -32601)


async def test_cancel_in_a_batch(open_line):
    async with open_line() as line:
        answers = await line.peer.ask([call("wait", id=1), cancel(1), call("subtract", {"minuend": 1}, id=2)])
        assert {each["id"]: "result" in each for each in answers} == {1: False, 2: True}


async def test_an_id_in_flight_is_taken(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", id=1))
        for again in (call("wait", id=1), call("subtract", {"minuend": 1}, id=1)):
            answer = await line.peer.ask(again)
            assert code(answer) == (1, -32600)
            assert "in flight already" in answer["error"]["message"]
        line.core.release.set()
        assert (await line.peer.answer())["result"] == {"value": ""}
        assert (await line.peer.ask(call("subtract", {"minuend": 1}, id=1)))["result"] == {"value": 1}


async def test_null_ids_do_not_get_into_each_others_way(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", id=None), call("wait", id=None), call("wait", id=msgspec.UNSET))
        await trio.testing.wait_all_tasks_blocked()
        assert line.core.started == 3
        line.core.release.set()
        assert [(await line.peer.answer())["id"] for _ in range(2)] == [None, None]


# Limits


async def test_one_call_too_many_is_refused_and_cancels_still_work(open_line):
    async with open_line(connection.PeerLimits(in_flight_max=3)) as line:
        await line.peer.send(*[call("wait", id=n) for n in range(4)])
        answer = await line.peer.answer()
        assert code(answer) == (3, -32009)
        assert answer["error"]["data"]["retryable"] is True
        await line.peer.send(cancel(0))
        assert code(await line.peer.answer()) == (0, -32800)
        await line.peer.send(call("wait", id=4))
        line.core.release.set()
        assert {(await line.peer.answer())["id"] for _ in range(3)} == {1, 2, 4}


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_frame_over_the_limit_is_answered_and_the_peer_cut_off(open_line, end, autojump_clock):
    async with open_line(connection.PeerLimits(frame_bytes_max=1_000)) as line:
        await line.peer.send(call("subtract", {"minuend": 1}), b"x" * 1_001 + end)
        assert (await line.peer.answer())["id"] == 1
        answer = await line.peer.answer()
        assert answer["id"] is None
        assert answer["error"]["data"]["kind"] == "FrameTooLarge"
        assert await line.peer.ended()


async def test_a_frame_of_exactly_the_limit_is_taken(open_line):
    frame = json.dumps(call("subtract", {"minuend": 1})).encode()
    async with open_line(connection.PeerLimits(frame_bytes_max=len(frame))) as line:
        await line.peer.send(frame + b"\n")
        assert (await line.peer.answer())["result"] == {"value": 1}


async def test_the_largest_frames_go_through_both_ways(open_line):
    async with open_line() as line:
        params = json.dumps({"name": "x" * (framing.FRAME_BYTES_MAX - 100), "seconds": 0})
        async with trio.open_nursery() as nursery:
            frame = b'{"jsonrpc":"2.0","id":1,"method":"wait","params":' + params.encode() + b"}\n"
            nursery.start_soon(line.peer.send, frame)
            answer = await line.peer.answer()
        assert len(answer["result"]["value"]) == framing.FRAME_BYTES_MAX - 100


async def test_a_begun_frame_must_end_in_time(open_line, autojump_clock):
    async with open_line(connection.PeerLimits(frame_s=30), patience_s=5_000) as line:
        await trio.sleep(3_600)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def drip():
                for byte in json.dumps(call("subtract", {"minuend": 1})).encode():
                    await line.peer.send(bytes([byte]))
                    await trio.sleep(1)

            nursery.start_soon(drip)
            answer = await line.peer.answer()
            nursery.cancel_scope.cancel()
        assert answer["error"]["data"]["kind"] == "DeadlinePassed"
        assert 29 <= trio.current_time() - begun <= 31
        assert await line.peer.ended()


async def test_each_frame_has_its_own_deadline(open_line, autojump_clock):
    frame = json.dumps(call("subtract", {"minuend": 1})).encode() + b"\n"
    async with open_line(connection.PeerLimits(frame_s=30), patience_s=200) as line:
        await line.peer.send(frame[:10])
        for _ in range(5):
            await trio.sleep(20)
            await line.peer.send(frame[10:] + frame[:10])
            assert (await line.peer.answer())["result"] == {"value": 1}


# Peers that do not read


async def test_a_peer_that_does_not_read_is_not_read_and_then_dropped(open_line, autojump_clock):
    limits = connection.PeerLimits(out_bytes_max=50_000, stall_s=30)
    async with open_line(limits, patience_s=200) as line:
        for n in range(200):
            with trio.move_on_after(1) as blocked:
                await line.peer.send(call("blob", {"size": 20_000}, id=n))
            if blocked.cancelled_caught:
                break
        # What it is owed is bounded by the bound and one answer, however much it has asked for.
        assert 50_000 < line.served._outbox.size < 50_000 + 21_000
        begun = trio.current_time()
        await line.ended.wait()
        assert trio.current_time() - begun <= 31


async def test_reading_goes_on_when_the_peer_reads(open_line):
    limits = connection.PeerLimits(out_bytes_max=50_000)
    async with open_line(limits) as line, trio.open_nursery() as nursery:
        nursery.start_soon(line.peer.send, *[call("blob", {"size": 20_000}, id=n) for n in range(200)])
        await trio.testing.wait_all_tasks_blocked()
        assert [(await line.peer.answer())["id"] for _ in range(200)] == list(range(200))


# Leaving


async def test_a_half_closed_peer_gets_every_answer(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", id=1), call("change", id=2), call("subtract", {"minuend": 1}, id=3))
        line.peer.finish_sending()
        assert (await line.peer.answer())["id"] == 3
        await trio.testing.wait_all_tasks_blocked()
        line.core.release.set()
        answers = [await line.peer.answer() for _ in range(2)]
        assert {each["id"]: "result" in each for each in answers} == {1: True, 2: True}
        assert await line.peer.ended()


async def test_half_a_frame_before_the_end_is_no_frame(open_line):
    async with open_line() as line:
        await line.peer.send(json.dumps(call("subtract", {"minuend": 1})).encode())
        line.peer.finish_sending()
        assert await line.peer.ended()
        assert line.core.calls == []


async def test_when_a_peer_is_gone_its_questions_end_and_its_changes_are_made(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", {"name": "q"}, id=1), call("change", {"name": "c"}, id=2))
        await trio.testing.wait_all_tasks_blocked()
        line.peer.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not line.ended.is_set()
        line.core.release.set()
        await line.ended.wait()
        assert sorted(line.core.calls) == ["wait c", "wait q", "waited c"]


async def test_a_change_sent_by_a_peer_that_left_at_once_is_made(open_line):
    async with open_line() as line:
        await line.peer.send(call("change", {"name": "c", "seconds": 0}))
        line.peer.close()
        await line.ended.wait()
        assert line.core.calls == ["wait c", "waited c"]


async def test_an_idle_connection_ends_when_dashd_stops(open_line):
    async with open_line() as line:
        assert (await line.peer.ask(call("subtract", {"minuend": 1})))["id"] == 1
        line.served.close_soon()
        assert await line.peer.ended()


async def test_what_has_arrived_when_dashd_stops_is_refused(open_line):
    async with open_line() as line:
        await trio.testing.wait_all_tasks_blocked()
        line.peer.send_nowait(call("subtract", {"minuend": 1}))
        line.served.close_soon()
        answer = await line.peer.answer()
        assert answer["error"]["data"]["kind"] == "ShuttingDown"
        assert await line.peer.ended()
        assert line.core.calls == []


async def test_calls_in_flight_are_answered_and_new_ones_refused_when_dashd_stops(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", id=1), call("wait", id=2))
        await trio.testing.wait_all_tasks_blocked()
        line.served.close_soon()
        assert (await line.peer.ask(call("subtract", {"minuend": 1}, id=3)))["error"]["data"][
            "kind"
        ] == "ShuttingDown"
        await line.peer.send(cancel(1))
        assert code(await line.peer.answer()) == (1, -32800)
        line.core.release.set()
        assert (await line.peer.answer())["id"] == 2
        assert await line.peer.ended()


async def test_when_the_grace_is_over_what_is_in_flight_is_told(open_line):
    async with open_line() as line:
        await line.peer.send(call("wait", id=1))
        await trio.testing.wait_all_tasks_blocked()
        line.served.close_soon()
        line.nursery.cancel_scope.cancel()
        # The test's own task is in that nursery too, so it looks without waiting.
        with trio.CancelScope(shield=True):
            answer = await line.peer.answer()
            assert (answer["id"], answer["error"]["data"]["kind"]) == (1, "ShuttingDown")
            assert await line.peer.ended()
            line.ended.set()


async def test_a_failing_handler_does_not_end_the_connection(open_line):
    async with open_line() as line:
        for method in ("fail", "fail_later"):
            answer = await line.peer.ask(call(method, {"how": "bug"}))
            assert answer["error"]["data"]["kind"] == "InternalError"
        assert (await line.peer.ask(call("subtract", {"minuend": 1})))["result"] == {"value": 1}
