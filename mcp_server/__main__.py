"""`dash-mcp`: arguments and signals, and nothing else.

The SDK takes most of a second to import, so it is imported after the arguments were understood.
"""

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial

import trio

import dashd
from dashd.wire import paths, tenant


def main(argv: list[str] | None = None) -> int:
    """Serves MCP on stdio until the input ends or a signal comes; the exit code says which."""
    options = _parser().parse_args(argv)
    try:
        return trio.run(_serve, *_where(options.socket))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # While importing; later a signal is a message like any other.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dash-mcp",
        description="Dash's tools for orchestrator models: an MCP server on stdin and stdout.",
        epilog="Add it to an MCP client as a stdio server named `dash`, for example: "
        "claude mcp add dash -- dash-mcp. Agents work by default in the folder it is started in. "
        "DASH_KEY, where it is set, says to dashd whose key this is and so what it may do.",
    )
    parser.add_argument("--socket", metavar="PATH", help="where dashd listens (default: as dashctl finds it)")
    parser.add_argument("--version", action="version", version=f"dash-mcp {dashd.__version__}")
    return parser


def _where(named: str | None) -> tuple[str, Callable[[], str]]:
    """(where dashd is expected, a function that says where the one of the state folder really is).

    Clients start their servers in environments of their own, often without XDG_RUNTIME_DIR, which moves the
    socket; a socket that was named by hand is meant.
    """
    path = os.path.abspath(named or paths.socket_path(os.environ))
    if named or os.environ.get("DASH_SOCKET"):
        return path, lambda: ""
    return path, partial(_noted, paths.state_dir(os.environ))


def _noted(state_dir: str) -> str:
    found = tenant.find(state_dir)
    return found.socket if found else ""


async def _serve(socket_path: str, noted: Callable[[], str]) -> int:
    from . import server, stdio

    ended_by = 0

    async def stop(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        nonlocal ended_by
        async for number in signals:
            ended_by = 128 + number
            scope.cancel(reason=signal.Signals(number).name)

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop, signals, nursery.cancel_scope)
            await stdio.serve(
                server.build(socket_path, os.getcwd(), noted=noted, key=os.environ.get("DASH_KEY", ""))
            )
            nursery.cancel_scope.cancel(reason="the input ended")
    return ended_by


if __name__ == "__main__":
    sys.exit(main())
