"""A driver whose program is talked to, as small as can be: it counts.

It asks about a command at `may COMMAND`, says `go` at `ready`, `more N` at each `step N`, and closes at
`done TEXT`, which is the result.
"""

from collections.abc import Mapping, Sequence

from dashd.domain.asking import Ask
from dashd.domain.attempt import Ending
from dashd.drivers.command import CommandDriver
from dashd.drivers.driver import Asks, Command, History, Input, Progress, Stage, Told, Work
from dashd.jail.launch_folder import ExitRecord

READY = Stage("ready", 30.0)
WORKING = Stage("working", None)
LEAVING = Stage("leaving", 5.0)


class Counting:
    """See Conversation."""

    def __init__(self, history: History) -> None:
        self.inputs: list[Input] = []
        self.asks: list[Asks] = []
        self.stage = READY
        self.result: str | None = None
        self.why = "it said nothing"
        self._history = dict(history)
        self._rest = b""
        self._add("hello", b"hello\n")

    @property
    def starting(self) -> bool:
        return self.stage is READY

    @property
    def pending(self) -> bool:
        return bool(self._rest)

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        *lines, self._rest = (self._rest + output).split(b"\n")
        found = []
        for word, _, rest in (line.partition(b" ") for line in lines):
            if word == b"ready":
                self.stage = WORKING
                self._add("go", b"go\n")
            elif word == b"step":
                found.append(Progress(int(rest), None, ""))
                self._add(f"more:{int(rest)}", b"more %s\n" % rest)
            elif word == b"may":
                asked = Ask("command", rest.decode(), rest.decode())
                self.asks.append(Asks(f"ask:{rest.decode()}", (asked,)))
            elif word == b"done":
                self.result = rest.decode()
                self._end("end")
        return found

    def tell(self, told: Told) -> None:
        if told.kind in ("message", "now"):
            if self.stage is not LEAVING:
                self._add(told.key, told.text.encode() + b"\n")
            for asked in self.asks if told.kind == "now" else ():  # the calls are gone that it asked for
                self._add(asked.key, b"deny\n")
        elif told.kind == "answer":
            self._add(told.key, told.text.encode() + b"\n")
        elif self.stage is not LEAVING:
            self.why = told.key
            self._end(told.key)

    def ending(self, exited: ExitRecord) -> Ending:
        if self.result is None:
            return Ending("failed", f"{self.why}, exit code {exited.code}", exit_signal=exited.signal)
        return Ending("succeeded", "done", result=self.result)

    def _end(self, key: str) -> None:
        self.stage = LEAVING
        self._add(key, b"", eof=True)

    def _add(self, key: str, data: bytes, *, eof: bool = False) -> None:
        if key not in [each.key for each in self.inputs]:
            self.inputs.append(Input(key, data, eof))
            for told in self._history.get(key, ()):
                self.tell(told)


class TalkingDriver(CommandDriver):
    """It has the name of `command`, so that rows of any test can be its."""

    takes_messages = True
    can_ask = False
    printed = None

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        return Command(argv=("counting",), env={}, cwd=work.cwd, stdin=True)

    def conversation(self, work: Work, history: History) -> Counting:  # type: ignore[override]
        return Counting(history)

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        return [], cwd or "/"
