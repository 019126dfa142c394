"""The stdio transport: lines cut anywhere, wrong lines, the end of the input, and real processes."""

import itertools
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import mcp
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from dashd.wire.methods import event
from mcp_server import server, stdio
from tests.fakes import daemon as fake

TOP = Path(__file__).resolve().parents[2]
INFO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
HELLO = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INFO}


def lines_of(chunks, bytes_max):
    lines = stdio.Lines(bytes_max)
    return [found for chunk in chunks for found in lines.feed(chunk)]


@given(
    st.binary(max_size=60).map(lambda text: text.replace(b"q", b"\n") + b"\n"), st.lists(st.integers(0, 60))
)
def test_lines_are_the_same_however_they_are_cut(text, cuts):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[start:end] for start, end in itertools.pairwise(places)]
    assert lines_of(chunks, 1_000) == [(line, False) for line in text.split(b"\n")[:-1]]


def test_a_line_that_is_too_long_keeps_its_edges_and_the_next_is_whole():
    long = b'{"id":1,' + b"x" * 50_000 + b',"end":2}'
    chunks = [(long + b"\nnext\n")[start : start + 997] for start in range(0, len(long) + 6, 997)]
    (first, cut), second = lines_of(chunks, 2_000)
    assert cut
    assert len(first) <= 2_000
    assert first.startswith(b'{"id":1,x')
    assert first.endswith(b'x,"end":2}')
    assert second == (b"next", False)


class Peer:
    """The client's side of a transport in memory."""

    def __init__(self, stream):
        self._stream = stream
        self._lines = stdio.Lines()
        self._found = []

    async def send(self, message):
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self._stream.send_all(raw + b"\n")

    async def receive(self):
        while not self._found:
            chunk = await self._stream.receive_some(65_536)
            assert chunk, "the server closed its output"
            self._found += [json.loads(line) for line, _ in self._lines.feed(bytes(chunk))]
        return self._found.pop(0)

    async def end(self):
        await self._stream.send_eof()


@pytest.fixture
async def peer(tmp_path, nursery):
    ours, theirs = trio.testing.memory_stream_pair()
    served = server.build(str(tmp_path / "none.sock"), "/")
    nursery.start_soon(stdio.serve_streams, served, theirs, theirs)
    return Peer(ours)


@pytest.mark.parametrize(
    ("line", "code", "answered"),
    [
        (b"garbage", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc":"2.0","id":7,"method":5}', -32600, 7),
        (b'{"method":5,"jsonrpc":"2.0","id":"x"}', -32600, "x"),
        (b'{"jsonrpc":"2.0","method":"m","params":{"id":3}}x', -32700, None),
    ],
)
async def test_a_line_that_is_no_message_is_answered_and_the_next_one_works(peer, line, code, answered):
    with trio.fail_after(5):
        await peer.send(line)
        answer = await peer.receive()
        assert (answer["error"]["code"], answer["id"]) == (code, answered)
        await peer.send(b"  ")
        await peer.send(HELLO)
        assert (await peer.receive())["result"]["serverInfo"]["name"] == "dash"


@pytest.mark.parametrize(
    "order", [("jsonrpc", "id", "method", "params"), ("method", "params", "jsonrpc", "id")]
)
async def test_a_request_that_is_too_long_is_refused_by_its_id(peer, order):
    """Where a client writes the id first, and where it writes it last; else it would wait for ever."""
    message = {
        "jsonrpc": "2.0",
        "id": 41,
        "method": "tools/call",
        "params": {"x": "y" * stdio.LINE_BYTES_MAX},
    }
    with trio.fail_after(5):
        await peer.send({name: message[name] for name in order})
        answer = await peer.receive()
    assert answer["id"] == 41
    assert "4,194,304 bytes" in answer["error"]["message"]


async def test_what_was_asked_before_the_end_of_the_input_is_answered(peer):
    with trio.fail_after(5):
        await peer.send(HELLO)
        await peer.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        await peer.end()
        assert {(await peer.receive())["id"] for _ in range(2)} == {0, 1}


async def test_the_end_of_the_input_ends_the_server_whatever_is_open(tmp_path, autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    client = Peer(ours)
    async with fake.open_daemon(str(tmp_path / "d.sock")) as dashd, trio.open_nursery() as nursery:
        served = server.build(dashd.path, "/")
        nursery.start_soon(stdio.serve_streams, served, theirs, theirs)
        await client.send(HELLO)
        await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        wait = {"name": "event_wait", "arguments": {"swarm": fake.ID}}
        await client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wait})
        await dashd.wait_asked("event.wait")
        await client.end()
        ended = trio.current_time()
    assert trio.current_time() - ended <= stdio.GRACE_S + 0.01


