"""The embedded agent: one stdlib-only file that talks to its listener and works in its folder, nothing else.

The holder runs it with the system's Python (`-I -S`); dashd never imports it. Its brief is in DASH_BRIEF, its
way to a model in DASH_MODEL_URL, DASH_MODEL_KEY and DASH_MODEL; what DASH_ASK names it asks about first. It
prints for Dash: `@dash` lines report progress and todos, the last line is the result, one JSON object. It
exits 0 when the work is done, 3 when its budget refused a call, 4 without a model's answer, 5 without an end.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost a fifth of the start
    from collections.abc import Callable
    from typing import Any

STEPS_MAX = 60
READ_BYTES_MAX = 60_000
OUTPUT_BYTES_MAX = 20_000
ANSWER_BYTES_MAX = 32 << 20
RESULT_BYTES_MAX = 60_000
"""Of the last line; Dash keeps 64 KiB."""
NAMES_MAX = 1_000
CONTEXT_CHARACTERS_MAX = 240_000
"""Of all messages together; the oldest tool results and arguments are shortened first."""
LAST_KEPT = 4
ANSWER_S_MAX = 2_000_000.0
"""The proxy owns the deadlines; this only keeps a lost connection from lasting for ever."""
TRIES_MAX = 30
"""Of one call whose connection breaks: with the pauses two minutes, as long as the usual lease."""
PAUSE_S, PAUSE_S_MAX = 0.1, 5.0
BASH_S_MAX = 300.0
LOOK_S = 0.05
TRIMMED = "[trimmed: read it again if it is needed]"
NUDGE = "Your answer was empty or cut off. Go on in smaller steps, or call `finish`."

SYSTEM = (
    "You are one agent of a swarm. Work only inside the current folder, with the tools. Keep to your task; "
    "do not ask questions. Use `todo` to plan anything of more than two steps and keep it up to date. When "
    "all is done and checked, call `finish` with a summary, the files changed, tests run and follow-ups."
)


class Refused(Exception):
    """The proxy answered, and did not let the call through."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Broken(OSError):
    """The connection ended before the answer did: nobody knows what became of the call."""


def main() -> int:
    """Works on the brief until it is finished; returns the exit code."""
    brief = json.loads(os.environ["DASH_BRIEF"])
    model = Model(os.environ["DASH_MODEL_URL"], os.environ["DASH_MODEL_KEY"], os.environ["DASH_MODEL"])
    try:
        result = Agent(brief, model).work()
    except Refused as refusal:
        return give_up(3 if refusal.status == 402 else 4, str(refusal))
    except OSError as error:
        return give_up(4, f"the model could not be reached: {error}")
    except ValueError as error:
        return give_up(4, f"the model's answer is not understood: {error}")
    if result is None:
        return give_up(5, f"not finished after {STEPS_MAX} steps")
    say(fitting(result))
    return 0


def give_up(code: int, reason: str) -> int:
    """Says why on stderr and gives the exit code."""
    sys.stderr.write(f"embedded agent: {reason}\n")
    return code


def say(line: str) -> None:
    """One line for Dash, in UTF-8 whatever the locale is."""
    sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def report(**fields: object) -> None:
    """A line of progress."""
    say("@dash " + json.dumps(fields, ensure_ascii=False))


class Model:
    """A chat-completions endpoint, one connection a call: the listener may have changed hands in between."""

    def __init__(self, url: str, key: str, name: str) -> None:
        authority, _, path = url.split("://", 1)[1].partition("/")
        host, _, port = authority.partition(":")
        self.address = (host, int(port or 80))
        self.path = "/" + path.strip("/") + "/chat/completions"
        self.key = key
        self.name = name

    def call(self, messages: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
        """(the next message, whether it was cut off); raises Refused, OSError and ValueError."""
        told = json.dumps({"model": self.name, "messages": messages, "tools": TOOLS}, ensure_ascii=False)
        return read_answer(*self.post(self.path, told.encode("utf-8", "replace")))

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """(status, payload) of one call; raises OSError.

        A broken connection is no answer, it is dashd being away: the same call is made again, and waits in
        the listener's backlog until somebody serves it.
        """
        for tried in range(1, TRIES_MAX):
            try:
                return self.exchange(path, body)
            except OSError:
                time.sleep(min(PAUSE_S_MAX, PAUSE_S * 2 ** (tried - 1)))
        return self.exchange(path, body)

    def exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self.address[0]}\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        with socket.create_connection(self.address, timeout=ANSWER_S_MAX) as sock:
            sock.sendall(head.encode() + body)
            return read_response(sock.recv)


