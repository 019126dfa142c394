"""One handler for each method, one answer for each call, whatever the handler does."""

import json
import logging

import msgspec
import pytest
import trio

from dashd.rpc import dispatch, door
from dashd.service.core import Caller
from dashd.wire import envelope, framing, methods

from .conftest import HANDLERS, METHODS, Log, call


class Asker:
    caller = Caller("operator", 1)


def start(table, message):
    answers = []
    request = envelope.decode(json.dumps(message).encode())
    return table.start(Asker(), request, answers.append), answers


def error_of(answers):
    (answer,) = answers
    return json.loads(answer)["error"]


def test_every_method_has_exactly_one_handler():
    with pytest.raises(AssertionError, match="subtract"):
        dispatch.Dispatch({}, None, peer_handlers={}, table={"subtract": METHODS["subtract"]})
    with pytest.raises(AssertionError, match="more"):
        dispatch.Dispatch({**HANDLERS, "more": HANDLERS["wait"]}, None, peer_handlers={}, table=METHODS)
    with pytest.raises(AssertionError, match="two handlers"):
        dispatch.Dispatch(HANDLERS, None, peer_handlers={"wait": HANDLERS["wait"]}, table=METHODS)


def test_the_real_table_is_complete():
    from dashd import service

    table = dispatch.Dispatch(service.HANDLERS, None)
    assert table.methods == sorted(methods.METHODS)
    assert not door.HANDLERS.keys() & service.HANDLERS.keys()


def test_a_plain_function_is_answered_at_once(table, log):
    left, answers = start(table, call("subtract", {"minuend": 42, "subtrahend": 23}))
    assert left is None
    assert answers == [b'{"jsonrpc":"2.0","id":1,"result":{"value":19}}']


@pytest.mark.parametrize("params", [{}, [], msgspec.UNSET])
def test_parameters_may_be_left_out(table, params):
    _, answers = start(table, call("subtract", params))
    assert error_of(answers)["message"] == "`minuend` is missing."
    left, answers = start(table, call("strange", params))
    assert (left, len(answers)) == (None, 1)


@pytest.mark.parametrize(
    ("message", "kind", "path", "hint"),
    [
        (call("substract"), "UnknownMethod", None, "Did you mean `subtract`?"),
        (call("x" * 500), "UnknownMethod", None, "`rpc.discover` lists all methods."),
        (call(""), "UnknownMethod", None, None),
        (call("$/unknown"), "UnknownMethod", None, None),
        (call("subtract", {"minuend": "1"}), "InvalidParams", "minuend", "It is an integer."),
        (call("subtract", {"minuend": 1, "x": 1}), "InvalidParams", "x", None),
        (call("subtract", [1, 2]), "InvalidParams", None, 'Parameters go by name: {"name": value}.'),
        (call("fail", {"how": "dash"}), "UnknownSwarm", "swarm", "look"),
        (
            call("fail", {"how": "bug"}),
            "InternalError",
            None,
            "Look for `fail` in dashd's log and report it.",
        ),
        (call("strange"), "InternalError", None, None),
    ],
)
def test_what_fails_is_answered(table, message, kind, path, hint):
    left, answers = start(table, message)
    assert left is None
    error = error_of(answers)
    assert error["data"]["kind"] == kind
    assert error["data"].get("path") == path
    assert hint is None or error["data"]["hint"] == hint
    assert len(error["message"]) < 200


def test_a_fault_of_ours_is_logged_with_method_and_id(table, caplog):
    with caplog.at_level(logging.ERROR, "dashd.rpc.dispatch"):
        start(table, call("fail", {"how": "bug"}, id="q7"))
    (record,) = caplog.records
    assert record.getMessage() == "fail (id 'q7') failed"
    assert record.exc_info[0] is ZeroDivisionError


def test_an_answer_larger_than_a_frame_is_refused(table):
    _, answers = start(table, call("blob", {"size": framing.FRAME_BYTES_MAX}))
    error = error_of(answers)
    assert error["data"]["kind"] == "FrameTooLarge"
    assert "smaller `limit`" in error["data"]["hint"]


def test_a_notification_is_executed_and_not_answered(table, log):
    left, answers = start(table, call("subtract", {"minuend": 1}, id=msgspec.UNSET))
    assert (left, answers, log.calls) == (None, [], ["1-0"])
    for failing in (call("fail", {"how": "bug"}, id=msgspec.UNSET), call("no", id=msgspec.UNSET)):
        assert start(table, failing) == (None, [])


async def test_a_notification_that_changes_something_is_executed_too(table, log):
    left, answers = start(table, call("change", {"seconds": 0, "name": "n"}, id=msgspec.UNSET))
    await left.run()
    assert (answers, log.calls) == ([], ["wait n", "waited n"])


async def test_a_coroutine_function_is_left_to_a_task(table, log):
    left, answers = start(table, call("wait", {"seconds": 0, "name": "n"}))
    assert answers == []
    await left.run()
    assert answers == [b'{"jsonrpc":"2.0","id":1,"result":{"value":"n"}}']


@pytest.mark.parametrize(
    ("how", "kind"), [("dash", "UnknownSwarm"), ("bug", "InternalError"), ("group", "SwarmEnded")]
)
async def test_what_fails_later_is_answered_too(table, how, kind):
    left, answers = start(table, call("fail_later", {"how": how}))
    await left.run()
    assert error_of(answers)["data"]["kind"] == kind


async def test_cancelled_before_it_runs_it_does_nothing(table, log):
    left, answers = start(table, call("wait"))
    left.cancel("test")
    await left.run()
    assert error_of(answers)["code"] == -32800
    assert log.calls == []


async def test_cancelled_while_it_runs(table, log):
    left, answers = start(table, call("wait"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run)
        await trio.testing.wait_all_tasks_blocked()
        left.cancel("test")
    assert error_of(answers)["data"]["kind"] == "Cancelled"
    assert log.calls == ["wait "]


async def test_a_result_that_came_first_is_the_answer(table, log):
    left, answers = start(table, call("wait", {"name": "n"}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run)
        await trio.testing.wait_all_tasks_blocked()
        log.release.set()
        await trio.testing.wait_all_tasks_blocked()
        left.cancel("too late")
    assert json.loads(answers[0])["result"] == {"value": "n"}
    assert len(answers) == 1


async def test_cancelled_from_outside_it_says_that_dashd_is_stopping(table):
    left, answers = start(table, call("wait"))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert error_of(answers)["data"]["kind"] == "ShuttingDown"


@pytest.mark.parametrize("from_outside", [True, False])
async def test_a_handler_that_fails_while_it_is_cancelled_hurts_nobody(table, from_outside, caplog):
    left, answers = start(table, call("fail_later", {"how": "while cancelled"}))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run)
            await trio.testing.wait_all_tasks_blocked()
            if from_outside:
                scope.cancel()
            else:
                left.cancel("test")
    assert error_of(answers)["data"]["kind"] == "InternalError"
    assert scope.cancelled_caught == from_outside
    assert "fail_later (id 1) failed" in caplog.text


def test_the_core_and_the_caller_reach_the_handler():
    seen = []
    core = Log()
    table = dispatch.Dispatch(
        {"subtract": lambda *given: seen.append(given)},
        core,
        peer_handlers={},
        table={"subtract": METHODS["subtract"]},
    )
    start(table, call("subtract", {"minuend": 1}))
    ((given_core, caller, params),) = seen
    assert given_core is core
    assert caller is Asker.caller
    assert params.minuend == 1
