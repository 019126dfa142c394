"""Which commands there are, and which words of a command line name one.

Each module of this package has a table `COMMANDS`; only the module that was called is loaded.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Sequence
    from types import SimpleNamespace

    from dashctl.calling import Dash
    from dashctl.terminal import Output

    Run = Callable[[SimpleNamespace, Dash, Output], int]

NOUNS = {
    "swarm": "many agents on one goal",
    "agent": "the seats of a swarm and what runs in them",
    "task": "the units of work in a swarm's queue",
    "budget": "who may spend how much",
    "provider": "who serves models, and the keys",
    "key": "what programs outside show to call models through Dash",
    "program": "agent programs, and where they are",
    "model": "which models can be called, and their prices",
    "gateway": "processes that agents run in together",
    "instance": "places where Pis run",
    "gate": "what needs a yes, or is refused",
    "approval": "what waits for a yes",
    "worktree": "the clones of a repository that agents work in",
    "merge": "the queue that puts together what they brought back",
    "session": "the conversations of agents",
    "audit": "who did what",
}
"""Modules whose verbs are second words: `dashctl swarm create`."""

WORDS = {
    "up": "daemon",
    "down": "daemon",
    "restart": "daemon",
    "status": "daemon",
    "events": "events",
    "demo": "local",
    "doctor": "local",
    "config": "local",
    "version": "local",
    "completion": "complete",
    "__complete": "complete",
}
"""First words that are commands, and the module each lives in."""

GLOBAL_VALUES = ("--socket", "--state-dir", "--color")
GLOBAL_FLAGS = ("--json",)


class Command:
    """One command: what it is for, its arguments, what it does."""

    __slots__ = ("arguments", "details", "passes_on", "run", "summary", "takes_argv")

    def __init__(
        self,
        run: Run,
        summary: str,
        arguments: Callable[[ArgumentParser], None] | None = None,
        *,
        details: str = "",
        takes_argv: bool = False,
        passes_on: bool = False,
    ) -> None:
        """`takes_argv`: what follows `--` is `args.argv`; `passes_on`: all that follows is."""
        self.run = run
        self.summary = summary
        self.arguments = arguments
        self.details = details
        self.takes_argv = takes_argv
        self.passes_on = passes_on


class Unknown(Exception):
    """The words name no command."""

    def __init__(self, word: str, among: Sequence[str], noun: str = "") -> None:
        """`among` are the words that would have been right."""
        super().__init__(word)
        self.word, self.among, self.noun = word, among, noun


def bare(*, as_json: bool) -> SimpleNamespace:
    """The arguments of a command that was given none but `--json`."""
    from types import SimpleNamespace

    return SimpleNamespace(json=as_json, socket=None, state_dir=None, color="auto")


def of_module(name: str) -> dict[str, Command]:
    """The commands of one module, by their word."""
    # importlib.import_module would do the same and cost half a millisecond to load.
    module = __import__(f"dashctl.commands.{name}", fromlist=["COMMANDS"])
    table: dict[str, Command] = module.COMMANDS
    return table


def find(argv: Sequence[str]) -> tuple[tuple[str, ...], Command | None, list[str]]:
    """`(words, command, other arguments)`; no command where the words name a group or nothing at all.

    Global options may stand before the words; they come back among the other arguments. Raises Unknown.
    """
    before, rest = _leading_options(argv)
    if not rest or rest[0].startswith("-"):
        return (), None, [*before, *rest]
    word, *rest = rest
    if word in WORDS:
        return (word,), of_module(WORDS[word])[word], [*before, *rest]
    if word not in NOUNS:
        raise Unknown(word, [*NOUNS, *(known for known in WORDS if not known.startswith("_"))])
    between, rest = _leading_options(rest)
    if not rest or rest[0].startswith("-"):
        return (word,), None, [*before, *between, *rest]
    verb, *rest = rest
    table = of_module(word)
    if verb not in table:
        raise Unknown(verb, list(table), noun=word)
    return (word, verb), table[verb], [*before, *between, *rest]


def _leading_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    at = 0
    while at < len(argv) and argv[at].partition("=")[0] in (*GLOBAL_FLAGS, *GLOBAL_VALUES):
        at += 2 if argv[at] in GLOBAL_VALUES else 1
    return list(argv[:at]), list(argv[at:])
