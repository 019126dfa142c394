"""Has an agent program work once, on a model that says one word, so that Node keeps what it compiled.

One stdlib-only file: dashd runs it with the system's Python (`-I -S`) in a jail without network, and never
imports it. Its standard input is one JSON object: `argv`, `said` (the program's first input), `until` (what
is in the line that it prints when it has done that), `port` of the model. It is the program's end that makes
Node write, so it is ended in an orderly way, by end of file. It leaves the processor to others first.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading

NICE = 10
ANSWER = '{"summary": "warm"}'


class Model(http.server.BaseHTTPRequestHandler):
    """Answers every call alike, as a stream of OpenAI's."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One call."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        data = answer()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def answer() -> bytes:
    """The events of one."""
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    chunks = (
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ANSWER}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": used},
    )
    about = {"id": "w", "object": "chat.completion.chunk", "created": 1, "model": "warmup"}
    lines = [json.dumps({**about, **chunk}) for chunk in chunks]
    return "".join(f"data: {line}\n\n" for line in (*lines, "[DONE]")).encode()


def main() -> int:
    """The exit code: 0 where it has worked, and ended in an orderly way."""
    told = json.load(sys.stdin)
    os.nice(NICE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", told["port"]), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = subprocess.Popen(told["argv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(json.dumps(told["said"]).encode() + b"\n")
    program.stdin.flush()
    worked = any(told["until"].encode() in line for line in program.stdout)
    program.stdin.close()
    program.stdout.read()
    code = program.wait()
    if not worked:
        sys.exit(f"it ended with exit code {code} before it had worked")
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
