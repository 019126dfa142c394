"""Every frame that a released version sent or took is understood for ever."""

from pathlib import Path

import msgspec
import pytest

from dashd.wire import envelope, errors, events, methods

GOLDEN = Path(__file__).parents[2] / "schema" / "golden"


class Pushed(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of `$/events`."""

    subscription: int
    events: list[events.Event]


def lines(name: str) -> list[bytes]:
    return [
        line for path in sorted(GOLDEN.glob(f"*/{name}.ndjson")) for line in path.read_bytes().splitlines()
    ]


@pytest.mark.parametrize("frame", lines("requests"))
def test_requests_are_still_taken(frame):
    message = envelope.decode(frame)
    for request in message if isinstance(message, list) else [message]:
        assert isinstance(request, envelope.Request)
        if request.method in methods.METHODS and bytes(request.params) != b"[]":
            msgspec.json.decode(request.params, type=methods.METHODS[request.method].params)
        else:
            assert request.method in ("$/cancelRequest", "daemon.ping")


@pytest.mark.parametrize("frame", lines("answers"))
def test_answers_are_still_read(frame):
    # The id of a recorded answer is the method it answers.
    answer = envelope.decode_incoming(frame)
    msgspec.json.decode(answer.result, type=methods.METHODS[answer.id].result)


@pytest.mark.parametrize("frame", lines("errors"))
def test_errors_are_still_known(frame):
    answer = envelope.decode_incoming(frame)
    error = errors.from_wire(answer.error)
    assert type(error).__name__ == answer.id
    assert error.code == answer.error["code"]


def test_events_are_still_read():
    frames = lines("notifications")
    assert frames
    for frame in frames:
        pushed = envelope.decode_incoming(frame)
        assert pushed.method == "$/events"
        for event in msgspec.json.decode(pushed.params, type=Pushed).events:
            assert event.kind in events.KINDS


def test_every_method_was_recorded_both_ways():
    assert {envelope.decode_incoming(frame).id for frame in lines("answers")} >= methods.METHODS.keys()
    assert {
        envelope.decode(frame).method for frame in lines("requests") if frame[:1] == b"{"
    } >= methods.METHODS.keys()
