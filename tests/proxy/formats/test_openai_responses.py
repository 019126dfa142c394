"""Responses without state: the whole conversation is in the call, and nothing of the provider's is."""

import json

import pytest

from dashd.proxy.formats import CallRefused
from dashd.proxy.formats.openai_chat import IMAGE_TOKENS, IMAGE_TOKENS_LOW
from dashd.proxy.formats.openai_responses import OpenAIResponses

RESPONSES = OpenAIResponses()
HELLO = {"model": "m", "input": "hi"}
# Shaped like what Codex and Pi send.
CODEX = {
    "model": "m",
    "instructions": "be brief",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA"},
        {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "x"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "ok"}],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "done"}]},
    ],
    "tools": [
        {"type": "function", "name": "shell", "parameters": {}},
        {"type": "custom", "name": "apply_patch"},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "s1",
    "text": {"verbosity": "low"},
    "client_metadata": {"a": "b"},
}


def parse(**more):
    return RESPONSES.parse(json.dumps(HELLO | more).encode())


def sent(call, output_tokens=100):
    return json.loads(RESPONSES.outgoing(call, model="real", output_tokens=output_tokens))


def test_what_agents_send_passes_unchanged_but_for_model_and_limit():
    call = RESPONSES.parse(json.dumps(CODEX).encode())
    assert (call.stream, call.output_tokens, call.tools) == (True, None, True)
    assert sent(call, 700) == CODEX | {"model": "real", "max_output_tokens": 700}


def test_outgoing_golden():
    call = parse(max_output_tokens=9_000, previous_response_id=None)
    assert call.output_tokens == 9_000
    assert RESPONSES.outgoing(call, model="gpt-x", output_tokens=33) == (
        b'{"model":"gpt-x","input":"hi","max_output_tokens":33,"store":false}'
    )


@pytest.mark.parametrize("asked", [{}, {"store": True}, {"store": False}, {"store": None}])
def test_nothing_is_stored(asked):
    assert sent(parse(**asked))["store"] is False


def test_stream_options_go_with_a_stream_alone():
    options = {"include_obfuscation": False}
    assert sent(parse(stream=True, stream_options=options))["stream_options"] == options
    assert "stream_options" not in sent(parse(stream_options=options))


def item(**fields):
    return {"input": [fields]}


def part(**fields):
    return item(role="user", content=[fields])


@pytest.mark.parametrize(
    ("more", "kind", "hint"),
    [
        ({"previous_response_id": "resp_1"}, "server_state", "whole conversation"),
        ({"conversation": {"id": "conv_1"}}, "server_state", "whole conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "server_state", "whole conversation"),
        ({"background": True}, "server_state", "stream instead"),
        (item(type="item_reference", id="msg_1"), "server_state", "whole conversation"),
        (part(type="input_image", file_id="file_1"), "server_state", "inline"),
        (part(type="input_file", file_id="file_1"), "server_state", "inline"),
        (part(type="input_file", file_data="data:application/pdf;base64,AAAA"), "not_boundable", "text"),
        (part(type="input_file", file_url="https://x/a.pdf"), "not_boundable", "text"),
        (part(type="input_image", image_url="https://x/a.png"), "remote_url", "inline"),
        (part(type="input_audio", data="AAAA"), "not_boundable", "send text"),
        (part(type="hologram"), "unknown_field", "send text"),
        (item(type="function_call_output", output=[{"type": "input_image", "image_url": "http://x"}]),
         "remote_url", "inline"),
        (item(type="web_search_call", id="ws_1"), "provider_tool", "plain tools"),
        (item(type="file_search_call"), "provider_tool", "plain tools"),
        (item(type="code_interpreter_call"), "provider_tool", "plain tools"),
        (item(type="computer_call_output"), "provider_tool", "plain tools"),
        (item(type="image_generation_call"), "provider_tool", "plain tools"),
        (item(type="mcp_approval_response"), "provider_tool", "plain tools"),
        (item(type="compaction", encrypted_content="x"), "unknown_field", "send text"),
        ({"tools": [{"type": "web_search"}]}, "provider_tool", "plain tool"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "provider_tool", "plain tool"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "provider_tool", "plain"),
        ({"tool_choice": {"type": "web_search"}}, "provider_tool", "your own tools"),
        ({"include": ["web_search_call.action.sources"]}, "unknown_field", "reasoning.encrypted_content"),
        ({"service_tier": "priority"}, "costs_more", "default"),
        ({"context_management": [{"type": "compaction"}]}, "not_boundable", "yourself"),
        ({"n": 2}, "costs_more", "one answer"),
        ({"modalities": ["audio"]}, "not_boundable", "text"),
        ({"turbo": 1}, "unknown_field", "leave it out"),
        ({"store": "no"}, "malformed", "true or false"),
        ({"input": None}, "malformed", "list"),
        ({"input": ["hi"]}, "malformed", "object"),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_a_dangerous_feature_is_refused_by_name(more, kind, hint):
    with pytest.raises(CallRefused) as refused:
        parse(**more)
    assert (refused.value.kind, refused.value.status) == (kind, 400)
    assert hint in refused.value.hint
    assert next(iter(more)) in refused.value.text


def test_images_inside_the_call_count_as_tokens():
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}
    call = parse(
        input=[
            {"role": "user", "content": [image, image | {"detail": "low"}]},
            {"type": "function_call_output", "call_id": "c", "output": [image]},
        ]
    )
    assert call.image_tokens == 2 * IMAGE_TOKENS + IMAGE_TOKENS_LOW
    assert call.input_bytes < 1_500


def test_headers_golden():
    assert RESPONSES.headers("k", {"openai-beta": "x"}) == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer k",
    }
