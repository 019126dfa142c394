"""OpenClaw in gateway mode: one process for all agents of a swarm, and what it is told of each.

Each agent has a provider of its own, with its own key, at the one listener of their jail: the key is what
tells their calls apart. One gateway is one domain of trust: an agent that may run commands can read the
configuration, with the keys of the others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashd.jail import view

from . import compiled, openclaw_config
from .command import passed_on
from .driver import Command
from .openclaw import GONE, RESERVED_BYTES
from .programs import Programs

STARTER = Path(__file__).with_name("openclaw_gateway_start.py")
PORT = 18_789
"""Inside, in a network of its own."""
AGENTS_MAX = 100
PREFIX = "dash-"


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent of a gateway, with its way to a model."""

    agent_id: str
    url: str
    key: str
    model: str
    cwd: str
    context_tokens: int | None = None


def agent_name(agent_id: str) -> str:
    """How the gateway calls an agent."""
    return agent_id.replace(".", "_").lower()


def session_key(agent_id: str, attempt_id: str) -> str:
    """The session of one attempt: a retry begins afresh."""
    return f"agent:{agent_name(agent_id)}:{attempt_id.replace('.', '_').lower()}"


def entries(seats: Sequence[Seat]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(providers, agents) of these seats."""
    providers, agents = {}, {}
    for seat in seats:
        name = agent_name(seat.agent_id)
        providers[f"{PREFIX}{name}"] = openclaw_config.provider(
            seat.url, seat.key, seat.model, seat.context_tokens
        )
        agents[name] = openclaw_config.agent(f"{PREFIX}{name}", seat.model, seat.cwd)
    return providers, agents


def change(seats: Sequence[Seat]) -> dict[str, Any]:
    """What is merged into the configuration of a gateway that runs, for further seats."""
    providers, agents = entries(seats)
    return {"models": {"providers": providers}, "agents": {"entries": agents}}


def config(seats: Sequence[Seat], token: str) -> dict[str, Any]:
    """All that a gateway is told."""
    providers, agents = entries(seats)
    return openclaw_config.whole(
        providers,
        agents,
        gateway={
            "bind": "loopback",
            "port": PORT,
            "auth": {"mode": "token", "token": token},
            "controlUi": {"enabled": False},
        },
        plugins={"enabled": False},
        workspace_only=False,
        defaults={"maxConcurrent": AGENTS_MAX},
    )


def command(programs: Programs, cwd: str, environ: Mapping[str, str]) -> Command:
    """What is executed in the jail; `told` is its standard input."""
    node, openclaw = programs.find("node"), programs.find("openclaw")
    folders = tuple(dict.fromkeys(each.folder for each in (node, openclaw) if each is not None))
    cache = programs.cache("openclaw")
    folders += (cache,) if cache else ()
    return Command(
        argv=(view.python(), "-I", "-S", f"{view.CODE}/dashd/drivers/{STARTER.name}"),
        env=passed_on(environ) | {"TERM": "dumb"} | (compiled.environ(cache) if cache else {}),
        cwd=cwd,
        stdin=True,
        programs=folders,
        reserved_bytes=RESERVED_BYTES,
    )


def told(programs: Programs, seats: Sequence[Seat], token: str) -> bytes:
    """The standard input of the starter."""
    node, openclaw = programs.find("node"), programs.find("openclaw")
    path = openclaw.path if openclaw else f"{GONE}/openclaw.mjs"
    is_script = path.endswith((".js", ".mjs", ".cjs"))
    program = [node.path if node else f"{GONE}/node", path] if is_script else [path]
    argv = [*program, "gateway", "run", "--port", str(PORT), "--bind", "loopback"]
    found = {"argv": argv, "env": openclaw_config.ENVIRON, "config": config(seats, token)}
    return json.dumps(found).encode()
