"""Messages: the SDK's and Claude Code's bodies pass, what costs unseen is refused, and thinking fits."""

import json

import pytest

from dashd.proxy.formats import CallRefused
from dashd.proxy.formats.anthropic import IMAGE_TOKENS, Anthropic

MESSAGES = Anthropic()
HELLO = {"model": "m", "max_tokens": 1_000, "messages": [{"role": "user", "content": "hi"}]}
MARK = {"type": "ephemeral"}
# Shaped like what Anthropic's SDK and the agents over it send.
SDK = {
    "model": "m",
    "max_tokens": 32_000,
    "stream": True,
    "system": [{"type": "text", "text": "be brief", "cache_control": MARK}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": MARK}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "", "signature": "AAAA"},
                {"type": "redacted_thinking", "data": "AAAA"},
                {"type": "text", "text": "ok"},
                {"type": "tool_use", "id": "t", "name": "bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": False,
                    "content": [{"type": "text", "text": "a.py"}],
                }
            ],
        },
    ],
    "tools": [
        {"name": "bash", "description": "d", "input_schema": {"type": "object"}, "cache_control": MARK}
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 10_000},
    "metadata": {"user_id": "u"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
}


def parse(**more):
    return MESSAGES.parse(json.dumps(HELLO | more).encode())


def sent(call, output_tokens=100):
    return json.loads(MESSAGES.outgoing(call, model="real", output_tokens=output_tokens))


def content(*blocks):
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def source(kind, **fields):
    return {"type": kind, "source": fields}


def test_what_agents_send_passes_unchanged_but_for_model_and_limit():
    call = MESSAGES.parse(json.dumps(SDK).encode())
    assert (call.stream, call.output_tokens, call.tools) == (True, 32_000, True)
    assert sent(call, 20_000) == SDK | {"model": "real", "max_tokens": 20_000}


def test_a_lower_grant_lowers_thinking_with_it():
    call = MESSAGES.parse(json.dumps(SDK).encode())
    assert sent(call, 8_000)["thinking"] == {"type": "enabled", "budget_tokens": 6_000}
    least = sent(call, 256)
    assert least["thinking"] == {"type": "disabled"}
    assert least["context_management"] == {"edits": []}


def test_outgoing_golden():
    call = parse(system="s", temperature=None)
    assert MESSAGES.outgoing(call, model="claude-x", output_tokens=33) == (
        b'{"model":"claude-x","max_tokens":33,"messages":[{"role":"user","content":"hi"}],"system":"s"}'
    )


def test_the_limit_is_set_where_none_was_asked():
    call = MESSAGES.parse(b'{"model": "m", "messages": []}')
    assert call.output_tokens is None
    assert sent(call, 5)["max_tokens"] == 5


def test_cache_marks_lose_the_longer_time_wherever_they_are():
    longer = {"type": "ephemeral", "ttl": "1h"}
    text = {"type": "text", "text": "x", "cache_control": longer}
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [text], "cache_control": longer}
    document = {"type": "document", "source": {"type": "content", "content": [text]}, "cache_control": longer}
    tool = {"name": "x", "input_schema": {}, "cache_control": longer}
    call = parse(**content(text, nested, document), system=[text], tools=[tool], cache_control=longer)
    goes = json.dumps(sent(call))
    assert "ttl" not in goes
    assert goes.count("ephemeral") == 8


