"""dashctl: the console for people and shell scripts.

    __main__     argv -> command -> exit code; the only place that turns failures into output
    commands/    one module per noun; each command is a function `(args, dash, out) -> exit code`
    grammar      argparse, built for the one command that was called
    calling      the lazily opened connection; following: reading events by cursor, across restarts
    terminal     the only door to stdout and stderr: sanitises, colours, asks
    width, render, report            how text is laid out; `dashd.wire.safe` has made it harmless before

Start-up time is part of the interface: what `status` and `--json` paths import is tested, rich comes only
with a report on a terminal, and `typing` and `dataclasses` are left out of modules that load at once.
"""
