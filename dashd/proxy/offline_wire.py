"""How the stand-in reads a call and writes an answer, in each of the three wire formats.

It reads only what it needs: the task (the last brief, or else the first thing the user said), the names of
the tools, what the tools have answered since, and the output limit. What it writes is shaped like the real
thing and names the model `offline`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from dashd.domain.prices import Usage

MODEL = "offline"
ID = "offline-1"
CHUNK_CHARS = 48
_DEFAULT_TOKENS = 4_096
_BRIEF = re.compile(r"^Task: ", re.MULTILINE)
_Spoken = list[tuple[Literal["user", "tool"], str]]
"""What a user said and what tools answered, in order."""


class Turn(msgspec.Struct, frozen=True):
    """Where a conversation stands."""

    task: str
    tools: frozenset[str]
    results: Sequence[str]
    """What tools have answered, oldest first."""
    output_tokens_max: int


class Said(msgspec.Struct, frozen=True):
    """What is answered: words, then perhaps one tool call."""

    text: str
    tool: str = ""
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    call_id: str = ""

    @property
    def arguments_json(self) -> str:
        """The arguments as a tool call carries them."""
        return msgspec.json.encode(self.arguments).decode()

    @property
    def call_json(self) -> str:
        """What of the tool call is counted as output."""
        return f"{self.tool} {self.arguments_json}"


class Wire(Protocol):
    """One format, from the provider's side."""

    def read(self, body: Mapping[str, Any]) -> Turn:
        """Where the conversation of a call stands."""

    def write(self, said: Said, usage: Usage, *, cut: bool, stream: bool) -> list[bytes]:
        """The answer in pieces; `cut` where the output limit ended it."""


class ChatWire:
    """OpenAI chat completions."""

    def read(self, body: Mapping[str, Any]) -> Turn:
        """See Wire."""
        messages = body["messages"]
        spoken: _Spoken = [
            (each["role"], _text(each.get("content")))
            for each in messages
            if each.get("role") in ("user", "tool")
        ]
        tools = {(each.get("function") or each).get("name", "") for each in body.get("tools") or ()}
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or _DEFAULT_TOKENS
        return _turn(spoken, tools, limit)

    def write(self, said: Said, usage: Usage, *, cut: bool, stream: bool) -> list[bytes]:
        """See Wire."""
        finish = "tool_calls" if said.tool else "length" if cut else "stop"
        used = {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
        }
        call: dict[str, Any] = {
            "id": said.call_id,
            "type": "function",
            "function": {"name": said.tool, "arguments": said.arguments_json},
        }
        about = {"id": ID, "created": 0, "model": MODEL}
        if not stream:
            message: dict[str, Any] = {"role": "assistant", "content": said.text}
            if said.tool:
                message["tool_calls"] = [call]
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return [_json({**about, "object": "chat.completion", "choices": [choice], "usage": used})]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in _pieces(said.text)]
        if said.tool:
            deltas.append({"tool_calls": [{"index": 0, **call}]})
        chunk = {**about, "object": "chat.completion.chunk"}
        ends: list[str | None] = [None] * len(deltas) + [finish]
        choices = [
            {"index": 0, "delta": d, "finish_reason": e} for d, e in zip([*deltas, {}], ends, strict=True)
        ]
        events = [{**chunk, "choices": [choice]} for choice in choices]
        events.append({**chunk, "choices": [], "usage": used})
        return [b"data: " + _json(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


class ResponsesWire:
    """OpenAI responses."""

    def read(self, body: Mapping[str, Any]) -> Turn:
        """See Wire."""
        given = body.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
        spoken: _Spoken = []
        for each in items:
            if each.get("role") == "user":
                spoken.append(("user", _text(each.get("content"))))
            elif str(each.get("type")).endswith("_call_output"):
                spoken.append(("tool", _text(each.get("output"))))
        tools = {each.get("name", "") for each in body.get("tools") or ()}
        limit = body.get("max_output_tokens") or _DEFAULT_TOKENS
        return _turn(spoken, tools, limit)

    def write(self, said: Said, usage: Usage, *, cut: bool, stream: bool) -> list[bytes]:
        """See Wire."""
        text = {"type": "output_text", "text": said.text, "annotations": []}
        output: list[dict[str, Any]] = []
        if said.text or not said.tool:
            output.append(
                {
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "status": "completed",
                    "content": [text],
                }
            )
        if said.tool:
            call = {"call_id": said.call_id, "name": said.tool, "arguments": said.arguments_json}
            output.append({"type": "function_call", "id": "fc_1", "status": "completed", **call})
        used = {
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
        }
        begun = {"id": ID, "object": "response", "created_at": 0, "model": MODEL, "error": None}
        ended = {
            **begun,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": output,
            "usage": used,
        }
        if not stream:
            return [_json(ended)]
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": {**begun, "status": "in_progress", "output": []}}
        ]
        for index, item in enumerate(output):
            events += _item_events(index, item)
        events.append({"type": "response.incomplete" if cut else "response.completed", "response": ended})
        return [_named(event | {"sequence_number": n}) for n, event in enumerate(events)]


class AnthropicWire:
    """Anthropic messages."""

    def read(self, body: Mapping[str, Any]) -> Turn:
        """See Wire."""
        spoken: _Spoken = []
        for message in body["messages"]:
            content = message.get("content")
            blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
            for block in blocks if message.get("role") == "user" else ():
                if block.get("type") == "tool_result":
                    spoken.append(("tool", _text(block.get("content"))))
                elif block.get("type") == "text":
                    spoken.append(("user", _text(block.get("text"))))
        tools = {each.get("name", "") for each in body.get("tools") or ()}
        return _turn(spoken, tools, body.get("max_tokens") or _DEFAULT_TOKENS)

    def write(self, said: Said, usage: Usage, *, cut: bool, stream: bool) -> list[bytes]:
        """See Wire."""
        stop = "tool_use" if said.tool else "max_tokens" if cut else "end_turn"
        blocks: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
        if said.tool:
            blocks.append(
                {"type": "tool_use", "id": said.call_id, "name": said.tool, "input": dict(said.arguments)}
            )
        message = {"id": ID, "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}
        used = {"input_tokens": usage.input, "output_tokens": usage.output}
        if not stream:
            return [_json({**message, "content": blocks, "stop_reason": stop, "usage": used})]
        start: dict[str, Any] = {
            **message,
            "content": [],
            "stop_reason": None,
            "usage": {**used, "output_tokens": 1},
        }
        events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
        for index, block in enumerate(blocks):
            events += _block_events(index, block, said)
        delta = {"stop_reason": stop, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage.output}})
        return [_named(event) for event in [*events, {"type": "message_stop"}]]