@pytest.mark.parametrize(
    ("more", "kind", "hint"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "provider_tool", "plain tool"),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "provider_tool", "plain tool"),
        ({"tools": [{"type": "code_execution_20250825", "name": "x"}]}, "provider_tool", "plain tool"),
        ({"tools": [{"type": "computer_20250124", "name": "computer"}]}, "provider_tool", "plain tool"),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}, "provider_tool", "plain tool"),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, "provider_tool", "plain tool"),
        ({"container": "container_1"}, "provider_tool", "plain tool"),
        (content({"type": "server_tool_use", "id": "s", "name": "web_search"}), "provider_tool", "tool_use"),
        (content({"type": "web_search_tool_result", "content": []}), "provider_tool", "tool_use"),
        (content({"type": "mcp_tool_use", "id": "s"}), "provider_tool", "tool_use"),
        (content({"type": "container_upload", "file_id": "f"}), "provider_tool", "tool_use"),
        (content(source("image", type="url", url="https://x")), "remote_url", "inline"),
        (content(source("image", type="file", file_id="f")), "server_state", "inline"),
        (content(source("document", type="url", url="https://x")), "remote_url", "inline"),
        (content(source("document", type="file", file_id="f")), "server_state", "inline"),
        (content({"type": "document", "source": {"type": "base64", "media_type": "application/pdf",
                                                 "data": "AAAA"}}), "not_boundable", "text"),
        (content({"type": "tool_result", "tool_use_id": "t", "content": [
            source("image", type="url", url="https://x")]}), "remote_url", "inline"),
        (content({"type": "compaction", "content": "x"}), "unknown_field", "send text"),
        (content({"type": "text", "text": "x", "file_id": "f"}), "unknown_field", "leave it out"),
        (content({"type": ["text"]}), "unknown_field", "send text"),
        ({"messages": [{"role": "user", "content": "x", "cache": 1}]}, "unknown_field", "leave it out"),
        ({"system": [source("image", type="url", url="https://x")]}, "remote_url", "inline"),
        ({"context_management": {"edits": [{"type": "compact_2026"}]}}, "not_boundable", "clear_tool_uses"),
        ({"service_tier": "priority"}, "costs_more", "standard_only"),
        ({"speed": "fast"}, "costs_more", "leave it out"),
        ({"inference_geo": "us"}, "costs_more", "leave it out"),
        ({"n": 2}, "costs_more", "one answer"),
        ({"previous_response_id": "x"}, "server_state", "whole conversation"),
        ({"betas": ["x"]}, "unknown_field", "leave it out"),
        ({"max_tokens": 10.5}, "malformed", "from 1 on"),
        ({"messages": {}}, "malformed", "list"),
    ],
    ids=lambda value: str(value)[:70],
)  # fmt: skip
def test_a_dangerous_feature_is_refused_by_name(more, kind, hint):
    with pytest.raises(CallRefused) as refused:
        parse(**more)
    assert (refused.value.kind, refused.value.status) == (kind, 400)
    assert hint in refused.value.hint
    assert next(iter(more)) in refused.value.text


def test_images_inside_the_call_count_as_tokens_wherever_they_are():
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}
    image = {"type": "image", "source": source}
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    inner = {"type": "document", "source": {"type": "content", "content": [image]}}
    call = parse(**content(image, nested, inner))
    assert call.image_tokens == 3 * IMAGE_TOKENS
    assert call.input_bytes < 1_500


def test_text_documents_and_search_results_pass():
    blocks = [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "x"},
            "title": "t",
        },
        {
            "type": "search_result",
            "source": "https://x",
            "title": "t",
            "content": [{"type": "text", "text": "x"}],
        },
    ]
    assert sent(parse(**content(*blocks)))["messages"][0]["content"] == blocks


def test_headers_golden():
    asked = {
        "anthropic-beta": "interleaved-thinking-2025-05-14, fast-mode-2026-02-01,code-execution-2025-08-25,"
        "context-1m-2025-08-07,mcp-client-2025-04-04,files-api-2025-04-14",
        "anthropic-version": "1999-01-01",
    }
    assert MESSAGES.headers("k", asked) == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
        "x-api-key": "k",
        "anthropic-beta": "interleaved-thinking-2025-05-14,context-1m-2025-08-07",
    }
    assert "anthropic-beta" not in MESSAGES.headers("k", {"anthropic-beta": "effort-2025\r\nx: y"})
