"""Anthropic messages (https://docs.anthropic.com/en/api/messages).

Cached tokens are outside the input tokens. The start of a stream states the input, so a cut stream is
charged its input and the full output, where that start is more than a placeholder. Cache marks lose their
longer time to live, and thinking stays below the granted output.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dashd.domain.prices import Price, Usage
from dashd.proxy.formats import allow, outgoing, refusals, thinking
from dashd.proxy.formats import body as bodies
from dashd.proxy.formats.format import FormatName, ParsedCall, Style
from dashd.proxy.formats.images import Images
from dashd.proxy.meter import Incredible, Meter, Tally, count, input_total, mapping

VERSION = "2023-06-01"
IMAGE_TOKENS = 8_192
"""The dearest image is 4,784 tokens (high resolution); smaller ones are not told apart."""
LIMIT = "max_tokens"
BETAS = (
    *("interleaved-thinking-", "fine-grained-tool-streaming-", "token-efficient-tools-", "prompt-caching-"),
    *("context-management-", "context-1m-", "output-128k-", "effort-", "structured-outputs-", "claude-code-"),
)
"""Beginnings of the beta names that pass; a beta that changes the price or runs something is left out."""

FIELDS: dict[str, allow.Check] = {
    **dict.fromkeys(
        (
            *(
                "model",
                "messages",
                "system",
                "stream",
                "metadata",
                "thinking",
                "output_config",
                "output_format",
            ),
            *("temperature", "top_p", "top_k", "stop_sequences", "context_management", LIMIT),
        ),
        allow.passes,
    ),
    "cache_control": allow.short_cache,
    "tools": allow.check_tools,
    "tool_choice": allow.check_tool_choice,
    "service_tier": allow.only(
        "auto",
        "standard_only",
        kind="costs_more",
        why="another service tier has another price",
        instead='leave it out, or send "standard_only"',
    ),
    "speed": allow.only(
        "standard", kind="costs_more", why="a faster answer has a higher price", instead="leave it out"
    ),
    "inference_geo": allow.only(
        "global", kind="costs_more", why="a chosen region has a higher price", instead="leave it out"
    ),
    "mcp_servers": allow.NO_PROVIDER_TOOL,
    "container": allow.NO_PROVIDER_TOOL,
    "background": allow.NO_BACKGROUND,
    "previous_response_id": allow.NO_STATE,
    "conversation": allow.NO_STATE,
    "n": allow.ONE_ANSWER,
}

_BLOCK: dict[str, allow.Check] = {"type": allow.passes, "cache_control": allow.short_cache}


class Anthropic:
    """`anthropic`."""

    name: FormatName = "anthropic"
    paths: tuple[str, ...] = ("/v1/messages",)
    upstream_path = "/messages"

    def parse(self, body: bytes) -> ParsedCall:
        """See Format."""
        call = bodies.decode(body)
        allow.check_fields(call, FIELDS)
        model, stream = bodies.model(call), bodies.flag(call, "stream")
        images = Images(IMAGE_TOKENS, IMAGE_TOKENS)
        _check_content(call.get("system", ""), "system", images)
        for index, message in enumerate(bodies.entries(call.get("messages"), "messages")):
            at = f"messages[{index}]"
            allow.check_fields(bodies.fields(message, at), _MESSAGE, f"{at}.")
            _check_content(message.get("content"), f"{at}.content", images)
        _check_edits(bodies.fields(call.get("context_management", {}), "context_management"))
        asked = bodies.token_limit(call, LIMIT)
        tools = bool(call.get("tools"))
        return outgoing.weighed(self, ParsedCall(self.name, model, stream, asked, 0, 0, call, tools), images)

    def outgoing(self, call: ParsedCall, *, model: str, output_tokens: int) -> bytes:
        """See Format."""
        assert output_tokens >= 1
        body = call.body | {"model": model, LIMIT: output_tokens}
        thinking.lower(body, output_tokens)
        if mapping(body.get("thinking")).get("type") == "disabled":
            _drop_thinking_edits(body)
        return outgoing.encode(body)

    def headers(self, secret: str | None, asked: dict[str, str] | None = None) -> dict[str, str]:
        """See Format; of the caller's, betas that cost nothing by themselves pass."""
        headers = outgoing.HEADERS | {"anthropic-version": VERSION}
        if secret:
            headers["x-api-key"] = secret
        names = [name.strip() for name in (asked or {}).get("anthropic-beta", "").split(",")]
        betas = [name for name in names if name.startswith(BETAS) and name.isascii() and name.isprintable()]
        return headers | ({"anthropic-beta": ",".join(betas)} if betas else {})

    def meter(
        self, price: Price, held_nusd: int, output_tokens: int, held_tokens: int | None = None
    ) -> Meter:
        """See Format."""
        return Meter(MessagesReader(), price, held_nusd, output_tokens, held_tokens)

    def refusal(self, status: int, kind: str, message: str, *, style: Style) -> tuple[int, bytes]:
        """See Format."""
        return refusals.whole(self.name, status, kind, message, style=style)

    def refusal_in_stream(self, status: int, kind: str, message: str, *, style: Style) -> bytes:
        """See Format."""
        return refusals.in_stream(self.name, status, kind, message, style=style)


