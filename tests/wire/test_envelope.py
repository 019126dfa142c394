"""What is a request, what is not, and what is said about it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.wire import envelope, errors
from tests.fakes import frames


def refused(frame: bytes) -> envelope.Refused:
    message = envelope.decode(frame)
    assert isinstance(message, envelope.Refused)
    return message


def test_a_call():
    request = envelope.decode(b'{"jsonrpc":"2.0","id":7,"method":"daemon.ping","params":{"a":[1]}}')
    assert isinstance(request, envelope.Request)
    assert (request.id, request.method, bytes(request.params)) == (7, "daemon.ping", b'{"a":[1]}')


def test_a_notification_has_no_id_and_null_is_one():
    assert envelope.decode(b'{"jsonrpc":"2.0","method":"x"}').id is msgspec.UNSET
    assert envelope.decode(b'{"jsonrpc":"2.0","method":"x","id":null}').id is None


@pytest.mark.parametrize("id_", [b"1", b"-3", b'"a"', b'""', b"null", b"123456789012345678901234567890"])
def test_ids_come_back_as_they_came(id_):
    request = envelope.decode(b'{"jsonrpc":"2.0","method":"x","id":' + id_ + b"}")
    answer = envelope.encode_result(request.id, {})
    assert answer == b'{"jsonrpc":"2.0","id":' + id_ + b',"result":{}}'


@pytest.mark.parametrize("id_", ["true", "1.0", "1e3", "[1]", "{}", json.dumps("a" * 257)])
def test_other_ids_are_refused(id_):
    error = refused(b'{"jsonrpc":"2.0","method":"x","id":' + id_.encode() + b"}")
    assert error.id is None
    assert isinstance(error.error, errors.InvalidRequest)
    assert "`id` must be a string" in error.error.message


@pytest.mark.parametrize(
    ("frame", "id_", "said"),
    [
        (b'{"method":"x","id":4}', 4, '`jsonrpc` must be "2.0"'),
        (b'{"jsonrpc":"1.0","method":"x","id":"a"}', "a", '`jsonrpc` must be "2.0"'),
        (b'{"jsonrpc":"2.0","id":4}', 4, "`method` is missing"),
        (b'{"jsonrpc":"2.0","id":4,"method":1}', 4, "`method` must be a string"),
        (b"3", None, "A request is a JSON object"),
        (b'"x"', None, "A request is a JSON object"),
        (b"[]", None, "The batch is empty"),
        (b"[" + b",".join([b"1"] * 101) + b"]", None, "The batch has 101 requests; at most 100"),
    ],
)
def test_what_is_wrong_is_said(frame, id_, said):
    message = refused(frame)
    assert message.id == id_
    assert message.error.code == -32600
    assert said in message.error.message
    assert message.error.hint


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b'{"jsonrpc":"2.0","method":"x","id":NaN}',
        b'{"jsonrpc":"2.0","method":"x","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","method":"\xff"}',
        b'{"jsonrpc":"2.0","method":"\\ud800"}',
        b'{"jsonrpc":"2.0","method":"x","id":"\\ud800"}',
        b"[" * 100_000,
        b'{"jsonrpc":"2.0","method":"x","params":' + b"[" * 1_000_000,
        b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"x"}',
        b'{"jsonrpc":"2.0","method":"x"} x',
        b"\x00",
    ],
)
def test_what_is_not_json_is_a_parse_error(frame):
    message = refused(frame)
    assert message.id is None
    assert (message.error.code, type(message.error)) == (-32700, errors.ParseFailed)
    assert message.error.hint


def test_a_batch_keeps_its_order_and_its_faults():
    batch = envelope.decode(
        b'  [{"jsonrpc":"2.0","id":1,"method":"a"}, 3, {"jsonrpc":"2.0","method":"b"}, {"id":5}]'
    )
    assert isinstance(batch, list)
    assert [type(each) for each in batch] == [
        envelope.Request,
        envelope.Refused,
        envelope.Request,
        envelope.Refused,
    ]
    assert [each.id for each in batch] == [1, None, msgspec.UNSET, 5]


def test_every_malformed_frame_is_decoded_to_something():
    for frame in frames.malformed(seed=1, count=3_000):
        message = envelope.decode(frame)
        for each in message if isinstance(message, list) else [message]:
            if isinstance(each, envelope.Refused):
                json.loads(envelope.encode_error(each.id, each.error))
            else:
                assert isinstance(each.method, str)


@given(st.binary(max_size=200))
def test_no_bytes_raise(frame):
    assert envelope.decode(frame) is not None


def test_errors_are_encoded_whatever_they_carry():
    hopeless = errors.NotFound("half \ud800", data=object())
    answer = json.loads(envelope.encode_error(3, hopeless))
    assert answer["id"] == 3
    assert answer["error"]["data"]["kind"] == "NotFound"
    assert answer["error"]["message"] == "half \ud800"


def test_a_client_reads_what_a_daemon_writes():
    answer = envelope.decode_incoming(envelope.encode_result(3, {"a": 1}))
    assert (answer.id, bytes(answer.result)) == (3, b'{"a":1}')
    failure = envelope.decode_incoming(
        envelope.encode_error(None, errors.UnknownSwarm(hint="h", path="swarm"))
    )
    assert failure.id is None
    raised = errors.from_wire(failure.error)
    assert (type(raised), raised.hint, raised.path) == (errors.UnknownSwarm, "h", "swarm")
    with pytest.raises(errors.InvalidRequest):
        envelope.decode_incoming(b"no")


def test_requests_and_notifications_are_written_alike():
    call = envelope.decode(envelope.encode_request("a.b", {"x": 1}, "id"))
    assert (call.id, call.method, bytes(call.params)) == ("id", "a.b", b'{"x":1}')
    assert envelope.decode(envelope.encode_request("a.b", {})).id is msgspec.UNSET
