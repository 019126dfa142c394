"""What providers answer, byte for byte, in three formats: streams and whole bodies with the usage they
bill.
"""

import json
from dataclasses import dataclass

from dashd.domain import prices
from dashd.domain.prices import Price, Usage

PRICE = Price(
    input=3_000, output=15_000, cache_read=300, cache_write=3_750, per_request=0, date="", source=""
)
OUTPUT_TOKENS = 512
INPUT_TOKENS_HELD = 10_000
HELD = INPUT_TOKENS_HELD * PRICE.dearest_input + OUTPUT_TOKENS * PRICE.output


@dataclass(frozen=True)
class Transcript:
    """One answer and what the provider bills for it."""

    name: str
    format: str
    answer: bytes
    used: Usage
    final_bytes: int
    """From this many bytes on the meter can know the usage."""

    @property
    def bill(self) -> int:
        return prices.cost(self.used, PRICE)


def sse(*events: object, named: bool = False, newline: str = "\n") -> bytes:
    lines = []
    for event in events:
        if named and isinstance(event, dict):
            lines.append(f"event: {event['type']}")
        lines += [f"data: {event if isinstance(event, str) else json.dumps(event)}", ""]
    return "".join(line + newline for line in lines).encode()


def chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> dict[str, object]:
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
    return base | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | more


CHAT_USAGE = {
    "prompt_tokens": 1_200,
    "completion_tokens": 40,
    "total_tokens": 1_240,
    "prompt_tokens_details": {"cached_tokens": 1_000},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
CHAT_USED = Usage(input=200, cache_read=1_000, cache_write=0, output=40)
CHAT_EVENTS = (
    chunk({"role": "assistant", "content": ""}, usage=None),
    chunk({"content": "Hel"}, usage=None),
    chunk({"content": 'lo "usage" é\u2028'}, usage=None),
    chunk({"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "bash", "arguments": "{}"}}]}),
    chunk({}, "tool_calls", usage=None),
)
CHAT_LAST = chunk({}) | {"choices": [], "usage": CHAT_USAGE}
CHAT_WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": CHAT_USAGE,
}

RESPONSES_USAGE = {
    "input_tokens": 1_200,
    "input_tokens_details": {"cached_tokens": 1_000},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1_240,
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
    "usage": RESPONSES_USAGE,
}
RESPONSES_EVENTS = (
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "usage": None}},
    {"type": "response.output_item.added", "item": {"type": "message"}},
    {"type": "response.output_text.delta", "delta": "Hel"},
    {"type": "response.output_text.delta", "delta": "lo"},
    {"type": "response.output_text.done", "text": "Hello"},
)
RESPONSES_LAST = {"type": "response.completed", "response": RESPONSE}

ANTHROPIC_START_USAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 1_000,
    "output_tokens": 1,
}
ANTHROPIC_USED = Usage(input=200, cache_read=1_000, cache_write=300, output=40)
ANTHROPIC_START = {
    "type": "message_start",
    "message": {"id": "msg_1", "role": "assistant", "content": [], "usage": ANTHROPIC_START_USAGE},
}
ANTHROPIC_EVENTS = (
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
)
ANTHROPIC_DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 40},
}
ANTHROPIC_WHOLE = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": ANTHROPIC_START_USAGE | {"output_tokens": 40},
}


def _stream(name: str, form: str, used: Usage, before: bytes, last: bytes, after: bytes = b"") -> Transcript:
    return Transcript(name, form, before + last + after, used, len(before + last))


def _whole(name: str, form: str, used: Usage, answer: object) -> Transcript:
    raw = json.dumps(answer).encode()
    return Transcript(name, form, raw, used, len(raw))


def _chat_streams() -> list[Transcript]:
    gemini = {"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 120}
    groq = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57}
    growing = [
        chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": n}) for n in range(1, 5)
    ]
    router = chunk({"role": "assistant", "content": ""}, usage=CHAT_USAGE)
    done, form = sse("[DONE]"), "openai-chat"
    return [
        _stream("chat", form, CHAT_USED, sse(*CHAT_EVENTS), sse(CHAT_LAST), done),
        _stream(
            "chat-crlf",
            form,
            CHAT_USED,
            b": PROCESSING\r\n\r\n" + sse(*CHAT_EVENTS, newline="\r\n"),
            sse(CHAT_LAST, newline="\r\n"),
            done,
        ),
        _stream("chat-cr", form, CHAT_USED, sse(*CHAT_EVENTS, newline="\r"), sse(CHAT_LAST, newline="\r")),
        _stream("chat-twice", form, CHAT_USED, sse(*CHAT_EVENTS), sse(CHAT_LAST), sse(CHAT_LAST, "[DONE]")),
        _stream("chat-router", form, CHAT_USED, sse(*CHAT_EVENTS), sse(router), done),
        _stream(
            "chat-thoughts-outside-completion",
            form,
            Usage(100, 0, 0, 20),
            sse(chunk({"content": "a"})),
            sse(chunk({}, "stop", usage=gemini)),
            done,
        ),
        _stream(
            "chat-usage-at-finish",
            form,
            Usage(50, 0, 0, 7),
            sse(chunk({"content": "a"})),
            sse(chunk({}, "stop", usage=groq)),
            done,
        ),
        _stream("chat-totals-in-each", form, Usage(9, 0, 0, 4), sse(*growing), done),
    ]


def _anthropic_streams() -> list[Transcript]:
    before = sse(ANTHROPIC_START, *ANTHROPIC_EVENTS, named=True)
    stop = sse({"type": "message_stop"}, named=True)
    placeholder = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    late = ANTHROPIC_DELTA | {"usage": ANTHROPIC_START_USAGE | {"output_tokens": 40}}
    form = "anthropic"
    return [
        _stream("anthropic", form, ANTHROPIC_USED, before, sse(ANTHROPIC_DELTA, named=True), stop),
        _stream("anthropic-repeats-input", form, ANTHROPIC_USED, before, sse(late, named=True), stop),
        _stream(
            "anthropic-input-at-end",
            form,
            ANTHROPIC_USED,
            sse(placeholder, *ANTHROPIC_EVENTS, named=True, newline="\r\n"),
            sse(late, named=True, newline="\r\n"),
            stop,
        ),
    ]


STREAMS = [
    *_chat_streams(),
    *_anthropic_streams(),
    _stream(
        "responses", "openai-responses", CHAT_USED, sse(*RESPONSES_EVENTS, named=True), sse(RESPONSES_LAST)
    ),
    _stream(
        "responses-incomplete",
        "openai-responses",
        CHAT_USED,
        sse(*RESPONSES_EVENTS),
        sse({"type": "response.incomplete", "response": RESPONSE | {"status": "incomplete"}}),
    ),
]
BODIES = [
    _whole("chat-body", "openai-chat", CHAT_USED, CHAT_WHOLE),
    _whole("responses-body", "openai-responses", CHAT_USED, RESPONSE),
    _whole("anthropic-body", "anthropic", ANTHROPIC_USED, ANTHROPIC_WHOLE),
]
ALL = STREAMS + BODIES
