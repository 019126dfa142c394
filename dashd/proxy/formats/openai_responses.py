"""OpenAI responses (https://platform.openai.com/docs/api-reference/responses), as a call that keeps no
state.

`store` is always false, so the whole conversation, and with it the cost, is in the call. Items that the
caller itself made or ran pass; items of tools that the provider runs do not.
"""

from collections.abc import Mapping
from typing import Any

from dashd.domain.prices import Price
from dashd.proxy.formats import allow, openai_usage, outgoing, refusals, thinking
from dashd.proxy.formats import body as bodies
from dashd.proxy.formats.format import FormatName, ParsedCall, Style
from dashd.proxy.formats.images import Images
from dashd.proxy.formats.openai_chat import IMAGE_TOKENS, IMAGE_TOKENS_LOW
from dashd.proxy.meter import Meter, Tally, mapping

LIMIT = "max_output_tokens"
INCLUDES = ("reasoning.encrypted_content", "message.output_text.logprobs")

FIELDS: dict[str, allow.Check] = {
    **dict.fromkeys(
        (
            *("model", "input", "instructions", "stream", "stream_options", "store", "include", LIMIT),
            *("temperature", "top_p", "top_logprobs", "text", "reasoning", "truncation", "max_tool_calls"),
            *("parallel_tool_calls", "user", "metadata", "client_metadata", "safety_identifier"),
            *("prompt_cache_key", "prompt_cache_retention"),
        ),
        allow.passes,
    ),
    "tools": allow.check_tools,
    "tool_choice": allow.check_tool_choice,
    "service_tier": allow.SERVICE_TIER,
    "n": allow.ONE_ANSWER,
    "background": allow.NO_BACKGROUND,
    "previous_response_id": allow.NO_STATE,
    "conversation": allow.NO_STATE,
    "prompt": allow.NO_STATE,
    "context_management": allow.Refused(
        "not_boundable",
        "the provider's own compaction is further paid work",
        "shorten the conversation yourself",
    ),
    "modalities": allow.only(
        ["text"], kind="not_boundable", why="sound and images have their own price", instead='send ["text"]'
    ),
}

ITEMS = (
    *("message", "reasoning", "function_call", "function_call_output"),
    *("custom_tool_call", "custom_tool_call_output"),
)
_TEXT_PARTS = ("input_text", "output_text", "refusal", "summary_text", "reasoning_text", "text")


class OpenAIResponses:
    """`openai-responses`."""

    name: FormatName = "openai-responses"
    paths: tuple[str, ...] = ("/v1/responses", "/responses")
    upstream_path = "/responses"

    def parse(self, body: bytes) -> ParsedCall:
        """See Format."""
        call = bodies.decode(body)
        allow.check_fields(call, FIELDS)
        model, stream = bodies.model(call), bodies.flag(call, "stream")
        images = Images(IMAGE_TOKENS, IMAGE_TOKENS_LOW)
        _check_input(call.get("input"), images)
        for index, wanted in enumerate(bodies.entries(call.get("include", []), "include")):
            _check_include(wanted, f"include[{index}]")
        asked = bodies.token_limit(call, LIMIT)
        bodies.flag(call, "store")
        call["store"] = False
        if not stream:
            call.pop("stream_options", None)
        tools = bool(call.get("tools"))
        return outgoing.weighed(self, ParsedCall(self.name, model, stream, asked, 0, 0, call, tools), images)

    def outgoing(self, call: ParsedCall, *, model: str, output_tokens: int) -> bytes:
        """See Format."""
        assert output_tokens >= 1
        body = call.body | {"model": model, LIMIT: output_tokens}
        thinking.lower(body, output_tokens)
        return outgoing.encode(body)

    def headers(self, secret: str | None, asked: dict[str, str] | None = None) -> dict[str, str]:
        """See Format; none of the caller's pass."""
        return outgoing.HEADERS | ({"authorization": f"Bearer {secret}"} if secret else {})

    def meter(
        self, price: Price, held_nusd: int, output_tokens: int, held_tokens: int | None = None
    ) -> Meter:
        """See Format."""
        return Meter(ResponsesReader(), price, held_nusd, output_tokens, held_tokens)

    def refusal(self, status: int, kind: str, message: str, *, style: Style) -> tuple[int, bytes]:
        """See Format."""
        return refusals.whole(self.name, status, kind, message, style=style)

    def refusal_in_stream(self, status: int, kind: str, message: str, *, style: Style) -> bytes:
        """See Format."""
        return refusals.in_stream(self.name, status, kind, message, style=style)


class ResponsesReader:
    """Usage is in the response that the last event carries, also where it failed or was cut at its limit."""

    def event(self, event: Mapping[str, Any], tally: Tally) -> None:
        """See Reader."""
        kind = event.get("type")
        kind = kind if isinstance(kind, str) else ""
        if kind.endswith(".delta"):
            tally.see_output()
        if kind == "error" or event.get("error"):
            tally.fail(event.get("error") or event)
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            self.body(mapping(event.get("response")), tally)

    def end(self, tally: Tally) -> None:
        """See Reader; the format has no end mark, so a stray one means nothing."""

    def body(self, body: Mapping[str, Any], tally: Tally) -> None:
        """See Reader."""
        if body.get("error"):
            tally.fail(body["error"])
        if body.get("output"):
            tally.see_output()
        usage = openai_usage.read(mapping(body.get("usage")))
        if usage:
            tally.say(usage, final=body.get("status") not in ("queued", "in_progress"))


def _check_include(wanted: object, at: str) -> None:
    if wanted not in INCLUDES:
        allow.refuse(
            "unknown_field",
            f"{bodies.shown(wanted)} includes what a tool of the provider found",
            f"only {' and '.join(INCLUDES)} pass",
            at,
        )


def _check_input(given: object, images: Images) -> None:
    if isinstance(given, str):
        return
    for index, item in enumerate(bodies.entries(given, "input")):
        at = f"input[{index}]"
        _check_item(bodies.fields(item, at), at, images)


def _check_item(item: dict[str, Any], at: str, images: Images) -> None:
    kind = item.get("type", "message")
    if kind == "item_reference":
        allow.NO_STATE(item, at)
    if isinstance(kind, str) and kind not in ITEMS and ("_call" in kind or kind.startswith("mcp_")):
        allow.refuse(
            "provider_tool",
            f"{bodies.shown(kind)} belongs to a tool that the provider runs",
            "leave it out; calls of plain tools and their outputs pass",
            at,
        )
    if kind not in ITEMS:
        allow.unknown_part(kind, at)
    for name in ("content", "output", "summary"):
        parts = item.get(name)
        if parts is None or isinstance(parts, str):
            continue
        for index, part in enumerate(bodies.entries(parts, f"{at}.{name}")):
            path = f"{at}.{name}[{index}]"
            _check_part(bodies.fields(part, path), path, images)


def _check_part(part: dict[str, Any], at: str, images: Images) -> None:
    match part.get("type"):
        case str(kind) if kind in _TEXT_PARTS:
            return
        case "input_image":
            if part.get("file_id") is not None:
                allow.NO_FILE_ID(part, f"{at}.file_id")
            images.url(part.get("image_url"), f"{at}.image_url", low=part.get("detail") == "low")
        case "input_file":
            (allow.NO_FILE_ID if part.get("file_id") is not None else allow.NO_FILE)(part, at)
        case "input_audio":
            allow.NO_AUDIO(part, at)
        case kind:
            allow.unknown_part(kind, at)
