"""From words to an exit code: finds the command, runs it, and says what failed.

The only place where failures become output. A command without arguments of its own is run without
argparse, which keeps `dashctl status` close to the cost of the interpreter itself.
"""

from __future__ import annotations

import os
import sys

from dashctl import calling, commands, terminal
from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from types import SimpleNamespace
    from typing import TextIO


def main() -> int:
    """The entry point `dashctl`."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal's encoding lacks is shown as ?; a lone surrogate never stops a command.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # both are TextIOWrapper here
    return run(sys.argv[1:], os.environ.copy(), sys.stdout, sys.stderr, sys.stdin)


def run(
    argv: Sequence[str], environ: MutableMapping[str, str], stdout: TextIO, stderr: TextIO, stdin: TextIO
) -> int:
    """Runs one command line and gives its exit code; `environ` takes up --socket and --state-dir."""
    # Until the arguments are read, this is where a mistake in them is shown.
    own = argv[: argv.index("--")] if "--" in argv else argv
    out = terminal.Output(stdout, stderr, stdin, environ, as_json="--json" in own)
    try:
        args, command = _arguments(argv, out)
        if command is None:
            return 0
        _export(args, environ)
        out = terminal.Output(stdout, stderr, stdin, environ, as_json=args.json, color=args.color)
        dash = calling.Dash(environ)
        try:
            code = command.run(args, dash, out)
            out.flush()
        finally:
            dash.close()
        return code
    except calling.Failure as failure:
        return _say(out, failure.error, failure.exit_code)
    except client_blocking.CallFailed as failure:
        return _say(out, failure.as_dict(), calling.exit_code(failure))
    except KeyboardInterrupt:
        out.passing("")
        return calling.EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence(stdout)
        return 0
    except SystemExit as leaving:
        return int(leaving.code or 0)


def _arguments(argv: Sequence[str], out: terminal.Output) -> tuple[SimpleNamespace, commands.Command | None]:
    """The command and its arguments; no command where help was wanted, which is then printed."""
    try:
        words, command, rest = commands.find(argv)
    except commands.Unknown as problem:
        from dashctl import grammar

        raise grammar.unknown(problem) from None
    if command is None:
        return _help(words, rest, out), None
    if command.arguments is None and not command.passes_on and set(rest) <= {"--json"}:
        return commands.bare(as_json=bool(rest)), command
    from dashctl import grammar

    return grammar.parse(words, command, rest), command


def _help(words: Sequence[str], rest: Sequence[str], out: terminal.Output) -> SimpleNamespace:
    from dashctl import grammar

    if not words and "--version" in rest:
        import dashd

        out.line(f"dashctl {dashd.__version__}")
    elif strange := [
        word for word in rest if word.startswith("-") and word not in ("-h", "--help", "--json")
    ]:
        raise calling.UsageError(
            f"there is no option '{strange[0]}' here", hint=" ".join(("dashctl", *words, "--help"))
        )
    else:
        out.block(grammar.noun_help(words[0]) if words else grammar.top_help())
    return commands.bare(as_json=False)


def _export(args: SimpleNamespace, environ: MutableMapping[str, str]) -> None:
    """Flags win over the environment, here and in the dashd that `up` starts."""
    if args.state_dir:
        environ["DASH_STATE_DIR"] = os.path.abspath(args.state_dir)
        if not args.socket:
            environ.pop("DASH_SOCKET", None)
    if args.socket:
        environ["DASH_SOCKET"] = os.path.abspath(args.socket)


def _say(out: terminal.Output, error: dict[str, object], code: int) -> int:
    try:
        out.failure(error)
    except BrokenPipeError:
        return code
    return code


def _silence(stdout: TextIO) -> None:
    """Points stdout elsewhere, because the interpreter flushes it once more at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    sys.exit(main())
