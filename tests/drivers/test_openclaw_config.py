"""What OpenClaw is told of models and tools, in either mode."""

import pytest

from dashd.domain.speech import FormatName
from dashd.drivers import openclaw_config
from dashd.drivers.driver import CONTEXT_TOKENS, ModelAccess


def test_nothing_calls_home_falls_back_or_searches_for_tools() -> None:
    provider = openclaw_config.provider(ModelAccess("http://127.0.0.1:8787/v1", "dk_1", "a -> b"))
    agent = openclaw_config.agent("dash", "a -> b", "/w")
    whole = openclaw_config.whole(
        {"dash": provider}, {"a": agent}, gateway={}, plugins={"enabled": False}, workspace_only=True
    )
    assert (provider["baseUrl"], provider["apiKey"]) == ("http://127.0.0.1:8787/v1", "dk_1")
    assert agent["model"] == {"primary": "dash/a -> b", "fallbacks": []}
    assert whole["models"] == {"mode": "replace", "providers": {"dash": provider}}
    assert (whole["update"], whole["telemetry"]) == ({"checkOnStart": False}, {"enabled": False})
    assert (whole["tools"]["toolSearch"], whole["cron"]) == (False, {"enabled": False})
    assert whole["agents"]["defaults"]["utilityModel"] == ""
    assert whole["session"] == {"maintenance": {"mode": "warn"}}, "nothing runs by itself"


def test_a_small_model_is_told_as_one() -> None:
    model = ModelAccess("http://127.0.0.1:1/v1", "k", "m", 20_000)
    (offered,) = openclaw_config.provider(model)["models"]
    assert (offered["contextWindow"], offered["maxTokens"]) == (20_000, 5_000)
    (offered,) = openclaw_config.provider(ModelAccess("http://127.0.0.1:1/v1", "k", "m"))["models"]
    assert offered["contextWindow"] == CONTEXT_TOKENS


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("openai-chat", ("openai-completions", "http://127.0.0.1:1/v1")),
        ("anthropic", ("anthropic-messages", "http://127.0.0.1:1")),
    ],
)
def test_a_format_has_a_client_and_a_base_address(form: FormatName, told: tuple[str, str]) -> None:
    provider = openclaw_config.provider(ModelAccess("http://127.0.0.1:1/v1", "k", "m", format=form))
    assert (provider["api"], provider["baseUrl"]) == told


def test_a_mode_adds_what_is_its_own() -> None:
    whole = openclaw_config.whole(
        {}, {}, gateway={"port": 1}, plugins={}, workspace_only=False, defaults={"maxConcurrent": 7}
    )
    assert whole["gateway"] == {"mode": "local", "port": 1}
    assert whole["agents"]["defaults"]["maxConcurrent"] == 7
    assert whole["agents"]["defaults"]["skipBootstrap"]
    assert whole["tools"]["fs"] == {"workspaceOnly": False}