WIRES: dict[str, Wire] = {
    "openai-chat": ChatWire(),
    "openai-responses": ResponsesWire(),
    "anthropic": AnthropicWire(),
}


def _item_events(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    at: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
    added: dict[str, Any] = {"type": "response.output_item.added", "output_index": index}
    done = {"type": "response.output_item.done", "output_index": index, "item": item}
    if item["type"] == "function_call":
        arguments = item["arguments"]
        return [
            added | {"item": {**item, "arguments": "", "status": "in_progress"}},
            {"type": "response.function_call_arguments.delta", **at, "delta": arguments},
            {"type": "response.function_call_arguments.done", **at, "arguments": arguments},
            done,
        ]
    at["content_index"] = 0
    part = item["content"][0]
    return [
        added | {"item": {**item, "content": [], "status": "in_progress"}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": piece} for piece in _pieces(part["text"])),
        {"type": "response.output_text.done", **at, "text": part["text"]},
        {"type": "response.content_part.done", **at, "part": part},
        done,
    ]


def _block_events(index: int, block: dict[str, Any], said: Said) -> list[dict[str, Any]]:
    if block["type"] == "text":
        empty: dict[str, Any] = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
    else:
        empty = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": said.arguments_json}]
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _turn(spoken: _Spoken, tools: set[str], output_tokens_max: int) -> Turn:
    """A conversation may hold earlier tasks; one that was told twice goes on from the first time."""
    users = [text for role, text in spoken if role == "user"]
    briefs = [text[found.start() :] for text in users if (found := _BRIEF.search(text))]
    task = briefs[-1] if briefs else next(iter(users), "")
    since = next((at for at, (role, text) in enumerate(spoken) if role == "user" and text.endswith(task)), 0)
    results = [text for role, text in spoken[since:] if role == "tool"]
    return Turn(task, frozenset(tools), results, output_tokens_max)


def _text(content: object) -> str:
    """The text of some content, whatever shape it has."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(each.get("text")) for each in content if isinstance(each, dict))
    return ""


def _pieces(text: str) -> list[str]:
    return [text[at : at + CHUNK_CHARS] for at in range(0, len(text), CHUNK_CHARS)]


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _named(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + _json(event) + b"\n\n"
