"""OpenAI chat completions, which most other providers speak too
(https://platform.openai.com/docs/api-reference/chat).

Usage in streams is always asked for, and the output limit is always set: in the field that the caller used,
since older models and compatible servers know only `max_tokens`. The model's own words are never changed.
"""

from collections.abc import Mapping
from typing import Any

from dashd.domain.prices import Price
from dashd.proxy.formats import allow, openai_usage, outgoing, refusals, thinking
from dashd.proxy.formats import body as bodies
from dashd.proxy.formats.format import FormatName, ParsedCall, Style
from dashd.proxy.formats.images import Images
from dashd.proxy.meter import Meter, Tally, mapping

IMAGE_TOKENS = 49_152
"""The dearest image known: eight tiles and the base of gpt-4o-mini are 48,169 tokens."""
IMAGE_TOKENS_LOW = 4_096

LIMITS = ("max_completion_tokens", "max_tokens")

FIELDS: dict[str, allow.Check] = {
    **dict.fromkeys(
        # Sampling, shape of the answer, thinking: they cost no more than the tokens that are counted anyway.
        (
            *(
                "temperature",
                "top_p",
                "top_k",
                "min_p",
                "stop",
                "seed",
                "logprobs",
                "top_logprobs",
                "logit_bias",
            ),
            *("presence_penalty", "frequency_penalty", "repetition_penalty", "response_format", "verbosity"),
            *("reasoning_effort", "reasoning", "include_reasoning", "reasoning_split", "thinking"),
            *(
                "thinking_budget",
                "enable_thinking",
                "preserve_thinking",
                "chat_template_kwargs",
                "tool_stream",
            ),
            *("parallel_tool_calls", "functions", "function_call", "usage"),
            *("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
            *("model", "messages", "stream", "stream_options", "store", *LIMITS),
        ),
        allow.passes,
    ),
    "tools": allow.check_tools,
    "tool_choice": allow.check_tool_choice,
    "n": allow.ONE_ANSWER,
    "best_of": allow.ONE_ANSWER,
    "service_tier": allow.SERVICE_TIER,
    "modalities": allow.only(
        ["text"], kind="not_boundable", why="sound and images have their own price", instead='send ["text"]'
    ),
    "prediction": allow.Refused(
        "costs_more", "rejected predicted tokens are billed beside the output limit", "leave it out"
    ),
    "audio": allow.NO_AUDIO,
    "web_search_options": allow.NO_PROVIDER_TOOL,
    "plugins": allow.NO_PROVIDER_TOOL,
    "background": allow.NO_BACKGROUND,
    "previous_response_id": allow.NO_STATE,
    "conversation": allow.NO_STATE,
    "provider": allow.NO_PROVIDER_CHOICE,
    "models": allow.NO_PROVIDER_CHOICE,
    "route": allow.NO_PROVIDER_CHOICE,
}

MESSAGE_FIELDS: dict[str, allow.Check] = {
    **dict.fromkeys(
        (
            *("role", "content", "name", "refusal", "tool_calls", "tool_call_id", "function_call", "prefix"),
            *("reasoning", "reasoning_content", "reasoning_text", "reasoning_details", "thinking"),
            *("thinking_signature", "annotations", "extra_content", "partial"),
        ),
        allow.passes,
    ),
    "cache_control": allow.short_cache,
    "audio": allow.Refused("server_state", "it refers to sound kept by the provider", "leave it out"),
}

_TEXT_FIELDS: dict[str, allow.Check] = {
    **dict.fromkeys(("type", "text", "refusal", "annotations", "thinking", "signature"), allow.passes),
    "cache_control": allow.short_cache,
}
_IMAGE_FIELDS: dict[str, allow.Check] = {
    **dict.fromkeys(("type", "image_url"), allow.passes),
    "cache_control": allow.short_cache,
}
_REFUSED_PARTS = {
    "input_audio": allow.NO_AUDIO,
    "audio_url": allow.NO_AUDIO,
    "file": allow.NO_FILE,
    "file_url": allow.NO_FILE,
    "video_url": allow.NO_FILE,
}


class OpenAIChat:
    """`openai-chat`."""

    name: FormatName = "openai-chat"
    paths: tuple[str, ...] = ("/v1/chat/completions", "/chat/completions")
    upstream_path = "/chat/completions"

    def parse(self, body: bytes) -> ParsedCall:
        """See Format."""
        call = bodies.decode(body)
        allow.check_fields(call, FIELDS)
        model, stream = bodies.model(call), bodies.flag(call, "stream")
        images = Images(IMAGE_TOKENS, IMAGE_TOKENS_LOW)
        for index, message in enumerate(bodies.entries(call.get("messages"), "messages")):
            _check_message(bodies.fields(message, f"messages[{index}]"), f"messages[{index}]", images)
        asked = bodies.token_limit(call, *LIMITS)
        _set_streaming(call, stream=stream)
        if bodies.flag(call, "store"):
            call["store"] = False
            call.pop("metadata", None)  # It labels what is stored, and is refused otherwise.
        tools = bool(call.get("tools") or call.get("functions"))
        return outgoing.weighed(self, ParsedCall(self.name, model, stream, asked, 0, 0, call, tools), images)

    def outgoing(self, call: ParsedCall, *, model: str, output_tokens: int) -> bytes:
        """See Format."""
        assert output_tokens >= 1
        used = next((limit for limit in LIMITS if limit in call.body), LIMITS[0])
        body = {name: value for name, value in call.body.items() if name not in LIMITS or name == used}
        body |= {"model": model, used: output_tokens}
        thinking.lower(body, output_tokens)
        return outgoing.encode(body)

    def headers(self, secret: str | None, asked: dict[str, str] | None = None) -> dict[str, str]:
        """See Format; none of the caller's pass."""
        return outgoing.HEADERS | ({"authorization": f"Bearer {secret}"} if secret else {})

    def meter(
        self, price: Price, held_nusd: int, output_tokens: int, held_tokens: int | None = None
    ) -> Meter:
        """See Format."""
        return Meter(ChatReader(), price, held_nusd, output_tokens, held_tokens)

    def refusal(self, status: int, kind: str, message: str, *, style: Style) -> tuple[int, bytes]:
        """See Format."""
        return refusals.whole(self.name, status, kind, message, style=style)

    def refusal_in_stream(self, status: int, kind: str, message: str, *, style: Style) -> bytes:
        """See Format."""
        return refusals.in_stream(self.name, status, kind, message, style=style)


class ChatReader:
    """Usage comes last: in a chunk without choices, in the chunk that finishes or one after it, or in every
    chunk as a total.
    """

    def __init__(self) -> None:
        self._ended = False

    def event(self, event: Mapping[str, Any], tally: Tally) -> None:
        """See Reader."""
        if event.get("error"):
            tally.fail(event["error"])
        choices = [mapping(choice) for choice in _list(event.get("choices"))]
        if any(_says_something(mapping(choice.get("delta"))) for choice in choices):
            tally.see_output()
        self._ended = self._ended or any(choice.get("finish_reason") for choice in choices)
        for said in (event.get("usage"), *(choice.get("usage") for choice in choices)):
            usage = openai_usage.read(mapping(said))
            if usage:
                tally.say(usage, final=self._ended or not choices)

    def end(self, tally: Tally) -> None:
        """See Reader; totals that came with every chunk are now the last."""
        tally.final = tally.usage is not None

    def body(self, body: Mapping[str, Any], tally: Tally) -> None:
        """See Reader."""
        if body.get("error"):
            tally.fail(body["error"])
        choices = [mapping(choice) for choice in _list(body.get("choices"))]
        if any(_says_something(mapping(choice.get("message"))) for choice in choices):
            tally.see_output()
        usage = openai_usage.read(mapping(body.get("usage")))
        if usage:
            tally.say(usage, final=True)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _says_something(message: Mapping[str, Any]) -> bool:
    return any(value for name, value in message.items() if name != "role")


def _check_message(message: dict[str, Any], at: str, images: Images) -> None:
    allow.check_fields(message, MESSAGE_FIELDS, f"{at}.")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    for index, part in enumerate(bodies.entries(content, f"{at}.content")):
        path = f"{at}.content[{index}]"
        _check_part(bodies.fields(part, path), path, images)


def _check_part(part: dict[str, Any], at: str, images: Images) -> None:
    match part.get("type"):
        case "text" | "refusal" | "thinking":
            allow.check_fields(part, _TEXT_FIELDS, f"{at}.")
        case "image_url":
            allow.check_fields(part, _IMAGE_FIELDS, f"{at}.")
            image = part.get("image_url")
            given = image if isinstance(image, dict) else {"url": image}
            images.url(given.get("url"), f"{at}.image_url", low=given.get("detail") == "low")
        case str(kind) if kind in _REFUSED_PARTS:
            _REFUSED_PARTS[kind](part, at)
        case kind:
            allow.unknown_part(kind, at)


def _set_streaming(call: dict[str, Any], *, stream: bool) -> None:
    given = bodies.fields(call.pop("stream_options", {}), "stream_options")
    if stream:
        kept = {name: given[name] for name in ("include_obfuscation",) if isinstance(given.get(name), bool)}
        call["stream_options"] = {"include_usage": True} | kept
