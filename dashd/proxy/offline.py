"""The built-in stand-in for a model: deterministic, priced like a small real one, and it always says what
it is.

It reads its task from the messages and works on it with the tools the call names: every `backticked
command` of the task, its item filled in, goes through the shell tool, one a step, then it finishes with a
summary made of what the tools said. It is no intelligence, only a way to run, show and test everything else
without a provider. It keeps its own bill, at the full length of every answer it begins, and can be told to
be down (stage.py does both for a demonstration).
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec
import trio

from dashd.domain import prices
from dashd.domain.prices import Usage

from .offline_wire import WIRES, Said, Turn
from .prices import OFFLINE_PRICE
from .upstream import Answer, Request, UpstreamBroken

STAND_IN = "[offline stand-in]"
BYTES_A_TOKEN = 4
GREEDY = re.compile(r"\bat length\b|\bgreedy\b", re.IGNORECASE)
GREEDY_STEPS = 40
GREEDY_TOKENS = 1_500
COMMANDS_MAX = 40
RESULT_ASKED = '"follow_ups"'
"""In a task that asks for the result as JSON at the end of a message, where there is no tool for it."""
SHOWN_CHARS_MAX = 400

_COMMAND = re.compile(r"`([^`\n]{1,2000})`")
_ITEM = re.compile(r"^Your item: (.+)$", re.MULTILINE)
_WRITTEN = re.compile(r"(?<![0-9&])>{1,2}\s*([\w./-]+)")
_SHELLS = ("bash", "exec", "shell", "exec_command")
_PADDING = "This sentence is here because the task asked for length, and it says nothing else. "


class Billed(msgspec.Struct, frozen=True):
    """One line of its bill."""

    provider: str
    item: str
    """What the call was about, as it read it in the task: a provider knows nothing else of who calls."""
    usage: Usage
    nusd: int


class OfflineModel:
    """See Upstream."""

    def __init__(
        self,
        *,
        think_s: float = 0.0,
        pace_s: float = 0.0,
        billed: Callable[[Billed], None] | None = None,
        is_down: Callable[[str], bool] | None = None,
    ) -> None:
        """`think_s` passes before an answer, `pace_s` between the pieces of a stream; `billed` hears every
        line of the bill before the first byte is sent; whoever calls a provider that `is_down` finds nobody.
        """
        self.bill_nusd = 0
        self.calls: Counter[str] = Counter()
        self._think_s = think_s
        self._pace_s = pace_s
        self._billed = billed
        self._is_down = is_down

    async def send(self, request: Request) -> Answer:
        """See Upstream."""
        await trio.lowlevel.checkpoint()
        self.calls[request.provider] += 1
        if self._is_down is not None and self._is_down(request.provider):
            raise UpstreamBroken(f"provider {request.provider}, connecting: an outage, staged")
        request.sent = True
        wire = WIRES[request.format]
        body = msgspec.json.decode(request.body)
        turn = wire.read(body)
        said, output_tokens, cut = _within(_reply(turn), turn.output_tokens_max)
        usage = Usage(max(1, len(request.body) // BYTES_A_TOKEN), 0, 0, output_tokens)
        self._charge(request.provider, _item(turn.task), usage)
        await trio.sleep(self._think_s)
        pieces = wire.write(said, usage, cut=cut, stream=request.stream)
        return _OfflineAnswer(pieces, request.stream, self._pace_s)

    def _charge(self, provider: str, item: str, usage: Usage) -> None:
        nusd = prices.cost(usage, OFFLINE_PRICE)
        self.bill_nusd += nusd
        if self._billed is not None:
            self._billed(Billed(provider, item, usage, nusd))


class _OfflineAnswer:
    def __init__(self, pieces: list[bytes], stream: bool, pace_s: float) -> None:
        self.status = 200
        kind = "text/event-stream" if stream else "application/json"
        self.headers: Mapping[str, str] = {"content-type": kind}
        self._pieces = pieces[::-1]
        self._pace_s = pace_s

    async def receive(self) -> bytes:
        await trio.sleep(self._pace_s)
        return self._pieces.pop() if self._pieces else b""

    async def aclose(self) -> None:
        self._pieces.clear()
        await trio.lowlevel.checkpoint()


def _reply(turn: Turn) -> Said:
    """What it does at this point of the conversation: a pure function of the messages."""
    commands = _commands(turn.task)
    shell = next((name for name in _SHELLS if name in turn.tools), None)
    greedy = bool(GREEDY.search(turn.task))
    done = len(turn.results)
    padding = _padding() if greedy else ""
    if shell is not None and greedy and done < GREEDY_STEPS:
        # It begins again before its last command, so that it has never done what it was told.
        command = commands[done % max(1, len(commands) - 1)] if commands else "true"
        return _step(shell, command, done, padding)
    if shell is not None and not greedy and done < len(commands):
        return _step(shell, commands[done], done, padding)
    if "list" in turn.tools and not commands and not done:
        return Said(f"{STAND_IN} the task names no command; looking around.", "list", {"path": "."}, "call_0")
    summary = _summary(turn, commands)
    as_json = RESULT_ASKED in turn.task
    if "finish" not in turn.tools and not as_json:
        return Said(f"{summary} {padding}".rstrip())
    written = list(dict.fromkeys(path for each in commands for path in _WRITTEN.findall(each)))
    ended = {
        "summary": summary,
        "files_changed": [path for path in written if not path.startswith("/dev/")],
        "tests": [],
        "follow_ups": ["this was the offline stand-in: have a real model look at it"],
    }
    if "finish" not in turn.tools:
        return Said(f"{padding}\n{msgspec.json.encode(ended).decode()}".lstrip())
    return Said(padding.rstrip(), "finish", ended, f"call_{done}")


def _step(shell: str, command: str, done: int, padding: str) -> Said:
    text = f"{STAND_IN} step {done + 1}. {padding}".rstrip()
    return Said(text, shell, {"command": command}, f"call_{done}")


def _commands(task: str) -> list[str]:
    item = shlex.quote(_item(task)) if _item(task) else ""
    return [each.replace("{item}", item) for each in _COMMAND.findall(task)][:COMMANDS_MAX]


def _item(task: str) -> str:
    found = _ITEM.search(task)
    return found[1].strip() if found else ""


def _summary(turn: Turn, commands: list[str]) -> str:
    if not turn.results:
        first = next((line for line in turn.task.splitlines() if line.strip()), "nothing")
        return f"{STAND_IN} read the task and did nothing: {first[:SHOWN_CHARS_MAX]}"
    last = " ".join(turn.results[-1].split())[:SHOWN_CHARS_MAX]
    ran = f"ran {len(turn.results)} commands" if commands else "looked around"
    return f"{STAND_IN} {ran}; the last said: {last}"


def _padding() -> str:
    return _PADDING * (GREEDY_TOKENS * BYTES_A_TOKEN // len(_PADDING))


def _within(said: Said, output_tokens_max: int) -> tuple[Said, int, bool]:
    """(what fits, its tokens, whether it was cut): text is cut first, a tool call is whole or left out."""
    called = _tokens(said.call_json) if said.tool else 0
    text_max = (output_tokens_max - called) * BYTES_A_TOKEN
    if text_max < 0:
        text = said.text[: output_tokens_max * BYTES_A_TOKEN]
        return Said(text), min(output_tokens_max, max(1, _tokens(text))), True
    text = said.text.encode()[:text_max].decode("utf-8", "ignore")
    kept = Said(text, said.tool, said.arguments, said.call_id)
    # A tool call stands even where the words before it were cut.
    return kept, max(1, _tokens(text) + called), len(text) < len(said.text) and not said.tool


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_A_TOKEN)
