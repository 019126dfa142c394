"""Frames of protocol 4: what the real gateway sent decodes, whatever else is in it."""

import json
import time
from pathlib import Path

import msgspec
import pytest

from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_protocol import Answer, Event, Waited

GOLDEN = Path(__file__).parents[2] / "schema/golden/openclaw-gateway-2026.9.6/frames.ndjson"
FRAMES = GOLDEN.read_bytes().splitlines()
TOOL = (GOLDEN.parent / "tool.ndjson").read_bytes().splitlines()


def test_every_frame_of_the_real_one_is_read() -> None:
    assert len(FRAMES) > 40
    assert all(isinstance(protocol.decode(frame), Answer | Event) for frame in (*FRAMES, *TOOL))


def test_a_tool_that_begins_is_told_with_its_name() -> None:
    events = [each for each in map(protocol.decode, TOOL) if isinstance(each, Event)]
    told = [msgspec.json.decode(each.payload, type=protocol.RunEvent) for each in events]
    assert {each.run_id for each in told} == {"7k2m9q-t1.1:turn:1"}
    begun = [each.data["name"] for each in told if each.stream == "tool" and each.data["phase"] == "start"]
    assert begun == ["exec"]
    assert next(each.data["phase"] for each in told if each.stream == "lifecycle") == "start"


def _answers(word: str, kind: type, but: str = "\0") -> list:
    named = [frame for frame in FRAMES if word.encode() in frame and but.encode() not in frame]
    found = [protocol.decode(frame) for frame in named]
    return [msgspec.json.decode(each.payload, type=kind) for each in found if isinstance(each, Answer)]


def test_what_dash_needs_of_them_is_there() -> None:
    (hello, *_) = _answers("hello-ok", protocol.Hello)
    assert (hello.protocol, hello.server.version) == (protocol.PROTOCOL, "2026.9.6")
    assert hello.server.boot_id
    statuses = {each.status for each in _answers('"acceptedAt"', protocol.Accepted)}
    assert statuses == {"accepted"}
    assert {each.status for each in _answers('"in_flight"', protocol.Accepted)} == {"in_flight"}
    sessions = [each.session for each in _answers('"visibility"', protocol.Described)]
    assert {each.status for each in sessions} >= {"done", "failed", "running"}
    assert "7k2m9q-t2.1:turn:1" in {each.last_run_id for each in sessions}


def test_how_runs_ended() -> None:
    waited = _answers('"endedAt"', Waited, but='"visibility"')
    ended = [each for each in waited if each.over]
    assert {"fine", "tool said: /w/ws"} <= {each.text for each in ended}
    faults = {each.fault for each in ended}
    assert "it was aborted (rpc)" in faults
    assert any(fault.startswith("LLM request failed") for fault in faults)


@pytest.mark.parametrize(
    ("payload", "over", "fault"),
    [
        ({"status": "timeout"}, False, "it ran out of time"),
        ({"status": "timeout", "endedAt": 1}, True, "it ran out of time"),
        ({"status": "ok", "endedAt": 1}, True, ""),
        ({"status": "error"}, True, "it failed"),
    ],
)
def test_a_wait_that_is_over_is_not_a_run_that_is(payload, over, fault) -> None:
    waited = msgspec.json.decode(msgspec.json.encode(payload), type=Waited)
    assert (waited.over, waited.fault) == (over, fault)


@pytest.mark.parametrize("frame", [b"", b"[]", b"{}", b'{"type":"new"}', b"\xff", b"[" * 100_000])
def test_what_is_not_known_is_passed_over(frame) -> None:
    assert protocol.decode(frame) is None


def test_the_log_says_how_a_call_failed() -> None:
    line = (
        b"2026-11-29T13:14:32 [agent/embedded] embedded run agent end: runId=7k2m9q-t2.1:turn:1 isError=true"
        b" model=fake-1 error=LLM request failed. rawError=400 dash: the supervisor"
    )
    assert protocol.raw_error(line) == ("7k2m9q-t2.1:turn:1", "400 dash: the supervisor")
    assert protocol.raw_error(b"rawError=400") is None


def test_a_line_that_begins_what_it_says_everywhere_takes_no_longer_than_its_length() -> None:
    def took_s(count: int) -> float:
        line = b"embedded run agent end: runId=x " * count
        began = time.process_time()
        assert protocol.raw_error(line) is None
        return time.process_time() - began

    small = max(took_s(2_000), 1e-4)
    assert took_s(64_000) < 200 * small  # 32 times the length; a thousand times, where it begins anew at each


def test_a_request_and_who_connects() -> None:
    request = json.loads(protocol.request("7", "agent.wait", {"runId": "r"}))
    assert request == {"type": "req", "id": "7", "method": "agent.wait", "params": {"runId": "r"}}
    told = protocol.connect("secret", "0.1.0")
    assert (told["minProtocol"], told["maxProtocol"]) == (4, 4)
    assert told["auth"] == {"token": "secret"}
    assert told["caps"] == ["tool-events"]


def test_of_what_a_gateway_calls_itself_no_more_is_kept_than_that() -> None:
    hello = protocol.Hello(4, protocol.Server("v" * 10_000, "b" * 10_000)).cut()
    assert (len(hello.server.version), len(hello.server.boot_id)) == (100, 100)
    assert protocol.Hello(4, protocol.Server("1", "b")).cut().server == protocol.Server("1", "b")


def test_a_frame_with_half_a_character_is_a_frame() -> None:
    found = protocol.decode('{"type":"res","id":"1","ok":true,"payload":{"status":"ok","text":"\\ud83d"}}')
    assert isinstance(found, protocol.Answer)
    assert (found.id, json.loads(bytes(found.payload))["text"]) == ("1", "\ufffd")
