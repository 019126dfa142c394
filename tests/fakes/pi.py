#!/usr/bin/env python3
"""A stand-in for Pi in RPC mode, stdlib alone: named as `programs.node`, it takes Node's place and Pi's.

It answers `get_state`, runs prompts against the model with one tool (`bash`), steers, aborts and settles, in
Pi's frames. tests/live/test_pi.py holds it to the real one. A prompt may hold words that make it misbehave:
FAKE-EXIT (it dies), FAKE-DIALOG (it asks whether to trust the folder, and waits).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from pi_file import SessionFile

TOOL = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}


class FakePi:
    """One process: a reader of commands, and a thread for the run under way."""

    def __init__(self) -> None:
        files = json.loads(os.environ["DASH_PI_FILES"])
        provider = files["models.json"]["providers"]["dash"]
        self.url = provider["baseUrl"] + "/chat/completions"
        self.model = files["settings.json"]["defaultModel"]
        self.session = None
        if "--session-dir" in sys.argv:
            folder = sys.argv[sys.argv.index("--session-dir") + 1]
            self.session = SessionFile(folder)
        self.messages: list[dict] = self.session.read() if self.session else []
        self.queue: list[str] = []
        self.later: list[str] = []
        self.running: threading.Thread | None = None
        self.aborted = False
        self.tool: subprocess.Popen | None = None
        self.dialog = threading.Event()

    def add(self, message: dict) -> None:
        self.messages.append(message)
        if self.session is not None:
            self.session.add(message)

    def say(self, **frame: object) -> None:
        sys.stdout.write(json.dumps(frame, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def answer(self, command: dict, data: object = None) -> None:
        more = {} if data is None else {"data": data}
        self.say(id=command.get("id"), type="response", command=command["type"], success=True, **more)

    def serve(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            match command["type"]:
                case "get_state":
                    model = {"id": self.model, "provider": "dash"}
                    state = {"isStreaming": self.running is not None, "messageCount": len(self.messages)}
                    self.answer(command, {"model": model, **state})
                case "prompt":
                    self.answer(command, {"disposition": "started"})
                    self.aborted = False
                    self.running = threading.Thread(target=self.run, args=(command["message"],), daemon=True)
                    self.running.start()
                case "steer":
                    self.queue.append(command["message"])
                    self.answer(command)
                case "follow_up":
                    self.later.append(command["message"])
                    self.answer(command)
                case "clear_queue":
                    self.queue.clear()
                    self.later.clear()
                    self.answer(command)
                case "abort":
                    self.aborted = True
                    self.end_tool()
                    self.answer(command)
                case "extension_ui_response":
                    self.dialog.set()
        self.end_tool()

    def end_tool(self) -> None:
        if self.tool is not None and self.tool.poll() is None:
            os.killpg(self.tool.pid, signal.SIGKILL)

    def run(self, text: str) -> None:
        if "FAKE-EXIT" in text:
            sys.stderr.write("it was told to die\n")
            sys.stderr.flush()
            os._exit(3)
        self.say(type="agent_start")
        if "FAKE-DIALOG" in text:
            self.say(type="extension_ui_request", id="ui-1", method="confirm", title="Trust?")
            self.dialog.wait()
        self.hear(text)
        while not self.turn():
            pass
        self.say(type="agent_end", messages=[], willRetry=False)
        self.say(type="agent_settled", aborted=self.aborted)

    def hear(self, text: str) -> None:
        if not self.messages:
            self.add({"role": "system", "content": "a stand-in"})
        self.add({"role": "user", "content": text})
        self.say(type="message_end", message={"role": "user", "content": [{"type": "text", "text": text}]})

    def turn(self) -> bool:
        """One call and its tools; True where the run is over."""
        try:
            message = self.call()
        except urllib.error.HTTPError as error:
            body = json.loads(error.read() or b"{}").get("error")
            return self.end("error", errorMessage=f"{error.code}: {json.dumps(body)}")
        except (OSError, ValueError):
            return self.end("error", errorMessage="Connection error.")
        calls = message.get("tool_calls") or []
        self.add(message)
        if self.aborted:
            return self.end("aborted")
        if not calls:
            self.end("stop", message.get("content") or "")
            return not (self.steered() or self.followed())
        self.end("toolUse", message.get("content") or "")
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            self.say(type="tool_execution_start", toolCallId=call["id"], toolName="bash", args=arguments)
            self.tool = subprocess.Popen(
                ["bash", "-c", arguments["command"]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            output = self.tool.communicate()[0].decode("utf-8", "replace")
            self.add({"role": "tool", "tool_call_id": call["id"], "content": output})
        if self.aborted:
            return self.end("aborted")
        self.steered()
        return False

    def steered(self) -> bool:
        found, self.queue = self.queue, []
        for text in found:
            self.hear(text)
        return bool(found)

    def followed(self) -> bool:
        found, self.later = self.later[:1], self.later[1:]
        for text in found:
            self.hear(text)
        return bool(found)

    def end(self, stop: str, text: str = "", **more: object) -> bool:
        content = [{"type": "text", "text": text}] if text else []
        message = {"role": "assistant", "content": content, "stopReason": stop, **more}
        self.say(type="message_end", message=message)
        return True

    def call(self) -> dict:
        body = {"model": self.model, "messages": self.messages, "tools": [TOOL]}
        request = urllib.request.Request(
            self.url,
            json.dumps(body).encode(),
            {
                "authorization": f"Bearer {os.environ['DASH_MODEL_KEY']}",
                "content-type": "application/json",
            },
        )
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read())["choices"][0]["message"]


def say_version() -> None:
    """What the file VERSION beside the program says that Node was to run."""
    path = Path(sys.argv[-2]).with_name("VERSION")
    sys.stdout.write(path.read_text() if path.exists() else "1.5.2\n")


if __name__ == "__main__":
    say_version() if sys.argv[-1] == "--version" else FakePi().serve()
