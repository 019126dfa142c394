"""`dashd run | doctor | config`: arguments, logging, trio.run, and nothing else."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dashd
from dashd.wire import errors, safe

if TYPE_CHECKING:
    from dashd.config import Config

log = logging.getLogger("dashd")

EXIT_FAULT = 70
"""EX_SOFTWARE of sysexits.h: systemd restarts; 78 (bad configuration) it does not."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    if not __debug__:
        sys.stderr.write("error: dashd does not run with -O: its assertions guard the database\n")
        return 2
    arguments = _parser().parse_args(argv)
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except errors.DashError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(safe.block(f"error: {error.message}{hint}") + "\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dashd", description="The daemon of Dash.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"dashd {dashd.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve until told to stop", allow_abbrev=False)
    run.add_argument(
        "--ready-fd", type=int, help="write READY or FAILED to this file descriptor, then close it"
    )
    run.add_argument("--crash-at", help=argparse.SUPPRESS)
    run.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    run.set_defaults(command=_run)
    config = commands.add_parser(
        "config", help="show every setting and where it came from", allow_abbrev=False
    )
    config.add_argument("key", nargs="?", help="one setting")
    config.set_defaults(command=_config)
    doctor = commands.add_parser("doctor", help="check what dashd needs on this machine", allow_abbrev=False)
    doctor.add_argument("--json", action="store_true", help="one JSON object")
    doctor.set_defaults(command=_doctor)
    for each in (run, config, doctor):
        each.add_argument("--state-dir", help="database, launches and logs (DASH_STATE_DIR)")
        each.add_argument("--socket", help="where clients connect (DASH_SOCKET)")
    return parser


def _load(arguments: argparse.Namespace) -> "Config":
    from dashd import config

    flags = {"daemon.state_dir": arguments.state_dir, "daemon.socket": arguments.socket}
    return config.load(os.environ, flags, project=Path(".dash.toml"))


def _run(arguments: argparse.Namespace) -> int:
    import trio

    from dashd import app, memory, open_files, unprivileged
    from dashd import log as logs
    from dashd.crash_points import CrashPoints
    from dashd.proxy import secrets

    starter = _Starter(arguments.ready_fd)
    try:
        config = _load(arguments)
        unprivileged.leave_root(config, os.environ)
        logs.set_up(config.daemon.log_level)
        points = CrashPoints(arguments.crash_at)
        os.umask(0o077)
        secrets.keep_memory_private()
        memory.one_heap()
        open_files.take()
        ready = partial(_tell_ready, starter)
        trio.run(partial(app.run, config, ready=ready, points=points, stage=arguments.stage))
    except BaseExceptionGroup as group:
        refused, other = group.split(errors.DashError)
        if other is not None or refused is None:
            log.critical("dashd ends because of a fault of its own", exc_info=group)
            starter.tell("FAILED dashd hit a fault of its own; its log has the details")
            return EXIT_FAULT
        first = _first(refused)
        starter.tell(f"FAILED {first.message}")
        raise first from None
    except errors.DashError as error:
        starter.tell(f"FAILED {error.message}")
        raise
    return 0


def _tell_ready(starter: "_Starter", socket: str) -> None:
    starter.tell(f"READY {socket}")


def _first(group: BaseException) -> errors.DashError:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, errors.DashError)
    return group


class _Starter:
    """Whoever started us and waits for one line, on a descriptor of theirs."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def tell(self, line: str) -> None:
        """The one line; later ones are for the log alone, as the descriptor is somebody else's by then."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.write(fd, line.replace("\n", " ").encode() + b"\n")
            os.close(fd)
        except OSError:
            log.warning("nobody reads the ready descriptor", extra={"fd": fd})


def _config(arguments: argparse.Namespace) -> int:
    from dashd import config

    shown = config.show(_load(arguments))
    chosen = [row for row in shown if arguments.key in (None, row[0])]
    if not chosen:
        raise config.BadConfig(f"unknown setting {arguments.key!r}", hint="dashd config lists them")
    for key, value, origin in chosen:
        sys.stdout.write(safe.line(f"{key} = {value}  ({origin})") + "\n")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from dashd import doctor, program_ports

    config = _load(arguments)
    programs = program_ports.seen(program_ports.here(config, os.environ.get("PATH", "")))
    return doctor.run(config, programs, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