class MessagesReader:
    """The start states the input; each message_delta states totals, some providers' with the input
    corrected.
    """

    def event(self, event: Mapping[str, Any], tally: Tally) -> None:
        """See Reader."""
        match event.get("type"):
            case "message_start":
                start = _usage(mapping(mapping(event.get("message")).get("usage")), None)
                if start and input_total(start):
                    tally.start = max(start, tally.start or start, key=tally.cost)
            case "message_delta":
                said = mapping(event.get("usage"))
                usage = _usage(said, tally.start)
                if usage:
                    usage = _dearer_input(usage, tally)
                    final = isinstance(mapping(event.get("delta")).get("stop_reason"), str)
                    # The token of the start is no answer to how much there was of what was seen.
                    tally.doubtful |= final and tally.output_seen and count(said, "output_tokens") == 0
                    tally.say(usage, final=final)
            case "content_block_delta":
                tally.see_output()
            case "content_block_start":
                block = mapping(event.get("content_block"))
                if block.get("type") != "text" or block.get("text"):  # it may be whole in its start
                    tally.see_output()
            case "error":
                tally.fail(event.get("error"))

    def end(self, tally: Tally) -> None:
        """See Reader; the format has no end mark, so a stray one means nothing."""

    def body(self, body: Mapping[str, Any], tally: Tally) -> None:
        """See Reader."""
        if body.get("error"):
            tally.fail(body["error"])
        if body.get("content"):
            tally.see_output()
        usage = _usage(mapping(body.get("usage")), None)
        if usage:
            tally.say(usage, final=True)


def _usage(said: Mapping[str, Any], start: Usage | None) -> Usage | None:
    """What is stated, and for what is not, what the start stated; None where no output is stated."""
    output = count(said, "output_tokens")
    if output is None:
        return None
    longer = count(mapping(said.get("cache_creation")), "ephemeral_1h_input_tokens")
    tools = [count(mapping(said.get("server_tool_use")), name) for name in _TOOL_COUNTS]
    if longer or any(tools):
        raise Incredible("the call never asked for this, and it has no price here")
    fresh = count(said, "input_tokens")
    read = count(said, "cache_read_input_tokens")
    written = count(said, "cache_creation_input_tokens")
    before = start or Usage(0, 0, 0, 0)
    return Usage(
        before.input if fresh is None else fresh,
        before.cache_read if read is None else read,
        before.cache_write if written is None else written,
        max(output, before.output),
    )


_TOOL_COUNTS = ("web_search_requests", "web_fetch_requests", "code_execution_requests")


def _dearer_input(usage: Usage, tally: Tally) -> Usage:
    start = tally.start
    if start is None:
        return usage
    older = Usage(start.input, start.cache_read, start.cache_write, usage.output)
    return max(usage, older, key=tally.cost)


