"""`dashctl provider …`: who serves models. A secret is read from stdin, never from the command line."""

from __future__ import annotations

from dashctl import render
from dashctl.calling import EXIT_FAILED, UsageError
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Mapping
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

FORMATS = ("openai-chat", "openai-responses", "anthropic")
SECRET_CHARACTERS_MAX = 10_000
ADD_S = 60.0
"""Its secret's command is run before it is answered."""
TEST_S = 60.0
COLUMNS = (
    render.Column("PROVIDER", "name"),
    render.Column("FORMAT", "format"),
    render.Column("URL", "url", least=12, drop=1),
    render.Column("SECRET", "secret", drop=2),
    render.Column("MODELS", "models", right=True),
    render.Column("STATE", lambda row: _state(row), least=8),
)


def add(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Adds a provider; its secret comes on stdin, or from a command that prints it."""
    given: dict[str, object] = {
        "name": args.name,
        "format": args.format,
        "url": args.url,
        "models": args.model,
    }
    command = args.secret_command
    if command is not None and args.no_secret:
        raise UsageError("--secret-command and --no-secret contradict each other")
    if command is not None:
        if not command:
            raise UsageError("after --secret-command there must be a program", hint="… pass show one")
        given["secret_command"] = command
    elif not args.no_secret:
        given["secret"] = _secret(out)
    found = dash.call("provider.add", deadline_s=ADD_S, **given)
    if out.as_json:
        out.data(found)
        return 0
    out.line(f"Provider {found['name']} added: {found['models']} priced models, secret: {found['secret']}")
    if not found["models"]:
        out.line(
            f"Nothing of it can be called before it is priced: dashctl model set NAME --provider {args.name}"
        )
    out.line(f"Next: dashctl provider test {found['name']}")
    return 0


def list_(_args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the providers."""
    found = dash.call("provider.list")
    if out.as_json:
        out.data(found["providers"])
    elif found["providers"]:
        render.table(out, COLUMNS, found["providers"])
    else:
        out.line("There is no provider; a built-in stand-in answers, and only pretends.")
        out.line("Next: dashctl provider add openai --format openai-chat --url https://… < KEYFILE")
    return 0


def test(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Asks providers whether they answer and take the secret; exit code 1 where one does not."""
    names = args.names or [row["name"] for row in dash.call("provider.list")["providers"]]
    tested = [dash.call("provider.test", deadline_s=TEST_S, name=name) for name in names]
    if out.as_json:
        out.data(tested)
    for each in tested if not out.as_json else ():
        took = "" if each["latency_ms"] is None else f" ({each['latency_ms']:.0f} ms)"
        word, style = ("ok", "green") if each["ok"] else ("not ok", "red")
        out.line((each["name"], "bold"), ": ", (word, style), f": {safe.line(each['text'])}{took}")
    return 0 if all(each["ok"] for each in tested) else EXIT_FAILED


def remove(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Removes a provider and its secret."""
    found = dash.call("provider.remove", name=args.name)
    if out.as_json:
        out.data(found)
    else:
        out.line(f"Provider {found['name']} and its secret are gone")
    return 0


def _secret(out: Output) -> str:
    """One word from stdin; a person at a terminal types it unseen."""
    if out.stdin.isatty():
        import getpass

        secret = getpass.getpass("Key (not shown): ")
    else:
        secret = out.stdin.read(SECRET_CHARACTERS_MAX + 1)
    if not secret.strip():
        raise UsageError(
            "no secret came on stdin",
            hint="dashctl provider add … < KEYFILE, or --secret-command, or --no-secret where none is wanted",
        )
    if len(secret) > SECRET_CHARACTERS_MAX:
        raise UsageError(f"what came on stdin is longer than {SECRET_CHARACTERS_MAX} characters; no key is")
    return secret.strip()


def _state(row: Mapping[str, Any]) -> str:
    if row["frozen"]:
        return f"frozen: {row['frozen']}"
    if row["circuit"] != "closed":
        return f"circuit {row['circuit']}"
    return "up" if row.get("heard") else "unknown"


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a provider")


def _some(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="providers (all)")


def _adding(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what to call it: lower-case letters, digits, - and _")
    parser.add_argument("--format", choices=FORMATS, required=True, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--url", required=True, metavar="URL", help="before /chat/completions or /messages")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="a model it serves; the first is the default (what the price list knows of it)",
    )
    parser.add_argument(
        "--secret-command",
        nargs="...",  # argparse.REMAINDER: the command's options are its own
        metavar="WORD",
        help="the program that prints it, with its options, run now and at each start; give this last",
    )
    parser.add_argument("--no-secret", action="store_true", help="it wants no key: a server on this machine")


COMMANDS = {
    "add": Command(
        add,
        "add a provider, or replace it; its secret is read from stdin",
        _adding,
        details="example: dashctl provider add one --format openai-chat --url https://… --model M < KEYFILE",
    ),
    "list": Command(list_, "list the providers and how they fare", None),
    "test": Command(test, "ask providers whether they take the secret", _some),
    "remove": Command(remove, "remove a provider and its secret", _one),
}
