"""What agents may reach, as the console asks for it and shows it: folders, hosts, walls or none."""

from __future__ import annotations

from dashctl import dollars, grammar, trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any


def arguments(parser: ArgumentParser) -> None:
    """Adds the flags."""
    folders(
        parser, "a folder that agents may write (all of --cwd)", "a folder outside --cwd that they can read"
    )
    parser.add_argument(
        "--mode",
        choices=("jailed", "gateway"),
        help="of driver openclaw: walls and a process for each agent, or for all of them together; with"
        " --unsafe-no-jail, gateway is those that were added",
    )
    parser.add_argument(
        "--placement",
        choices=("least-loaded", "round-robin"),
        help="in which added gateways or instances: together in the least loaded (the default), or spread",
    )
    parser.add_argument(
        "--capability",
        action="append",
        metavar="WORD",
        help="what their place must be able to do",
    )
    parser.add_argument("--region", metavar="WORD", help="where it must be")
    parser.add_argument(
        "--gateway-version", "--instance-version", metavar="V", help="the oldest that it may be: 2026.9"
    )
    parser.add_argument(
        "--unsafe-no-jail", action="store_true", help="start agents with all your rights; it is recorded"
    )


def folders(parser: ArgumentParser, write: str, read: str) -> None:
    """Adds those that narrow."""
    parser.add_argument("--scope", action="append", metavar="DIR", help=write)
    parser.add_argument("--read", action="append", metavar="DIR", help=read)
    parser.add_argument(
        "--hosts",
        action="append",
        metavar="NAMES",
        help="internet hosts in reach, by exact name, or npm, pypi; none by default",
    )
    parser.add_argument(
        "--allow-command",
        action="append",
        metavar="PATTERN",
        help="a command that agents run unasked, like 'git *'; others wait for a yes (guidance, no wall)",
    )
    parser.add_argument(
        "--deny-command",
        action="append",
        metavar="PATTERN",
        help="a command that agents are refused where they ask first (guidance, no wall)",
    )


def child_arguments(parser: ArgumentParser) -> None:
    """Adds what makes a child's rights smaller than its parent's."""
    folders(parser, "a folder that the child may write (all its parent may)", "one that it can read besides")
    parser.add_argument("--read-only", action="store_true", help="the child writes nothing")
    parser.add_argument("--depth", type=grammar.whole, metavar="N", help="generations of agents below it")
    parser.add_argument(
        "--budget", type=dollars.amount, metavar="USD", help="its cap (30%% of what its parent has left)"
    )


def of_child(args: SimpleNamespace) -> dict[str, Any]:
    """What was said of a child's reach and money, and nothing that was not."""
    given = {**parameters(args), "depth": args.depth, "budget": args.budget}
    given["read"] = args.read  # as its scope, seen from where its parent works
    if args.read_only:
        given["scope"] = []
    return {name: value for name, value in given.items() if value is not None}


def driver(found: dict[str, Any]) -> str:
    """The driver of a swarm or of an agent, the mode that it runs agents in, and why it was taken."""
    why = found.get("why_driver")
    return " ".join(filter(None, (found["driver"], found.get("mode"), f"({why})" if why else "")))


def parameters(args: SimpleNamespace) -> dict[str, Any]:
    """What swarm.create is given; None is: not given."""
    import os

    read = args.read and [os.path.abspath(folder) for folder in args.read]
    return {
        "scope": args.scope,
        "read": read,
        "hosts": args.hosts and [name for names in args.hosts for name in names.split(",") if name],
        "allow_commands": args.allow_command,
        "deny_commands": args.deny_command,
        "mode": getattr(args, "mode", None),
        "placement": _placement(args),
        "unsafe_no_jail": getattr(args, "unsafe_no_jail", False) or None,
    }


def _placement(args: SimpleNamespace) -> dict[str, Any] | None:
    names = {
        "policy": "placement",
        "capabilities": "capability",
        "region": "region",
        "version": "gateway_version",
    }
    given = {name: getattr(args, flag, None) for name, flag in names.items()}
    return {name: value for name, value in given.items() if value is not None} or None


def facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """How a swarm's reach is shown."""
    if found.get("walls") != "required":
        placed = [("placement", _placed(found["placement"]))] if found.get("placement") is not None else []
        return [*trees.facts(found), ("walls", "none: its agents have all rights of their user"), *placed]
    hosts = ", ".join(found["hosts"]) or "no host"
    write = ", ".join(found["write"]) or "nothing"
    return [
        *trees.facts(found),
        ("walls", f"agents write {write}, read {', '.join(found['read'])}, reach {hosts}"),
    ]


def _placed(terms: dict[str, Any]) -> str:
    """`least-loaded, able to gpu, in region eu`."""
    wanted = [
        f"able to {', '.join(terms['capabilities'])}" if terms.get("capabilities") else "",
        f"in region {terms['region']}" if terms.get("region") else "",
        f"of version {terms['version']} or later" if terms.get("version") else "",
    ]
    return ", ".join(filter(None, [terms.get("policy", "least-loaded"), *wanted]))
