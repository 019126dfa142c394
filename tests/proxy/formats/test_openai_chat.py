"""Chat completions: what real clients send passes, what costs unseen is refused by name, and what goes out
is exact.
"""

import json

import pytest

from dashd.proxy.formats import CallRefused
from dashd.proxy.formats.openai_chat import FIELDS, IMAGE_TOKENS, IMAGE_TOKENS_LOW, OpenAIChat

CHAT = OpenAIChat()
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BASH = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}

# The bodies that OpenClaw 2026.9 and Pi 1.5 were seen to send.
OPENCLAW = HELLO | {
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 8192,
    "prompt_cache_key": "s1:0",
    "tools": [BASH],
    "tool_choice": "auto",
    "reasoning_effort": "low",
}
PI = HELLO | {
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 8192,
    "store": False,
    "tools": [BASH],
}


def parse(**more):
    return CHAT.parse(json.dumps(HELLO | more).encode())


def sent(call, output_tokens=100):
    return json.loads(CHAT.outgoing(call, model="real", output_tokens=output_tokens))


@pytest.mark.parametrize("body", [OPENCLAW, PI], ids=["openclaw", "pi"])
def test_what_agents_send_passes_unchanged_but_for_model_and_limit(body):
    call = CHAT.parse(json.dumps(body).encode())
    assert (call.stream, call.output_tokens, call.tools) == (True, 8192, True)
    assert sent(call, 700) == body | {"model": "real", "max_completion_tokens": 700}


def test_outgoing_golden():
    call = parse(stream=True, temperature=0.2, messages=[{"role": "user", "content": "é\n"}], max_tokens=50)
    assert (
        CHAT.outgoing(call, model="gpt-x", output_tokens=33)
        == (
            '{"model":"gpt-x","messages":[{"role":"user","content":"é\\n"}],"stream":true,"temperature":0.2,'
            '"max_tokens":33,"stream_options":{"include_usage":true}}'
        ).encode()
    )


@pytest.mark.parametrize(
    ("asked", "field", "tokens"),
    [
        ({}, "max_completion_tokens", None),
        ({"max_tokens": 9}, "max_tokens", 9),
        ({"max_completion_tokens": 9}, "max_completion_tokens", 9),
        ({"max_tokens": 5, "max_completion_tokens": 9}, "max_completion_tokens", 5),
    ],
)
def test_the_limit_goes_into_the_field_that_was_used(asked, field, tokens):
    call = parse(**asked)
    assert call.output_tokens == tokens
    assert sent(call) == HELLO | {"model": "real", field: 100}


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}),
        ({"continuous_usage_stats": True}, {"include_usage": True}),
    ],
)
def test_usage_in_streams_is_forced_on(asked, goes):
    assert sent(parse(stream=True, stream_options=asked))["stream_options"] == goes


def test_a_call_without_a_stream_has_no_stream_options():
    assert "stream_options" not in sent(parse(stream_options={"include_usage": True}))


def test_nothing_is_stored():
    assert sent(parse(store=True, metadata={"a": "b"})) == sent(parse(store=False))
    assert sent(parse(metadata={"a": "b"}))["metadata"] == {"a": "b"}


def test_thinking_stays_below_the_granted_output():
    call = parse(reasoning={"max_tokens": 9_000}, thinking={"type": "enabled", "budget_tokens": 9_000})
    assert sent(call, 2_000)["reasoning"] == {"max_tokens": 1_500}
    assert sent(call, 200)["thinking"] == {"type": "disabled"}


HARMLESS = {
    "temperature": 1, "top_p": 1, "stop": ["x"], "seed": 1, "logit_bias": {"5": 1}, "logprobs": True,
    "top_logprobs": 3, "presence_penalty": 0, "frequency_penalty": 0, "user": "u", "metadata": {"a": "b"},
    "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h", "verbosity": "low",
    "response_format": {"type": "json_object"}, "parallel_tool_calls": False, "reasoning_effort": "none",
    "n": 1, "service_tier": "auto", "modalities": ["text"], "background": False, "tool_choice": "none",
    "previous_response_id": None, "prediction": None,
}  # fmt: skip


@pytest.mark.parametrize("field", HARMLESS)
def test_a_harmless_field_passes(field):
    goes = sent(parse(**{field: HARMLESS[field]}))
    assert goes.get(field) == HARMLESS[field]


