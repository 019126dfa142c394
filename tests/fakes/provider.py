"""A scripted provider on loopback, in all three formats, as honest or as broken as told.

It bills what its script says, never more than the request allows (its bytes, the most a provider adds to
them, and its output limit), and keeps its own bill, which is what the ledger is held against.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from dashd.domain import prices
from dashd.domain.prices import Price, Usage

PRICE = Price(
    input=1_000, output=4_000, cache_read=100, cache_write=1_250, per_request=0, date="today", source="config"
)
MODEL = "m-1"
_MODELS = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"data":[]}'


@dataclass(frozen=True)
class Act:
    """What one call gets. Shares are of what the request allows at most."""

    status: int = 200
    input_share: float = 0.3
    output_share: float = 0.1
    usage: str = "once"
    """once, twice, or none."""
    cut_at: int | None = None
    """The connection breaks after so many bytes of the body."""
    stall_at: int | None = None
    """Nothing more comes after so many bytes of the body; 0 is not even a head."""
    delay_s: float = 0.0
    retry_after: str | None = None
    error: dict[str, Any] = field(default_factory=lambda: {"type": "server_error", "message": "no"})
    bills: bool | None = None
    """Whether it is billed; by default what a status of 200 is."""
    dearest: bool = False
    """All of the input is billed as written to a cache, and with it the most that a provider adds to it."""
    text: str = "Hello there, this is what you asked for."
    pace_s: float = 0.0
    """Between two pieces of a stream."""
    tool: tuple[str, dict[str, Any]] | None = None
    """The tool that is called, and with what; not in the format of OpenAI's responses."""


Script = Callable[[int], Act]
Body = dict[str, Any]


async def _nothing() -> None:
    return


def _not_kept(_body: Body, _nusd: int) -> None:
    return


class Provider:
    """The scripted provider; `script` is asked with the number of each call, from 0, whose body is the last
    of `bodies`.
    """

    def __init__(self, script: Script = lambda _: Act(), price: Price = PRICE) -> None:
        self.script = script
        self.price = price
        self.bill_nusd = 0
        self.billed: list[Usage] = []
        self.calls = 0
        self.heads: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.port = 0
        self.on_call: Callable[[], Awaitable[None]] = _nothing
        self.on_bill: Callable[[Body, int], None] = _not_kept
        """Told of each call that is billed, before a byte of its answer leaves."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, stream: trio.SocketStream) -> None:
        data = bytearray()
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = await stream.receive_some(65_536)
                    if not more:
                        return
                    data += more
                head, _, rest = bytes(data).partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
                length = int(headers.get("content-length", "0"))
                while len(rest) < length:
                    rest += await stream.receive_some(65_536)
                data, body = bytearray(rest[length:]), rest[:length]
                if lines[0].startswith("GET "):
                    await stream.send_all(_MODELS)
                elif not await self._answer(stream, lines[0].split()[1], headers, body):
                    return
        except trio.BrokenResourceError:
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(
        self, stream: trio.SocketStream, path: str, headers: dict[str, str], raw: bytes
    ) -> bool:
        body = json.loads(raw)
        self.heads.append(headers)
        self.bodies.append(body)
        act = self.script(self.calls)
        self.calls += 1
        await self.on_call()
        used = self._used(act, body, raw)
        if act.bills if act.bills is not None else act.status == 200:
            cost = prices.cost(used, self.price)
            self.bill_nusd += cost
            self.billed.append(used)
            self.on_bill(body, cost)
        await trio.sleep(act.delay_s)
        streamed = bool(body.get("stream"))
        if act.stall_at == 0:
            return await self._stall(stream)
        if act.status != 200:
            content, kind = json.dumps({"error": act.error}).encode(), "application/json"
        elif path.endswith("/messages"):
            content, kind = _anthropic(act, used, streamed, self.calls)
        elif path.endswith("/responses"):
            content, kind = _responses(act, used, streamed)
        else:
            content, kind = _chat(act, used, streamed, self.calls)
        more = f"retry-after: {act.retry_after}\r\n" if act.retry_after else ""
        head = f"HTTP/1.1 {act.status} X\r\ncontent-type: {kind}\r\n{more}"
        if not streamed or act.status != 200:
            head += f"content-length: {len(content)}\r\n\r\n"
            return await self._send(stream, act, head.encode(), [content], b"")
        head += "transfer-encoding: chunked\r\n\r\n"
        pieces = [content[at : at + 60] for at in range(0, len(content), 60)]
        return await self._send(stream, act, head.encode(), pieces, b"0\r\n\r\n")

    async def _send(
        self, stream: trio.SocketStream, act: Act, head: bytes, pieces: list[bytes], end: bytes
    ) -> bool:
        await stream.send_all(head)
        sent = 0
        for piece in pieces:
            for limit, breaks in ((act.cut_at, True), (act.stall_at, False)):
                if limit is not None and sent + len(piece) > limit:
                    part = piece[: max(0, limit - sent)]
                    await stream.send_all(f"{len(piece):x}\r\n".encode() + part if end else part)
                    return False if breaks else await self._stall(stream)
            await stream.send_all(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if end else piece)
            sent += len(piece)
            if act.pace_s:
                await trio.sleep(act.pace_s)
        await stream.send_all(end)
        return True

    async def _stall(self, stream: trio.SocketStream) -> bool:
        """Says nothing until the other side has gone."""
        while await stream.receive_some(65_536):
            pass
        return False

    def _used(self, act: Act, body: dict[str, Any], raw: bytes) -> Usage:
        names = ("max_completion_tokens", "max_tokens", "max_output_tokens")
        output_max = next(body[name] for name in names if name in body)
        assert isinstance(output_max, int)
        output = max(1, int(output_max * act.output_share))
        if act.dearest:
            return Usage(0, 0, max(1, int((len(raw) + prices.OVERHEAD_TOKENS) * act.input_share)), output)
        return Usage(max(1, int(len(raw) * act.input_share)), 0, 0, output)


def _openai_usage(used: Usage, asked: str, written: str) -> dict[str, Any]:
    """As both of OpenAI's formats say it, each in its own words."""
    given = used.input + used.cache_write
    details = {f"{asked}_details": {"cached_tokens": 0, "cache_write_tokens": used.cache_write}}
    return {asked: given, written: used.output, "total_tokens": given + used.output, **details}


