"""`dashctl demo`: Dash's promise, shown on this machine in less than half a minute.

    cast           who plays the agents: Dash's own small one, or a real program
    check          what an agent runs in its shell: compiles, reviews and notes down one file
    repository     the throw-away git repository, from Dash's own sources
    private_daemon a dashd of the demo's own: started, killed, started again, ended
    orchestrator   what a model does, through the MCP server: create, wait, read the report
    journal        what the agents wrote down themselves, counted; Dash's word is checked against it
    stand_in       the provider behind the stand-in for a model: its outage, and the bill it keeps itself
    money          what it cost, by Dash's ledger and by that bill
    play           who does what, and when; story: the whole, from the first line to the verdict
    leftovers      nothing of it stays behind; screen: what a person sees of it

Nothing outside of one temporary folder is touched, and no dashd or swarm of the user's is. `main` gives 0
only if every figure came true.
"""

from __future__ import annotations

import os
import shutil
import sys

from dashctl import calling, grammar, terminal
from dashctl.demo import cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

AGENTS = 20
AGENTS_MIN, AGENTS_MAX = cast.AGENTS_MIN, 50
LINES_PER_S = 100.0
"""How fast an agent reads a file, so that there is something to see: the real work takes milliseconds."""


def main(argv: Sequence[str]) -> int:
    """Runs the demo; 0: it came true, 1: it did not, 130: interrupted. Raises calling.Failure."""
    options = _options(argv)
    environ = os.environ
    out = terminal.Output(
        sys.stdout, sys.stderr, sys.stdin, environ, as_json=options.json, color=options.color
    )
    if shutil.which("git", path=environ.get("PATH")) is None:
        raise calling.Failure(
            "the demo needs git, and there is none on PATH",
            hint="install it (Debian, Ubuntu: apt-get install git), then run the demo again",
        )
    part = cast.of(options.driver, environ, options.agents)
    # trio and the MCP client take a second to load; a mistake in the arguments should not.
    from dashctl.demo import story

    return story.tell(
        out, environ, part, agents=options.agents, keep=options.keep, lines_per_s=options.lines_per_s
    )


def _options(argv: Sequence[str]) -> Namespace:
    parser = grammar.Parser(
        prog="dashctl demo",
        description="A swarm of agents on a throw-away repository, on a stand-in for a model, with a budget; "
        "their provider goes down, and dashd is killed half-way. "
        "Leaves nothing behind and touches no dashd of yours.",
        allow_abbrev=False,
    )
    parser.add_argument("--agents", type=_agents, default=AGENTS, metavar="N", help=f"how many ({AGENTS})")
    parser.add_argument(
        "--driver", choices=tuple(cast.NEEDS), default="embedded", help="what the agents are (embedded)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with repository and logs")
    parser.add_argument("--json", action="store_true", help="print one object of figures, nothing else")
    parser.add_argument("--color", choices=grammar.COLOR_CHOICES, default="auto", metavar="WHEN")
    parser.add_argument("--lines-per-s", type=float, default=LINES_PER_S, metavar="N", help="reviewers' pace")
    return parser.parse_args(argv)


def _agents(text: str) -> int:
    if text.isdecimal() and AGENTS_MIN <= int(text) <= AGENTS_MAX:
        return int(text)
    raise calling.UsageError(
        f"--agents cannot be '{text}'", hint=f"give a whole number from {AGENTS_MIN} to {AGENTS_MAX}"
    )