async def test_a_client_that_reads_no_more_ends_the_server(tmp_path):
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stdio.serve_streams, server.build(str(tmp_path / "s"), "/"), theirs, theirs)
            await Peer(ours).send(HELLO)
            await trio.testing.wait_all_tasks_blocked()
            await ours.aclose()


def start(path):
    return [sys.executable, "-m", "mcp_server", "--socket", path]


@pytest.mark.slow
@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_the_story_over_real_pipes(tmp_path, era):
    with trio.fail_after(30):
        async with fake.open_daemon(str(tmp_path / "dashd.sock")) as dashd:
            dashd.on(
                "event.wait", event.Events(events=[fake.an_event(9, "swarm.completed")], cursor=9, more=False)
            )
            command, *args = start(dashd.path)
            parameters = mcp.StdioServerParameters(
                command=command, args=args, cwd=str(tmp_path), env={"PYTHONPATH": str(TOP)}
            )
            async with mcp.Client(parameters, mode=era) as client:
                made = await client.call_tool("swarm_create", {"task": "t"})
                waited = await client.call_tool("event_wait", {"swarm": fake.ID, "since": 5})
                told = await client.call_tool("swarm_report", {"swarm": fake.ID})
    assert made.structured_content["id"] == fake.ID
    assert waited.structured_content["next"] == 9
    assert told.structured_content["final"] is True
    assert dashd.asked("swarm.create")[0]["cwd"] == str(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_at_once_while_a_call_waits(tmp_path, number):
    wait = {"name": "event_wait", "arguments": {"swarm": fake.ID}}
    requests = [HELLO, {"jsonrpc": "2.0", "method": "notifications/initialized"}]
    requests += [{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wait}]
    with trio.fail_after(30):
        async with fake.open_daemon(str(tmp_path / "dashd.sock")) as dashd, trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                start(dashd.path), cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            try:
                await process.stdin.send_all(b"".join(json.dumps(each).encode() + b"\n" for each in requests))
                await dashd.wait_asked("event.wait")
                process.send_signal(number)
                with trio.fail_after(5):
                    await process.wait()
            finally:
                process.kill()
                await process.stdin.aclose()
            nursery.cancel_scope.cancel()
    assert process.returncode == 128 + number


@pytest.mark.slow
def test_prints_and_children_cannot_reach_the_protocol_and_the_files_are_given_back(tmp_path):
    program = """
        import os, subprocess, trio
        from mcp.server.lowlevel import Server
        from mcp_server import stdio

        async def noise(*_):
            print("printed", flush=True)
            subprocess.run(["sh", "-c", "cat; echo from a child"])

        async def serve(server, source, sink):
            await noise()
            await sink.send_all(b"wire")
            assert not os.get_blocking(source.fileno())

        stdio.serve_streams = serve
        trio.run(stdio.serve, None)
        print(" and after", os.get_blocking(0), os.get_blocking(1), os.read(0, 9))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=TOP,
        input=b"input",
        capture_output=True,
        timeout=30,
    )
    assert ended.stdout == b"wire and after True True b'input'\n", ended.stderr
    assert ended.stderr == b"printed\nfrom a child\n"
