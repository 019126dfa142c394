"""Which walls the demo's agents will have, asked of `dashd doctor`, which tries them for real."""

from __future__ import annotations

import json
import subprocess

from dashctl import calling, daemon_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ASK_S_MAX = 60.0
_TOLD = {"A": "walls of grade A", "B": "walls of grade B", "C": "walls of grade C only"}


def grade(environ: Mapping[str, str]) -> str:
    """The grade's letter. Raises Failure, with what to install, where the demo's agents would have none."""
    asked = subprocess.run(
        daemon_process.argv_of("doctor", "--json"),
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=ASK_S_MAX,
        check=False,
    )
    try:
        findings = {each["name"]: each for each in json.loads(asked.stdout)["findings"]}
        found = findings["walls"]
    except (ValueError, KeyError, TypeError):
        raise calling.Failure(f"dashd doctor said nothing of walls: {asked.stderr.strip()}") from None
    if found["state"] == "fail":
        raise calling.Failure(f"no walls can be put around the agents: {found['text']}", hint=found["fix"])
    return str(found["text"]).removeprefix("grade ")[:1]


def told(letter: str) -> str:
    """In the first line's words."""
    return _TOLD[letter]
