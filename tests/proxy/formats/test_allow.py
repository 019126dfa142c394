"""What no format lets through is refused by name, with the reason and what would pass."""

import pytest

from dashd.proxy.formats import CallRefused, allow

PLAIN = [
    {"type": "function", "function": {"name": "bash", "parameters": {}}},
    {"type": "function", "name": "bash", "parameters": {}},
    {"type": "custom", "name": "patch"},
    {"type": "custom", "custom": {"name": "patch"}},
    {"name": "web_search", "input_schema": {"type": "object"}},
]
PROVIDERS = [
    *("web_search", "web_search_preview", "web_search_20250305", "web_search_preview_2025_03_11"),
    *("web_fetch_20250910", "code_interpreter", "code_execution_20250825", "file_search", "image_generation"),
    *("computer_use_preview", "computer_20250124", "computer", "mcp", "local_shell", "shell", "apply_patch"),
    *("bash_20250124", "text_editor_20250728", "memory_20250818", "tool_search_tool_regex_20251119"),
    *("mcp_toolset", "namespace", "builtin_function", "$web_search", "retrieval", "Web_Search", ""),
]


def test_plain_tools_pass():
    allow.check_tools(PLAIN, "tools")


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_tool_that_the_provider_runs_is_refused_by_name(kind):
    with pytest.raises(CallRefused, match="provider runs") as refused:
        allow.check_tools([PLAIN[0], {"type": kind, "name": "x", "function": {"name": "x"}}], "tools")
    assert (refused.value.kind, refused.value.path) == ("provider_tool", "tools[1]")
    assert f"'{kind}'" in refused.value.message
    assert "plain tool" in refused.value.hint


@pytest.mark.parametrize(
    "tool", [{"google_search": {}}, {"url_context": {}}, {}, {"type": "function"}, {"type": 7}]
)
def test_a_tool_of_another_spelling_is_refused(tool):
    with pytest.raises(CallRefused, match="tool of your own"):
        allow.check_tools([tool], "tools")


@pytest.mark.parametrize(
    ("tool", "named", "path"),
    [
        ({"name": "x", "google_search": {}}, "google_search", "tools[0]"),
        ({"type": "function", "function": {"name": "x"}, "web_search": {}}, "web_search", "tools[0]"),
        ({"type": "function", "function": {"name": "x", "mcp": 1}}, "mcp", "tools[0].function"),
        ({"name": "x", "allowed_callers": ["code_execution_20250825"]}, "allowed_callers", "tools[0]"),
        ({"type": "custom", "name": "x", "function": []}, "object", "tools[0].function"),
    ],
)
def test_a_plain_tool_carries_nothing_that_nobody_knows(tool, named, path):
    with pytest.raises(CallRefused, match=named) as refused:
        allow.check_tools([tool], "tools")
    assert refused.value.path == path


def test_what_agents_say_of_their_tools_passes():
    said = {"description": "d", "strict": True, "cache_control": {"type": "ephemeral"}}
    streamed = {
        "input_schema": {},
        "input_examples": [],
        "eager_input_streaming": True,
        "defer_loading": True,
    }
    grammar = {"type": "custom", "custom": {"name": "x", "format": {"type": "text"}}}
    inner = {
        "type": "function",
        "function": {"name": "x", "parameters": {}, "strict": None, "description": "d"},
    }
    allow.check_tools([{"name": "x", **said, **streamed}, inner, grammar], "tools")


@pytest.mark.parametrize("tools", [{}, "web_search", ["web_search"], [None]])
def test_tools_are_a_list_of_objects(tools):
    with pytest.raises(CallRefused) as refused:
        allow.check_tools(tools, "tools")
    assert refused.value.kind == "malformed"


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "name": "x"},
        {"type": "tool", "name": "x"},
        {"type": "any"},
    ],
    ids=str,
)
def test_a_choice_among_plain_tools_passes(choice):
    allow.check_tool_choice(choice, "tool_choice")


@pytest.mark.parametrize("choice", [{"type": "web_search_preview"}, {"type": "mcp"}, {}, []], ids=str)
def test_a_choice_of_the_providers_tool_does_not(choice):
    with pytest.raises(CallRefused):
        allow.check_tool_choice(choice, "tool_choice")


def test_the_longer_cache_time_is_taken_off_marks_and_tools():
    mark = {"type": "ephemeral", "ttl": "1h"}
    allow.short_cache(mark, "at")
    assert mark == {"type": "ephemeral"}
    tool = {"name": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    allow.check_tools([tool], "tools")
    assert tool["cache_control"] == {"type": "ephemeral"}
    inner = {"name": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    allow.check_tools([{"type": "function", "function": inner}], "tools")
    assert inner["cache_control"] == {"type": "ephemeral"}


def test_an_unlisted_field_is_refused_by_name():
    with pytest.raises(CallRefused, match="'turbo'") as refused:
        allow.check_fields({"turbo": True}, {"model": allow.passes})
    assert (refused.value.kind, refused.value.hint) == ("unknown_field", "leave it out")


def test_a_null_passes_where_its_field_is_known():
    allow.check_fields({"audio": None}, {"audio": allow.NO_AUDIO})
    with pytest.raises(CallRefused):
        allow.check_fields({"audio": {}}, {"audio": allow.NO_AUDIO}, "messages[0].")


@pytest.mark.parametrize("value", [True, 1.0, "1", 2, 0, [1]])
def test_only_the_very_value_passes(value):
    allow.ONE_ANSWER(1, "n")
    with pytest.raises(CallRefused, match="paid for"):
        allow.ONE_ANSWER(value, "n")
