"""Who plays the agents of the demo, and what follows from it: money, patience, and where the programs are.

`embedded` is Dash's own and always there. A real program brings a longer prompt, wants more room for its
answers than the story's money allows, and takes its time to start: Pi half a second of a core, OpenClaw ten.
`dashd doctor` says where it is, by the user's configuration; the demo's own dashd is given the paths alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field, replace

from dashctl import calling, daemon_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ASK_S_MAX = 60.0
SPARED_BYTES = 2 << 30
AGENTS_MIN = 4
NEEDS = {"embedded": (), "pi": ("node", "pi"), "openclaw": ("node", "openclaw")}


@dataclass(frozen=True, slots=True)
class Cast:
    """One driver's part."""

    driver: str = "embedded"
    agent_usd: float = 0.05
    """The swarm may spend so much for each agent: a dollar for twenty."""
    cap_usd: float = 0.04
    """An agent may spend so much: a file and a crash charge fit, what the greedy one wants does not."""
    answer_tokens_max: int | None = None
    """Of the stand-in, where the program asks for more: so much is held for each call."""
    story_s_max: float = 120.0
    """A busy machine needs longer than the usual dozen seconds; a hung one is given up."""
    attempt_s: int = 300
    each_bytes: int = 0
    """Of memory. All of them run at once: one that did another's file as well would come to its cap."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """For the demo's own dashd."""


_CASTS = {
    "embedded": Cast(),
    "pi": Cast("pi", cap_usd=0.038, answer_tokens_max=1_600, story_s_max=300.0),
    "openclaw": Cast(
        "openclaw",
        agent_usd=0.09,
        cap_usd=0.08,
        answer_tokens_max=1_600,
        story_s_max=1_800.0,
        attempt_s=1_800,
        each_bytes=1 << 30,
    ),
}


def of(driver: str, environ: Mapping[str, str], agents: int) -> Cast:
    """The driver's part. Raises Failure, with what to do, where one is not here or so many do not fit."""
    cast = _CASTS[driver]
    if not NEEDS[driver]:
        return cast
    found = _programs(environ)
    for name in NEEDS[driver]:
        if name not in found:
            raise calling.Failure(
                f"the demo with driver {driver} needs {name}, which is not installed",
                hint=f"dashctl program install {driver} (dashctl up first), then run the demo again",
            )
    own = {f"DASH_PROGRAMS_{name.upper()}": found[name] for name in NEEDS[driver]}
    if cast.each_bytes:
        fit = (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") - SPARED_BYTES) // cast.each_bytes
        if fit < agents:
            raise calling.Failure(
                f"{agents} agents of driver {driver} take {agents * cast.each_bytes >> 30} GiB of memory",
                hint=f"--agents {fit} fits here" if fit >= AGENTS_MIN else "none of it fits; --driver pi may",
            )
        own[f"DASH_PROGRAMS_{driver.upper()}_SESSIONS_MAX"] = str(agents)
    return replace(cast, environ=own)


def _programs(environ: Mapping[str, str]) -> dict[str, str]:
    """Paths by name, of those that are here."""
    asked = subprocess.run(
        daemon_process.argv_of("doctor", "--json"),
        env=daemon_process.environ_of(environ),
        capture_output=True,
        text=True,
        timeout=ASK_S_MAX,
        check=False,
    )
    try:
        return {each["name"]: each["path"] for each in json.loads(asked.stdout)["programs"]}
    except (ValueError, KeyError, TypeError):
        raise calling.Failure(f"dashd doctor said nothing of programs: {asked.stderr.strip()}") from None
