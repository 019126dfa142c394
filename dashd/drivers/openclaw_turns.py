"""Runs OpenClaw turn by turn, all of them in one session: one stdlib-only file, inside the agent's jail.

The holder runs it with the system's Python (`-I -S`); dashd has no more of it than its bounds. What is
executed comes in DASH_OPENCLAW (JSON: `argv`, `env`, `config`, `gate`: the files of a plugin, `state`: a
folder that is there and outlives this, or null, and `seed`: how OpenClaw takes over a `file` in it from which
the session begins, or null), the message of each turn on stdin, one JSON object a line:

    -> {"id": "turn:1", "message": "…"}
    <- {"type": "ready"}                                                once, before anything else
    <- {"type": "turn", "id": "turn:1"}                                 OpenClaw has been started
    <- {"type": "turned", "id": "turn:1", "text": "…", "error": "", "code": 0, "signal": null, …}

What OpenClaw says on stderr is passed on as it is. End of file ends a turn under way, with all its tools.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost a fifth of the start
    from typing import Any

CONFIG = "openclaw.json"
GATE = "gate"
LINE_BYTES_MAX = 4 << 20
ANSWER_BYTES_MAX = 8 << 20
"""Of what OpenClaw prints in one turn."""
TEXT_CHARACTERS_MAX = 256_000
"""Of its answer; the end of it is kept, where the result stands."""
ERROR_CHARACTERS_MAX = 2_000
TURNS_MAX = 1_000
"""Messages that wait."""
GRACE_S = 2.0
"""Between TERM and KILL, for a turn that is not wanted any more."""
TOKENS = ("input", "output", "cacheRead", "cacheWrite")


def main() -> int:
    """Until end of file."""
    told = json.loads(os.environ.pop("DASH_OPENCLAW"))
    with tempfile.TemporaryDirectory(prefix="dash-openclaw-", dir=os.environ.get("TMPDIR")) as folder:
        return Turns(told, folder).serve()


class Turns:
    """The one session, and the turn under way."""

    def __init__(self, told: dict[str, Any], folder: str) -> None:
        self._argv: list[str] = told["argv"]
        self._folder = folder
        own = {
            "HOME": os.path.join(folder, "home"),
            "OPENCLAW_STATE_DIR": told["state"] or os.path.join(folder, "state"),
            "OPENCLAW_CONFIG_PATH": os.path.join(folder, CONFIG),
            "DASH_OPENCLAW_GATE": os.path.join(folder, GATE),
        }
        self._env: dict[str, str] = {**os.environ, **told["env"], **own}
        for name in ("HOME", "OPENCLAW_STATE_DIR"):
            os.makedirs(own[name], 0o700, exist_ok=True)
        self._files: dict[str, str] = {CONFIG: json.dumps(told["config"])}
        self._files |= {os.path.join(GATE, name): text for name, text in told.get("gate", {}).items()}
        self._waiting: collections.deque[dict[str, Any]] = collections.deque()
        self._rest = b""
        self._ended = False
        self._seed: dict[str, Any] = told.get("seed") or {}
        self._state = own["OPENCLAW_STATE_DIR"]
        self._child: subprocess.Popen[bytes] | None = None
        self._after: dict[str, Any] | None = None
        """The turn that waits for the seed to be taken over."""
        self._turn = ""
        self._answer = os.path.join(folder, "answer.json")
        self._wakes, wakes = os.pipe()
        for fd in (self._wakes, wakes):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def serve(self) -> int:
        """One turn after the other, as they are told."""
        say(type="ready")
        while not self._ended:
            if self._child is None and self._waiting:
                self._begin(self._waiting.popleft())
            ready, _, _ = select.select([0, self._wakes], [], [])
            if self._wakes in ready:
                os.read(self._wakes, 4_096)
                self._look()
            if 0 in ready:
                self._read()
        self._stop()
        return 0

    def _read(self) -> None:
        piece = os.read(0, 65_536)
        self._ended = not piece
        *lines, self._rest = (self._rest + piece).split(b"\n")
        assert len(self._rest) <= LINE_BYTES_MAX, "dashd sends no such lines"
        for line in lines:
            if len(self._waiting) < TURNS_MAX:
                self._waiting.append(json.loads(line))

    def _begin(self, told: dict[str, Any]) -> None:
        self._turn = told["id"]
        message = os.path.join(self._folder, "message.txt")
        for name, text in (*self._files.items(), ("message.txt", told["message"])):
            write(os.path.join(self._folder, name), text)  # anew: the turn before could write there too
        if self._seeds():
            self._after = told
            write(os.path.join(self._state, self._seed["store"]), json.dumps(self._seed["sessions"]))
            self._start(self._seed["argv"])
        else:
            self._start([*self._argv, "--message-file", message])
            say(type="turn", id=self._turn)

    def _seeds(self) -> bool:
        """OpenClaw moves the file away once it has all of it: one that was killed meanwhile begins again."""
        return bool(self._seed) and os.path.exists(os.path.join(self._state, self._seed["file"]))

    def _start(self, argv: list[str]) -> None:
        with open(self._answer, "wb") as answer:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=answer, env=self._env, start_new_session=True
            )

    def _look(self) -> None:
        """Whether the turn has ended."""
        child = self._child
        if child is None or child.poll() is None:
            return
        self._child = None
        kill(child.pid)  # what it has left behind
        told, self._after = self._after, None
        if told is not None and not child.returncode and not self._seeds():
            self._begin(told)
            return
        found = read_answer(self._answer) if told is None else not_seeded(self._answer)
        code = child.returncode
        ended = {"code": None, "signal": -code} if code < 0 else {"code": code, "signal": None}
        say(type="turned", id=self._turn, **found, **ended)

    def _stop(self) -> None:
        child = self._child
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        deadline = time.monotonic() + GRACE_S
        while child.poll() is None and (left := deadline - time.monotonic()) > 0:
            select.select([self._wakes], [], [], left)
            with contextlib.suppress(OSError):
                os.read(self._wakes, 4_096)
        kill(child.pid)
        child.wait()


def write(path: str, text: str) -> None:
    """A file for its owner alone."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)


