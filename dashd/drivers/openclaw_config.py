"""What OpenClaw is told in its configuration, in either mode: nothing that calls home, looks around or runs
by itself; one provider an agent, no fallback, since retries, deadlines and other models are the proxy's.
"""

from collections.abc import Mapping
from typing import Any

from dashd.domain.speech import FormatName

from .driver import ModelAccess

OUTPUT_TOKENS = 8_192
FOREVER_S = 2_000_000
"""The proxy owns the deadlines of calls, and Dash those of attempts; a call that is held is not given up, as
when an agent is paused for days. A timer of Node's takes no more than 2,147,483 seconds.
"""
APIS: dict[FormatName, str] = {"openai-chat": "openai-completions", "anthropic": "anthropic-messages"}
"""What OpenClaw calls the formats that it speaks; the first is preferred."""
TOOLS = ("read", "write", "edit", "exec", "process")
GUEST: dict[str, Any] = {"skills": [], "contextInjection": "never", "utilityModel": ""}
"""What is said for one agent where its gateway's defaults are somebody else's."""
ENVIRON = {
    "OPENCLAW_DISABLE_BONJOUR": "1",
    "OPENCLAW_NO_RESPAWN": "1",
    "OPENCLAW_SKIP_CHANNELS": "1",
    "OPENCLAW_EXEC_SHELL_SNAPSHOT": "0",
    "OPENCLAW_CHILD_OOM_SCORE_ADJ": "0",  # each command would fail at it, and say so to the model
    "OPENCLAW_NO_AUTO_UPDATE": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
}


def provider(model: ModelAccess) -> dict[str, Any]:
    """An agent's way to its one model."""
    free = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}  # the proxy alone counts
    offered = {
        "id": model.name,
        "name": model.name,
        "reasoning": False,
        "input": ["text"],
        "contextWindow": model.context,
        "maxTokens": model.output(OUTPUT_TOKENS),
        "cost": free,
        "compat": {"supportsUsageInStreaming": True},
    }
    # Each of its clients has a base address of its own: that of Anthropic's puts /v1/messages behind it.
    address = model.url.removesuffix("/v1") if model.format == "anthropic" else model.url
    return {
        "baseUrl": address,
        "apiKey": model.key,
        "api": APIS[model.format],
        "timeoutSeconds": FOREVER_S,
        "models": [offered],
    }


def agent(provider_name: str, model: str, cwd: str) -> dict[str, Any]:
    """An agent, that works in a folder with the model of a provider."""
    return {
        "workspace": cwd,
        "model": {"primary": f"{provider_name}/{model}", "fallbacks": []},
        "tools": {"allow": list(TOOLS)},
    }


def lists(told: Mapping[str, Any], path: str) -> list[str]:
    """Paths of the lists in it, which have to be named where they are to be removed; of lists the outermost.
    https://docs.openclaw.ai/gateway/configuration
    """
    found = []
    for key, value in told.items():
        if isinstance(value, list):
            found.append(f"{path}.{key}")
        elif isinstance(value, Mapping):
            found += lists(value, f"{path}.{key}")
    return found


def whole(
    providers: Mapping[str, Any],
    agents: Mapping[str, Any],
    *,
    gateway: Mapping[str, Any],
    plugins: Mapping[str, Any],
    workspace_only: bool,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration. Outside of `workspace_only` it is the kernel that keeps an agent in its folders."""
    told = {
        "skipBootstrap": True,
        "contextInjection": "never",
        "skills": [],
        "heartbeat": {"every": "0m"},
        "timeoutSeconds": FOREVER_S,
        "utilityModel": "",
        "sandbox": {"mode": "off"},  # the jail is Dash's
    }
    return {
        "gateway": {"mode": "local", **gateway},
        "update": {"checkOnStart": False},
        "telemetry": {"enabled": False},
        "discovery": {"mdns": {"mode": "off"}},
        "cron": {"enabled": False},
        # Its clean-up after each session is a worker of its own, over databases that end with their swarm: a
        # tenth of a warm run's time, a quarter of a first one's, and what other parts of it were kept out by.
        "session": {"maintenance": {"mode": "warn"}},
        "plugins": dict(plugins),
        "models": {"mode": "replace", "providers": dict(providers)},
        "tools": {
            "exec": {"host": "gateway", "security": "full", "ask": "off"},
            "fs": {"workspaceOnly": workspace_only},
            "toolSearch": False,
        },
        "agents": {
            "ownership": "explicit",
            "defaults": {**told, **(defaults or {})},
            "entries": dict(agents),
        },
    }