def _check_edits(management: dict[str, Any]) -> None:
    for index, edit in enumerate(bodies.entries(management.get("edits") or [], "context_management.edits")):
        at = f"context_management.edits[{index}]"
        kind = bodies.fields(edit, at).get("type")
        if not isinstance(kind, str) or not kind.startswith(("clear_tool_uses_", "clear_thinking_")):
            allow.refuse(
                "not_boundable",
                f"{bodies.shown(kind)} is further paid work of the provider",
                "clear_tool_uses and clear_thinking pass; shorten the conversation yourself for the rest",
                at,
            )


def _drop_thinking_edits(body: dict[str, Any]) -> None:
    """Without thinking an edit that clears it is refused by the provider."""
    management = body.get("context_management")
    if not management:
        return
    edits = [edit for edit in management.get("edits") or [] if not edit["type"].startswith("clear_thinking_")]
    body["context_management"] = {**management, "edits": edits}


def _check_content(content: object, at: str, images: Images) -> None:
    if content is None or isinstance(content, str):
        return
    for index, block in enumerate(bodies.entries(content, at)):
        path = f"{at}[{index}]"
        kind = bodies.fields(block, path).get("type")
        check = _BLOCKS.get(kind) if isinstance(kind, str) else None
        if check is not None:
            check(block, path, images)
        elif isinstance(kind, str) and kind.startswith(_PROVIDERS_BLOCKS):
            allow.refuse(
                "provider_tool",
                f"{bodies.shown(kind)} belongs to a tool that the provider runs",
                "leave it out; tool_use and tool_result of plain tools pass",
                path,
            )
        else:
            allow.unknown_part(kind, path)


_Block = Callable[[dict[str, Any], str, Images], None]


def _plain(*names: str) -> _Block:
    """A block of text or JSON, with these fields."""
    rules = _BLOCK | dict.fromkeys(names, allow.passes)

    def check(block: dict[str, Any], at: str, images: Images) -> None:
        allow.check_fields(block, rules, f"{at}.")

    return check


def _holding(*names: str) -> _Block:
    """A block with these fields whose `content` is content again."""
    plain = _plain("content", *names)

    def check(block: dict[str, Any], at: str, images: Images) -> None:
        plain(block, at, images)
        _check_content(block.get("content"), f"{at}.content", images)

    return check


def _image(block: dict[str, Any], at: str, images: Images) -> None:
    allow.check_fields(block, _BLOCK | {"source": allow.passes}, f"{at}.")
    source = bodies.fields(block.get("source"), f"{at}.source")
    match source.get("type"):
        case "base64":
            images.base64(source.get("media_type"), source.get("data"), f"{at}.source")
        case "file":
            allow.NO_FILE_ID(source, f"{at}.source")
        case _:
            images.url(source.get("url"), f"{at}.source")


def _document(block: dict[str, Any], at: str, images: Images) -> None:
    rules = _BLOCK | dict.fromkeys(("source", "title", "context", "citations"), allow.passes)
    allow.check_fields(block, rules, f"{at}.")
    source = bodies.fields(block.get("source"), f"{at}.source")
    match source.get("type"):
        case "text":
            return
        case "content":
            _check_content(source.get("content"), f"{at}.source.content", images)
        case "file":
            allow.NO_FILE_ID(source, f"{at}.source")
        case "url":
            allow.refuse(
                "remote_url",
                "a document by address is fetched by the provider, and its size cannot be known",
                "send its text inline",
                f"{at}.source",
            )
        case _:
            allow.NO_FILE(source, f"{at}.source")


_MESSAGE: dict[str, allow.Check] = {"role": allow.passes, "content": allow.passes}
_BLOCKS: dict[str, _Block] = {
    "text": _plain("text", "citations"),
    "image": _image,
    "document": _document,
    "tool_use": _plain("id", "name", "input", "caller"),
    "tool_result": _holding("tool_use_id", "is_error"),
    "search_result": _holding("source", "title", "citations"),
    "thinking": _plain("thinking", "signature"),
    "redacted_thinking": _plain("data"),
}
_PROVIDERS_BLOCKS = (
    *("server_tool_use", "web_search_", "web_fetch_", "code_execution_", "bash_code_execution_"),
    *("text_editor_code_execution_", "tool_search_", "mcp_", "container_upload", "advisor_"),
)