REFUSED = [
    ({"n": 2}, "costs_more", "one answer"),
    ({"best_of": 3}, "costs_more", "one answer"),
    ({"n": "2"}, "costs_more", "one answer"),
    ({"service_tier": "priority"}, "costs_more", "default"),
    ({"service_tier": "flex"}, "costs_more", "default"),
    ({"prediction": {"type": "content", "content": "x"}}, "costs_more", "leave it out"),
    ({"modalities": ["text", "audio"]}, "not_boundable", "text"),
    ({"audio": {"voice": "alloy"}}, "not_boundable", "send text"),
    ({"web_search_options": {}}, "provider_tool", "plain tool"),
    ({"plugins": [{"id": "web"}]}, "provider_tool", "plain tool"),
    ({"tools": [{"type": "web_search"}]}, "provider_tool", "plain tool"),
    ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, "provider_tool", "plain tool"),
    ({"previous_response_id": "resp_1"}, "server_state", "whole conversation"),
    ({"conversation": "conv_1"}, "server_state", "whole conversation"),
    ({"background": True}, "server_state", "stream instead"),
    ({"provider": {"order": ["x"]}}, "unknown_field", "leave it out"),
    ({"models": ["a", "b"]}, "unknown_field", "leave it out"),
    ({"extra_body": {"google": {"cached_content": "x"}}}, "unknown_field", "leave it out"),
    ({"turbo": True}, "unknown_field", "leave it out"),
    ({"stream": "yes"}, "malformed", "true or false"),
    ({"stream_options": []}, "malformed", "object"),
    ({"max_tokens": 0}, "malformed", "from 1 on"),
    ({"messages": None}, "malformed", "list"),
    ({"messages": ["hi"]}, "malformed", "object"),
    ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "malformed", "list"),
    ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "server_state", "leave it out"),
    ({"messages": [{"role": "user", "content": "x", "file_ids": ["f"]}]}, "unknown_field", "leave it out"),
]  # fmt: skip
PARTS = [
    ({"type": "image_url", "image_url": {"url": "https://x/a.png"}}, "remote_url", "inline"),
    ({"type": "image_url", "image_url": "http://x/a.png"}, "remote_url", "inline"),
    ({"type": "image_url"}, "remote_url", "inline"),
    ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "not_boundable", "send text"),
    ({"type": "file", "file": {"file_id": "file-1"}}, "not_boundable", "inline images"),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}, "not_boundable", "text"),
    ({"type": "video_url", "video_url": {"url": "https://x"}}, "not_boundable", "text"),
    ({"type": "hologram"}, "unknown_field", "send text"),
    ({"text": "no type"}, "unknown_field", "send text"),
    ({"type": "text", "text": "x", "file_id": "f"}, "unknown_field", "leave it out"),
]


@pytest.mark.parametrize(
    ("more", "kind", "hint"),
    [*REFUSED, *(({"messages": [{"role": "user", "content": [part]}]}, k, h) for part, k, h in PARTS)],
    ids=lambda value: str(value)[:50],
)
def test_a_dangerous_feature_is_refused_by_name(more, kind, hint):
    with pytest.raises(CallRefused) as refused:
        parse(**more)
    assert (refused.value.kind, refused.value.status) == (kind, 400)
    assert hint in refused.value.hint
    assert refused.value.path in ("", *more) or refused.value.path.startswith(("tools[0]", "messages[0]"))
    named = next(iter(more))
    assert named in refused.value.text or named == "extra_body"


def test_images_inside_the_call_count_as_tokens_and_text_as_bytes():
    pixels = "A" * 100_000
    parts = [
        {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixels}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixels}"}},
    ]
    call = parse(messages=[{"role": "user", "content": parts}])
    assert call.image_tokens == IMAGE_TOKENS + IMAGE_TOKENS_LOW
    assert call.image_tokens_more == IMAGE_TOKENS - IMAGE_TOKENS_LOW
    assert call.input_bytes < 1_000
    assert sent(call)["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert pixels in str(sent(call))


def test_a_conversation_with_tools_and_thoughts_passes():
    messages = [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": None, "reasoning_content": "r", "refusal": None, "audio": None,
         "tool_calls": [{"id": "t", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "t", "content": [{"type": "text", "text": "ok"}]},
    ]  # fmt: skip
    assert sent(parse(messages=messages))["messages"] == messages


def test_every_field_it_may_set_is_one_it_lets_pass():
    assert {"stream_options", "store", "max_tokens", "max_completion_tokens", "model"} <= FIELDS.keys()


def test_headers_golden():
    assert CHAT.headers("k") == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer k",
    }