def read_response(receive: Callable[[int], bytes]) -> tuple[int, bytes]:
    """(status, payload) of a response that ends by its length, its last chunk or with the connection."""
    data = bytearray()
    while len(data) <= ANSWER_BYTES_MAX and (piece := receive(65_536)):
        data += piece
    head, found, body = bytes(data).partition(b"\r\n\r\n")
    if not found:
        raise Broken("the connection was closed without an answer")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    if fields.get("transfer-encoding") == "chunked":
        body = unchunk(body)
    elif len(body) < int(fields.get("content-length") or 0):
        raise Broken("the answer was cut")
    return int(first.split()[1]), body


def unchunk(body: bytes) -> bytes:
    """The payload of a chunked body; raises Broken where its end is missing."""
    payload = bytearray()
    while True:
        size, found, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16) if found else 0
        if not found or len(body) < length + 2:
            raise Broken("the answer was cut")
        if length == 0:
            return bytes(payload)
        payload += body[:length]
        body = body[length + 2 :]


def read_answer(status: int, payload: bytes) -> tuple[dict[str, Any], bool]:
    """(the message, whether it was cut off); raises Refused but for a 200, ValueError for nonsense."""
    answer = parsed(payload) or {}
    if status != 200:
        error = answer.get("error")
        if not isinstance(error, dict):
            raise Refused(status, f"HTTP {status}: {payload[:200].decode('utf-8', 'replace')}")
        data = error.get("data")
        kind = data.get("kind") if isinstance(data, dict) else error.get("type")
        raise Refused(status, f"HTTP {status} {kind}: {error.get('message', '')}")
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        calls = [
            {"id": str(call["id"]), "type": "function", "function": {
                "name": str(call["function"]["name"]),
                "arguments": call["function"].get("arguments") or "{}",
            }}
            for call in message.get("tool_calls") or []
        ]  # fmt: skip
        content = message.get("content")
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no message in it ({error!r})") from None
    told = {"role": "assistant", "content": content if isinstance(content, str) else ""}
    return (told | {"tool_calls": calls} if calls else told), choice.get("finish_reason") == "length"