def _chat(act: Act, used: Usage, streamed: bool, number: int) -> tuple[bytes, str]:
    usage = _openai_usage(used, "prompt_tokens", "completion_tokens")
    said = {"usage": usage} if act.usage != "none" else {}
    if not streamed:
        message = {"role": "assistant", "content": act.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"id": "c", "choices": [choice], **said}).encode(), "application/json"
    deltas = [{"role": "assistant", "content": ""}, *({"content": word + " "} for word in act.text.split())]
    events: list[Any] = [{"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    if act.tool is not None:
        name, arguments = act.tool
        call = {"id": f"call_{number}", "type": "function"}
        called = call | {"function": {"name": name, "arguments": json.dumps(arguments)}}
        delta = {"tool_calls": [{"index": 0, **called}]}
        events.append({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    why = "tool_calls" if act.tool else "stop"
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": why}]})
    events += [{"choices": [], **said}] * {"once": 1, "twice": 2, "none": 0}[act.usage]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
    return "".join(lines).encode(), "text/event-stream"


def _responses(act: Act, used: Usage, streamed: bool) -> tuple[bytes, str]:
    said = {"usage": _openai_usage(used, "input_tokens", "output_tokens")} if act.usage != "none" else {}
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": act.text}]}
    begun = {"id": "r", "object": "response", "model": MODEL, "status": "in_progress", "output": []}
    ended = {**begun, "status": "completed", "output": [message], **said}
    if not streamed:
        return json.dumps(ended).encode(), "application/json"
    events: list[Any] = [
        {"type": "response.created", "response": begun},
        *({"type": "response.output_text.delta", "delta": word + " "} for word in act.text.split()),
    ]
    events += [{"type": "response.completed", "response": ended}] * (2 if act.usage == "twice" else 1)
    return _named(events), "text/event-stream"


def _named(events: list[Any]) -> bytes:
    """A stream whose events have names."""
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()


def _anthropic(act: Act, used: Usage, streamed: bool, number: int) -> tuple[bytes, str]:
    usage = {"input_tokens": used.input, "output_tokens": used.output}
    if used.cache_write:
        usage["cache_creation_input_tokens"] = used.cache_write
    said = {"usage": usage} if act.usage != "none" else {}
    message = {"id": f"m{number}", "type": "message", "role": "assistant", "model": MODEL}
    if not streamed:
        content = [{"type": "text", "text": act.text}]
        return json.dumps({**message, "content": content, **said}).encode(), "application/json"
    begun = {"usage": {**usage, "output_tokens": 1}} if act.usage != "none" else {}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], **begun}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": act.text}},
        {"type": "content_block_stop", "index": 0},
    ]
    if act.tool is not None:
        name, arguments = act.tool
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
        given = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        events += [
            {"type": "content_block_start", "index": 1, "content_block": block},
            {"type": "content_block_delta", "index": 1, "delta": given},
            {"type": "content_block_stop", "index": 1},
        ]
    ended = {"usage": {"output_tokens": used.output}} if act.usage != "none" else {}
    why = "tool_use" if act.tool else "end_turn"
    delta = {"type": "message_delta", "delta": {"stop_reason": why}, **ended}
    events += [delta] * (2 if act.usage == "twice" else 1)
    events.append({"type": "message_stop"})
    return _named(events), "text/event-stream"


@asynccontextmanager
async def open_provider(provider: Provider) -> AsyncIterator[Provider]:
    """The provider, listening; everything of it ends with the block."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    provider.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, provider.serve, listeners)
        yield provider
        nursery.cancel_scope.cancel()