def kill(group: int) -> None:
    """Ends a session's first process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def read_answer(path: str) -> dict[str, Any]:
    """What a turn has come to, from the one JSON object that OpenClaw prints at its end."""
    with open(path, "rb") as file:
        data = file.read(ANSWER_BYTES_MAX)
    try:
        found = json.loads(data)
    except ValueError:
        return {"text": "", "error": "", "answered": False}
    return {"answered": True, **summary(found if isinstance(found, dict) else {})}


def not_seeded(path: str) -> dict[str, Any]:
    """OpenClaw has not taken over what its session begins with, and a turn would know nothing of it."""
    with open(path, "rb") as file:
        words = " ".join(file.read(ANSWER_BYTES_MAX).decode("utf-8", "replace").split())
    error = f"it did not take over what was said before: {words}"
    return {"text": "", "error": error[:ERROR_CHARACTERS_MAX], "answered": False}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """The few things of it that matter to Dash."""
    meta = _dict(found.get("meta"))
    about = _dict(meta.get("agentMeta"))
    payloads = [each for each in found.get("payloads") or () if isinstance(each, dict)]
    failed = [str(each.get("text") or "") for each in payloads if each.get("isError")]
    text = meta.get("finalAssistantVisibleText")
    if not isinstance(text, str) or not text.strip():
        text = "\n".join(str(each.get("text") or "") for each in payloads if not each.get("isError"))
    error = str(_dict(found.get("error")).get("message") or "") or " ".join(failed)
    if meta.get("aborted") and not error:
        error = "it was aborted"
    used = _dict(about.get("usage"))
    return {
        "text": text[-TEXT_CHARACTERS_MAX:],
        "error": error[:ERROR_CHARACTERS_MAX],
        "session": str(about.get("sessionId") or ""),
        "tokens": {name: used.get(name, 0) for name in TOKENS},
    }


def _dict(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def say(**frame: object) -> None:
    """A line for dashd, in UTF-8: half a character, which a cut text may end with, is none."""
    line = json.dumps(frame, separators=(",", ":"), ensure_ascii=False) + "\n"
    sys.stdout.buffer.write(line.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