class Agent:
    """The loop: ask the model, run its tools, until it calls `finish`."""

    def __init__(self, brief: dict[str, Any], model: Model) -> None:
        self.brief = brief
        self.model = model
        self.folder = os.path.realpath(".")
        self.changed: list[str] = []
        self.asks, self.asked = os.environ.get("DASH_ASK", "").split(","), 0
        told = {"role": "user", "content": self.opening()}
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}, told]

    def opening(self) -> str:
        """The brief as the model reads it."""
        item = f"Your item: {self.brief['item']}\n" if self.brief.get("item") else ""
        return f"Task: {self.brief['task']}\n{item}Folder: {self.folder}"

    def work(self) -> dict[str, Any] | None:
        """The result, or None where the model came to no end."""
        empty = 0
        for _ in range(STEPS_MAX):
            message, cut = self.model.call(trimmed(self.messages))
            calls = message.get("tool_calls") or []
            text = message["content"].strip()
            if text or calls:
                self.messages.append(message)
            if calls:
                if (finished := self.follow(calls)) is not None:
                    return finished
            elif cut or not text:
                empty += 1
                if empty == 3:
                    return None
                self.messages.append({"role": "user", "content": NUDGE})
            else:
                return self.result({"summary": text})
        return None

    def follow(self, calls: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Makes the tool calls in order; the result where `finish` is among them."""
        for call in calls:
            name = call["function"]["name"]
            arguments = parsed(call["function"]["arguments"])
            if name == "finish" and isinstance(arguments, dict):
                return self.result(arguments)
            answer = self.run(name, arguments)
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": answer})
        return None

    def run(self, name: str, arguments: object) -> str:
        """What a tool says; its errors are for the model to read."""
        tool = getattr(self, "tool_" + name, None)
        if tool is None:
            return f"error: there is no tool {name[:100]}"
        if not isinstance(arguments, dict):
            return "error: the arguments are not a JSON object"
        report(note=f"{name} {arguments.get('path') or arguments.get('command') or ''}"[:120].strip())
        try:
            self.ask("tool", name)
            return str(tool(**arguments))
        except (OSError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            return f"error: {error}"

    def ask(self, kind: str, text: str) -> None:
        """Where Dash wants to be asked, waits for its answer; a no is raised as a ValueError."""
        if kind in self.asks:
            self.asked += 1
            told = {"kind": kind, "text": text, "call": str(self.asked)}
            status, payload = self.model.post("/dash/v1/ask", json.dumps(told).encode())
            answer = parsed(payload) or {}
            if answer.get("decision") != "allow":
                raise ValueError(answer.get("text") or f"HTTP {status}: {payload[:500].decode()}")

    def result(self, given: dict[str, Any]) -> dict[str, Any]:
        """The result in its fixed shape; its files are those written, then those the model remembers."""
        named = [path for path in as_list(given.get("files_changed")) if path not in self.changed]
        return {
            "summary": str(given.get("summary") or ""),
            "files_changed": [*self.changed, *named],
            "tests": as_list(given.get("tests")),
            "follow_ups": as_list(given.get("follow_ups")),
        }

    def inside(self, path: str) -> str:
        """The absolute path, which must stay inside the folder, links followed."""
        found = os.path.realpath(os.path.join(self.folder, path))
        if os.path.commonpath([found, self.folder]) != self.folder:
            raise ValueError(f"Scope violation: attempted access to {path}; allowed scope: {self.folder}")
        return found

    def put(self, path: str, data: bytes) -> None:
        name = os.path.relpath(path, self.folder)
        self.ask("path", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        if name not in self.changed:
            self.changed.append(name)

    def tool_read(self, path: str, offset: float = 0, limit: float = READ_BYTES_MAX) -> str:
        wanted = max(0, min(int(limit), READ_BYTES_MAX))
        with open(regular(self.inside(path)), "rb") as file:
            file.seek(max(0, int(offset)))
            data = file.read(wanted + 1)
        text = data[:wanted].decode("utf-8", "replace")
        return text + ("\n[more follows; read with offset]" if len(data) > wanted else "")

    def tool_write(self, path: str, content: str) -> str:
        self.put(regular(self.inside(path)), content.encode())
        return f"wrote {len(content.encode())} bytes"

    def tool_edit(self, path: str, old: str, new: str) -> str:
        found = regular(self.inside(path))
        with open(found, "rb") as file:
            data = file.read()
        count = data.count(old.encode()) if old else 0
        if count != 1:
            return f"error: the old text occurs {count} times in {path}; it must occur once"
        self.put(found, data.replace(old.encode(), new.encode()))
        return "edited"

    def tool_list(self, path: str = ".") -> str:
        with os.scandir(self.inside(path)) as entries:
            found = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
        more = [f"[{len(found) - NAMES_MAX} more]"] if len(found) > NAMES_MAX else []
        return "\n".join([*found[:NAMES_MAX], *more]) or "(empty)"

    def tool_bash(self, command: str, timeout_s: float = 60) -> str:
        self.ask("command", command)
        import subprocess  # loaded by the first command only: the start must be fast

        limit = max(0.0, min(float(timeout_s), BASH_S_MAX))
        own = {name: value for name, value in os.environ.items() if not name.startswith("DASH_MODEL")}
        started = time.monotonic()
        ends: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        argv = ["bash", "-c", command]
        with subprocess.Popen(argv, cwd=self.folder, env=own, process_group=0, **ends) as process:
            assert process.stdout is not None
            text = follow_output(process.stdout.fileno(), process.poll, started + limit)
            if process.poll() is None and time.monotonic() >= started + limit:
                os.killpg(process.pid, 9)
                return text + f"\n[ended after {limit:g} s]"
        return text + f"\n[exit {process.returncode} after {time.monotonic() - started:.1f} s]"

    def tool_todo(self, items: list[dict[str, Any]]) -> str:
        done = sum(1 for item in items if item.get("done"))
        first = next((str(item.get("text", "")) for item in items if not item.get("done")), "")
        report(progress=[done, len(items)], note=first[:120])
        return f"{done} of {len(items)} done"


def regular(path: str) -> str:
    """The path, unless what is there is no file: a named pipe would block for ever."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path} is not a file")
    return path


