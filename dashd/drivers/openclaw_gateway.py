"""OpenClaw in gateway mode: one process for all agents of a swarm, and what it is told of each.

Each agent has a provider of its own, with its own key, at the one listener of their jail: the key is what
tells their calls apart. One gateway is one domain of trust: an agent that may run commands can read the
configuration, with the keys of the others.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashd.domain import ids
from dashd.domain.speech import USUAL, FormatName
from dashd.jail import view

from . import compiled, openclaw_config
from .command import passed_on
from .driver import Command, ModelAccess
from .openclaw import program_argv
from .programs import Programs, folders

STARTER = Path(__file__).with_name("openclaw_gateway_start.py")
PORT = 18_789
"""Inside, in a network of its own."""
AGENTS_MAX = 100
SHARED_RESERVED_BYTES = 32 << 30
"""One that 20 agents worked in had 18 GiB of address space and used 2 of memory; with 14 it ended."""
PREFIX = "dash-"
TAG_DIGITS = 6
DROP_MAX = 0.3
"""Of a configuration, in one change; at a half a gateway takes it for damage, and it counts more: what is
nested is written further to the right, and secrets are shown shorter than they are.
"""
SMALLER: tuple[dict[str, Any], ...] = (
    {"timeoutSeconds": None, "models": [{"id": "m", "name": "m"}]},
    {"baseUrl": "http://0", "apiKey": "-"},
)
"""How an agent's way to a model shrinks before it goes, where it is most of a configuration."""
Change = tuple[dict[str, Any], list[str]]
"""What is merged, and the lists that go with it."""
_NAME = re.compile(rf"([^.]+)-[0-9a-f]{{{TAG_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent of a gateway, with its way to a model."""

    agent_id: str
    url: str
    key: str
    model: str
    cwd: str
    tag: str = ""
    context_tokens: int | None = None
    format: FormatName = USUAL


def agent_name(agent_id: str, tag: str = "") -> str:
    """How the gateway calls an agent. With a `tag`, so that one of its starts knows nothing of an earlier
    one's: what it takes up again by itself is then another agent's.
    """
    name = agent_id.replace(".", "_").lower()
    return f"{name}-{tag}" if tag else name


def is_named(name: str, agent_id: str) -> bool:
    """Whether this is the agent's name, with whatever tag."""
    return name == agent_name(agent_id) or name.startswith(f"{agent_name(agent_id)}-")


def agent_id_of(name: str) -> str | None:
    """The agent of a name with a tag; None for one that Dash does not give."""
    found = _NAME.fullmatch(name)
    agent_id = found[1].replace("_", ".") if found else ""
    return agent_id if ids.AGENT.fullmatch(agent_id) else None


def tag_of(boot_id: str) -> str:
    """What names get in this start of a gateway."""
    return hashlib.sha256(boot_id.encode()).hexdigest()[:TAG_DIGITS]


def session_key(agent_id: str, launch_id: str, tag: str = "") -> str:
    """The session of one attempt, by the launch that began it: one that was lost is gone on with."""
    return f"agent:{agent_name(agent_id, tag)}:{launch_id.replace('.', '_').lower()}"


def entries(seats: Sequence[Seat]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(providers, agents) of these seats."""
    providers, agents = {}, {}
    for seat in seats:
        name = agent_name(seat.agent_id, seat.tag)
        model = ModelAccess(seat.url, seat.key, seat.model, seat.context_tokens, seat.format)
        providers[f"{PREFIX}{name}"] = openclaw_config.provider(model)
        agents[name] = openclaw_config.agent(f"{PREFIX}{name}", seat.model, seat.cwd)
    return providers, agents


def change(seats: Sequence[Seat]) -> dict[str, Any]:
    """What is merged into the configuration of a gateway that runs, for further seats."""
    providers, agents = entries(seats)
    return {"models": {"providers": providers}, "agents": {"entries": agents}}


def guests(seats: Sequence[Seat]) -> dict[str, Any]:
    """What is merged into the configuration of a gateway of somebody else's, so that these seats come."""
    told = change(seats)
    for agent in told["agents"]["entries"].values():
        agent |= openclaw_config.GUEST
    return told


def farewells(names: Iterable[str], providers: Mapping[str, int], size: int) -> list[Change]:
    """Changes, one after the other, after which the ways to a model of these agents are gone. The agents
    themselves are deleted before, not merged away, which a gateway refuses.

    `providers` are those of its configuration, with what each takes up, and `size` is that of all of it: a
    change that leaves less than half is refused as damage, and kept as a file of its own.
    """
    going = sorted({f"{PREFIX}{name}" for name in names} & set(providers))
    found: list[Change] = []
    while going:
        taken: list[str] = []
        while going and sum(providers[each] for each in (*taken, going[0])) <= size * DROP_MAX:
            taken.append(going.pop(0))
        if not taken:  # it alone is most of the configuration: made small first
            last = going.pop(0)
            path = f"models.providers.{last}"
            for each in SMALLER:
                lists = [f"{path}.models"] if "models" in each else []
                found.append(({"models": {"providers": {last: each}}}, lists))
            taken = [last]
        size -= sum(providers[each] for each in taken)
        paths = [f"models.providers.{each}" for each in taken]
        shape = openclaw_config.provider(ModelAccess("", "", "m"))
        lists = [each for path in paths for each in openclaw_config.lists(shape, path)]
        found.append(({"models": {"providers": dict.fromkeys(taken)}}, lists))
    return found


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
    cache = programs.cache("openclaw")
    return Command(
        argv=(view.python(), "-I", "-S", f"{view.CODE}/dashd/drivers/{STARTER.name}"),
        env=passed_on(environ) | {"TERM": "dumb"} | (compiled.environ(cache) if cache else {}),
        cwd=cwd,
        stdin=True,
        programs=folders(programs.find("node"), programs.find("openclaw"), cache=cache),
        reserved_bytes=SHARED_RESERVED_BYTES,
    )


def told(programs: Programs, seats: Sequence[Seat], token: str, state: str) -> bytes:
    """The standard input of the starter; `state` is the folder that the gateway finds its sessions in.

    Raises ProgramGone.
    """
    argv = [*program_argv(programs), "gateway", "run", "--port", str(PORT), "--bind", "loopback"]
    found = {"argv": argv, "env": openclaw_config.ENVIRON, "config": config(seats, token), "state": state}
    return json.dumps(found).encode()
