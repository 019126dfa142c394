"""`dashctl demo|doctor|config|version`: what works with no daemon at all.

The demo starts a daemon of its own; `doctor` and `config` become `dashd doctor`
and `dashd config`, because only dashd knows its own rules.
"""

from __future__ import annotations

import os

from dashctl.commands import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace

    from dashctl.calling import Dash
    from dashctl.terminal import Output

PING_S = 2.0


def demo(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Runs the demo with the arguments that follow the word."""
    from dashctl import demo as showing

    out.flush()
    return showing.main(args.argv)


def doctor(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Checks this machine."""
    return _become("doctor", args, dash, out)


def config(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows and sets the configuration."""
    return _become("config", args, dash, out)


def version(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says which dashctl this is, and which dashd runs."""
    import dashd
    from dashd import client_blocking

    running, otherwise = None, "is not running"
    try:
        running = dash.call("daemon.ping", deadline_s=PING_S)["version"]
    except client_blocking.CallFailed as failure:
        if getattr(failure, "state", "") not in ("absent", "stale"):
            otherwise = f"does not answer: {failure.message}"
    if out.as_json:
        out.data({"dashctl": dashd.__version__, "dashd": running})
        return 0
    out.line(f"dashctl {dashd.__version__}")
    out.line(f"dashd   {running or otherwise}")
    if running and running != dashd.__version__:
        out.note(("hint:", "cyan"), " dashctl restart brings dashd to this version; its agents live on")
    return 0


def _become(word: str, args: SimpleNamespace, dash: Dash, out: Output) -> int:
    from dashctl import daemon_process

    out.flush()
    argv = daemon_process.argv_of(word, *args.argv)
    os.execve(argv[0], argv, daemon_process.environ_of(dash.environ))


COMMANDS = {
    "demo": Command(demo, "20 agents, a killed daemon and a report, in a minute", passes_on=True),
    "doctor": Command(doctor, "check this machine", passes_on=True),
    "config": Command(config, "show and set the configuration", passes_on=True),
    "version": Command(version, "which dashctl this is, and which dashd runs"),
}