def follow_output(fd: int, poll: Callable[[], int | None], deadline: float) -> str:
    """The end of what a command prints, until it has ended; what it left running is not waited for."""
    kept, dropped = bytearray(), False
    while (left := deadline - time.monotonic()) > 0:
        ended = poll() is not None
        if select.select([fd], [], [], 0 if ended else min(LOOK_S, left))[0]:
            piece = os.read(fd, 65_536)
            if not piece:
                if ended:
                    break
                time.sleep(min(LOOK_S, left))  # it has closed its output and works on
            kept += piece
            if len(kept) > OUTPUT_BYTES_MAX:
                del kept[:-OUTPUT_BYTES_MAX]
                dropped = True
        elif ended:
            break
    return ("[beginning left out]\n" if dropped else "") + kept.decode("utf-8", "replace")


def as_list(value: object) -> list[str]:
    """A list of strings, whatever the model made of it."""
    return [str(each) for each in (value if isinstance(value, list) else [value] if value else [])]


def parsed(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object in a text, None where there is none."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def fitting(result: dict[str, Any]) -> str:
    """The result as one line that Dash keeps whole."""
    line, kept = json.dumps(result, ensure_ascii=False), 8_000
    while len(line.encode("utf-8", "replace")) > RESULT_BYTES_MAX:
        kept //= 2
        cut = {name: shorter(value, kept) for name, value in result.items()}
        line = json.dumps(cut, ensure_ascii=False)
    return line


def shorter(value: str | list[str], kept: int) -> str | list[str]:
    return value[:kept] if isinstance(value, str) else [each[:kept] for each in value[:kept]]


def trimmed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, the oldest results and arguments shortened until all fit; the last stay as they are."""
    size = sum(map(characters, messages))
    kept = list(messages)
    for index in range(2, len(kept) - LAST_KEPT):
        if size <= CONTEXT_CHARACTERS_MAX:
            break
        before = characters(kept[index])
        kept[index] = shortened(kept[index])
        size -= before - characters(kept[index])
    return kept


def characters(message: dict[str, Any]) -> int:
    """How long a message is."""
    calls = message.get("tool_calls") or []
    return len(message["content"]) + sum(len(str(call["function"]["arguments"])) for call in calls)


def shortened(message: dict[str, Any]) -> dict[str, Any]:
    """A tool's result, or the arguments of a call to one, without what they were about."""
    if message["role"] == "tool":
        return {**message, "content": message["content"] if len(message["content"]) < 100 else TRIMMED}
    note = json.dumps({"note": TRIMMED})
    calls = message.get("tool_calls") or []
    calls = [call | {"function": call["function"] | {"arguments": note}} for call in calls]
    return message | {"tool_calls": calls} if calls else message


def tool(name: str, description: str, required: list[str], **properties: object) -> dict[str, Any]:
    """One tool as chat completions describes it."""
    schema = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TEXTS = {"type": "array", "items": TEXT}
ITEM = {"type": "object", "properties": {"text": TEXT, "done": {"type": "boolean"}}}
ITEMS = {"type": "array", "items": ITEM}
TOOLS = [
    tool("read", "Read a file.", ["path"], path=TEXT, offset=NUMBER, limit=NUMBER),
    tool("write", "Write a whole file.", ["path", "content"], path=TEXT, content=TEXT),
    tool("edit", "Replace a text that occurs once.", ["path", "old", "new"], path=TEXT, old=TEXT, new=TEXT),
    tool("list", "List a folder.", [], path=TEXT),
    tool("bash", "Run a command in the folder.", ["command"], command=TEXT, timeout_s=NUMBER),
    tool("todo", "Keep the plan: all items, each done or not.", ["items"], items=ITEMS),
    tool("finish", "End.", ["summary"], summary=TEXT, files_changed=TEXTS, tests=TEXTS, follow_ups=TEXTS),
]

if __name__ == "__main__":
    sys.exit(main())
