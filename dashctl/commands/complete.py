"""`dashctl completion SHELL`, and the hidden `dashctl __complete` that its scripts call.

The scripts hold no knowledge: they hand over the words, the last of them unfinished, and get candidates,
one a line. Ids come from dashd where it answers quickly, and are left out where it does not.
"""

from __future__ import annotations

from dashctl import commands, grammar
from dashctl.commands import Command
from dashd import client_blocking
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from types import SimpleNamespace

    from dashctl.calling import Dash
    from dashctl.terminal import Output

IDS_S = 1.0
IDS_MAX = 100

SCRIPTS = {
    "bash": """_dashctl() {
    local IFS=$'\\n'
    COMPREPLY=($(dashctl __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _dashctl dashctl""",
    "zsh": """#compdef dashctl
_dashctl() {
    local -a found
    found=("${(@f)$(dashctl __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ $funcstack[1] == _dashctl ]]; then _dashctl "$@"; else compdef _dashctl dashctl; fi""",
    "fish": """function __dashctl_complete
    set -l words (commandline -opc)
    dashctl __complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c dashctl -f -a '(__dashctl_complete)'""",
}
_WHERE = {
    "bash": 'eval "$(dashctl completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(dashctl completion zsh)"  in ~/.zshrc, after compinit',
    "fish": "dashctl completion fish > ~/.config/fish/completions/dashctl.fish",
}
_LISTS = {
    "swarm": "swarm.list",
    "swarms": "swarm.list",
    "agent": "agent.list",
    "agents": "agent.list",
    "task": "task.list",
    "tasks": "task.list",
}


def completion(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Prints the completion script of a shell."""
    out.block(SCRIPTS[args.shell])
    return 0


def complete(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Prints what the last word may become."""
    *words, unfinished = args.argv or [""]
    for candidate in sorted(set(candidates(words, unfinished, dash))):
        if candidate.startswith(unfinished):
            out.line(candidate)
    return 0


def candidates(words: Sequence[str], unfinished: str, dash: Dash) -> Iterable[str]:
    """What may come after `words`; not yet filtered by `unfinished`, which says if options are wanted."""
    if "--" in words:
        return []
    try:
        found, command, rest = commands.find(words)
    except commands.Unknown:
        return []
    if command is None:
        if rest and rest[-1] in commands.GLOBAL_VALUES:
            return list(grammar.COLOR_CHOICES) if rest[-1] == "--color" else []
        if unfinished.startswith("-"):
            return [*commands.GLOBAL_FLAGS, *commands.GLOBAL_VALUES, "--help"]
        if found:
            return list(commands.of_module(found[0]))
        return [*commands.NOUNS, *(word for word in commands.WORDS if not word.startswith("_"))]
    if command.passes_on:
        return []
    return _of_command(grammar.parser_of(found, command), rest, unfinished, dash)


def _of_command(
    parser: argparse.ArgumentParser, rest: Sequence[str], unfinished: str, dash: Dash
) -> Iterable[str]:
    by_option = {option: action for action in parser._actions for option in action.option_strings}
    taking = by_option.get(rest[-1]) if rest else None
    if taking is not None and taking.nargs != 0:
        return _values(taking, dash)
    if unfinished.startswith("-"):
        return [option for option in by_option if option.startswith("--") or unfinished == "-"]
    positionals = [action for action in parser._actions if not action.option_strings]
    given = _given(rest, by_option)
    if given < len(positionals):
        return _values(positionals[given], dash)
    if positionals and positionals[-1].nargs == "+":
        return _values(positionals[-1], dash)
    return []


def _given(rest: Sequence[str], by_option: dict[str, argparse.Action]) -> int:
    """How many positional words there are already."""
    count, value_of = 0, False
    for word in rest:
        if value_of:
            value_of = False
        elif word.startswith("-"):
            action = by_option.get(word)
            value_of = action is not None and action.nargs != 0
        else:
            count += 1
    return count


def _values(action: argparse.Action, dash: Dash) -> Iterable[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    # `task` is an id where the argument is called TASK in a command of tasks, and words in `create`.
    if action.dest in _LISTS and not (action.dest == "task" and action.help):
        return _ids(_LISTS[action.dest], dash)
    return []


def _ids(method: str, dash: Dash) -> list[str]:
    try:
        page = dash.call(method, limit=IDS_MAX, deadline_s=IDS_S)
    except client_blocking.CallFailed:
        return []
    return [safe.line(row["id"]) for row in page["items"]]


def _completing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(SCRIPTS), metavar="SHELL", help="bash, zsh or fish")


COMMANDS = {
    "completion": Command(
        completion,
        "print the completion script of a shell",
        _completing,
        details="\n".join(f"{shell}: {where}" for shell, where in _WHERE.items()),
    ),
    "__complete": Command(complete, "what may come next", passes_on=True),
}
