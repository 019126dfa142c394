"""`dashctl` in this process, against a scripted dashd; streams are strings, or terminals that are strings."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dashctl import __main__, terminal
from tests.dashctl import answers
from tests.fakes.daemon_thread import DaemonThread


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]  # a plain value serves

    def isatty(self) -> bool:
        return True


@pytest.fixture
def dashd(tmp_path: Path) -> Iterator[DaemonThread]:
    with DaemonThread(str(tmp_path / "s")) as daemon:
        answers.put_into(daemon)
        yield daemon


@pytest.fixture
def ctl(tmp_path: Path) -> Callable[..., Ran]:
    """Runs a command line: `ctl("swarm", "list")`. `columns` makes its streams terminals of that width."""

    def run(*argv: str, typed: str = "", columns: int = 0, env: dict[str, str] | None = None) -> Ran:
        environ = {"DASH_STATE_DIR": str(tmp_path), "DASH_SOCKET": str(tmp_path / "s"), **(env or {})}
        stream = Terminal if columns else io.StringIO
        if columns:
            environ["COLUMNS"] = str(columns)
        out, err = stream(), stream()
        code = __main__.run(list(argv), environ, out, err, stream(typed))
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def output() -> Callable[..., terminal.Output]:
    """An Output on strings; `columns` makes them terminals. `output.stdout` is what was written."""

    def make(columns: int = 0, **options: object) -> terminal.Output:
        stream = Terminal if columns else io.StringIO
        environ = {"COLUMNS": str(columns)} if columns else {}
        environ |= options.pop("env", {})  # type: ignore[arg-type]  # tests give a dict
        return terminal.Output(stream(), stream(), stream(), environ, **options)  # type: ignore[arg-type]

    return make
