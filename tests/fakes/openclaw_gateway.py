#!/usr/bin/env python3
"""A stand-in for an OpenClaw gateway, stdlib alone: named as `programs.openclaw`, run as `gateway run`.

It speaks what Dash speaks of protocol 4, over a WebSocket as plain as can be: one thread a connection, one a
run. Its one tool is `exec`. Its sessions are in its state directory, and what it was killed in it takes up
again by itself, under another run id. tests/live/test_gateway.py holds it to what the real one does. Words in
a message make it misbehave: FAKE-EXIT (it dies), FAKE-AGAIN (it begins anew by itself, under another boot id,
and takes the run up again), FAKE-CUT (it ends its connections and works on).
"""

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
INTERRUPTED = "[System] Your previous turn was interrupted by a gateway restart."
MISSING = "missing tool result in session history"
TOOL = {"type": "function", "function": {"name": "exec", "parameters": {"type": "object"}}}


class Run:
    """One turn of a session."""

    def __init__(self, run_id: str, agent: str, session: str, message: str) -> None:
        self.id, self.agent, self.session, self.message = run_id, agent, session, message
        self.over = threading.Event()
        self.aborted = False
        self.child: subprocess.Popen[bytes] | None = None
        self.answer: dict[str, Any] = {}


class Gateway:
    """All that one process knows."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path) as file:
            self.config = json.load(file)
        self.boot_id = uuid.uuid4().hex
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        folder = os.environ.get("OPENCLAW_STATE_DIR")
        self.state = os.path.join(folder, "sessions.json") if folder else f"{path}.sessions"
        self.sessions: dict[str, list[dict[str, Any]]] = {}
        self.working: dict[str, str] = {}
        """Agent of each session that something works in."""
        if os.path.exists(self.state):
            with open(self.state) as file:
                self.sessions, self.working = json.load(file)
        self.last: dict[str, str] = {}
        self.peers: list[Peer] = []
        self.called = threading.Event()
        self.patches: list[dict[str, Any]] = []
        self.lines: list[str] = []
        for key, agent in self.working.items():
            run = Run(uuid.uuid4().hex, agent, key, INTERRUPTED)
            self.runs[run.id] = run
            threading.Thread(target=self.work, args=(run,), daemon=True).start()

    def keep(self) -> None:
        """What it is killed after is there at the next start."""
        with self.lock:
            with open(f"{self.state}.new", "w") as file:
                json.dump([self.sessions, self.working], file)
            os.replace(f"{self.state}.new", self.state)

    # -- requests ------------------------------------------------------------------------------------------

    def agent(self, params: dict[str, Any]) -> dict[str, Any]:
        """Begins a run, once for each key."""
        run_id, agent, session = params["idempotencyKey"], params["agentId"], params["sessionKey"]
        if agent not in self.config["agents"]["entries"]:
            raise Refused("INVALID_REQUEST", f"unknown agent id {agent!r}")
        about = {"runId": run_id, "sessionKey": session, "agentId": agent}
        with self.lock:
            if run_id in self.runs:
                return about | {"status": "in_flight"}
            run = self.runs[run_id] = Run(run_id, agent, session, params["message"])
        threading.Thread(target=self.work, args=(run,), daemon=True).start()
        return about | {"status": "accepted", "acceptedAt": now_ms()}

    def wait(self, params: dict[str, Any]) -> dict[str, Any]:
        """How a run stands."""
        run = self.runs.get(params["runId"])
        if run is None or not run.over.wait(params["timeoutMs"] / 1_000):
            return {"runId": params["runId"], "status": "timeout"}
        return run.answer

    def describe(self, params: dict[str, Any]) -> dict[str, Any]:
        """How a session stands."""
        key = params["key"]
        active = [run.id for run in self.runs.values() if run.session == key and not run.over.is_set()]
        if key not in self.sessions and not active:
            return {"session": None}
        status = "running" if active else "done"
        last = None if active else self.last.get(key)
        return {"session": {"key": key, "status": status, "lastRunId": last}}

    def abort(self, params: dict[str, Any]) -> dict[str, Any]:
        """Ends what runs in a session."""
        active = [run for run in self.runs.values() if run.session == params["key"] and not run.over.is_set()]
        for run in active:
            run.aborted = True
            if run.child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.child.pid, signal.SIGKILL)
            self.end(run, {"status": "error", "stopReason": "rpc"})
        return {"ok": True, "abortedRunId": active[0].id if active else None}

    def patch(self, params: dict[str, Any]) -> dict[str, Any]:
        """Merges something into the configuration; lists that go must be named."""
        change = json.loads(params["raw"])
        with self.lock:
            if params["baseHash"] != self.hash():
                raise Refused(
                    "INVALID_REQUEST", "config changed since last load; re-run config.get and retry"
                )
            entries = change.get("agents", {}).get("entries", {})
            if dropped := [name for name in entries if entries[name] is None]:
                why = "Config write would drop agent roster entries without an explicit deletion"
                raise Refused("UNAVAILABLE", f"{why}: {dropped}")
            missing = set(lists_gone(self.config, change)) - set(params.get("replacePaths", ()))
            if missing:
                raise Refused("INVALID_REQUEST", f"these go only with replacePaths: {sorted(missing)}")
            before = json.dumps(self.config)
            merged = json.loads(before)
            merge(merged, change)
            sizes = [len(json.dumps(each, indent=2)) for each in (self.config, merged)]
            if sizes[0] >= 512 and sizes[1] < sizes[0] // 2:
                raise Refused("UNAVAILABLE", f"Config write rejected (size-drop:{sizes[0]}->{sizes[1]})")
            merge(self.config, change)
            self.patches.append(change)
            self.write()
        return {"ok": True, "hash": self.hash()}

    def delete(self, params: dict[str, Any]) -> dict[str, Any]:
        """Takes an agent out of the configuration, and puts its workspace away unless told not to."""
        with self.lock:
            found = self.config["agents"]["entries"].pop(params["agentId"], None)
            if found is None:
                raise Refused("INVALID_REQUEST", f"agent {params['agentId']!r} not found")
            if params.get("deleteFiles", True):
                os.rename(found["workspace"], f"{found['workspace']}.trash")
            self.write()
        return {"ok": True}

    def write(self) -> None:
        """Whole: whoever reads meanwhile finds the former one."""
        with open(f"{self.path}.new", "w") as file:
            json.dump(self.config, file)
        os.replace(f"{self.path}.new", self.path)

    def hash(self) -> str:
        """Of the configuration as it is."""
        return hashlib.sha256(json.dumps(self.config).encode()).hexdigest()

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request. Raises Refused."""
        if method == "connect":
            if params["auth"]["token"] != self.config["gateway"]["auth"]["token"]:
                raise Refused("UNAUTHORIZED", "wrong token")
            self.called.set()
            server = {"version": "stand-in", "bootId": self.boot_id, "connId": uuid.uuid4().hex}
            return {"type": "hello-ok", "protocol": 4, "server": server}
        known = {
            "agent": self.agent,
            "agent.wait": self.wait,
            "sessions.describe": self.describe,
            "sessions.abort": self.abort,
            "config.get": lambda _: {"hash": self.hash(), "config": self.config, "parsed": self.config},
            "agents.delete": self.delete,
            "logs.tail": lambda given: {"lines": self.lines[-given["limit"] :]},
            "config.patch": self.patch,
            "agents.list": lambda _: {"agents": [{"id": each} for each in self.config["agents"]["entries"]]},
        }
        if method not in known:
            raise Refused("INVALID_REQUEST", f"unknown method {method}")
        return known[method](params)

    # -- runs ----------------------------------------------------------------------------------------------

    def work(self, run: Run) -> None:
        """Until the model calls no tool."""
        if "FAKE-EXIT" in run.message:
            os.kill(os.getpid(), signal.SIGKILL)
        if "FAKE-CUT" in run.message:
            with self.lock:
                for peer in self.peers:
                    peer.hang_up()
        if "FAKE-AGAIN" in run.message and self.begin_anew(run):
            return
        self.tell(run, "lifecycle", phase="start")
        with self.lock:
            messages = self.sessions.setdefault(run.session, [{"role": "system", "content": "a stand-in"}])
            self.working[run.session] = run.agent
        messages += [
            {"role": "tool", "tool_call_id": each["id"], "content": MISSING}
            for each in messages[-1].get("tool_calls") or ()
        ]
        messages.append({"role": "user", "content": run.message})
        self.keep()
        try:
            text = self.talk(run, messages)
        except urllib.error.HTTPError as error:
            words = json.loads(error.read())["error"]["message"]
            self.log_end(run, f"{error.code} {words}")
            text = None
        except (OSError, ValueError):
            self.log_end(run, "Connection error.")
            text = None
        if text is None:
            self.end(run, {"status": "error", "error": "LLM request failed"})
        else:
            self.end(run, {"status": "ok", "terminalReply": {"disposition": "visible", "text": text}})

    def talk(self, run: Run, messages: list[dict[str, Any]]) -> str:
        while True:
            said = self.ask(run, messages)
            messages.append(said)
            self.keep()
            if text := said.get("content"):
                self.tell(run, "assistant", text=text, delta=text)
            calls = said.get("tool_calls") or []
            for each in calls:
                args = json.loads(each["function"]["arguments"])
                self.tell(run, "tool", phase="start", name="exec", toolCallId=each["id"], args=args)
                run.child = subprocess.Popen(
                    ["bash", "-c", args["command"]],
                    cwd=self.config["agents"]["entries"][run.agent]["workspace"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                output, _ = run.child.communicate()
                if run.aborted:
                    return ""
                text = output.decode("utf-8", "replace")
                messages.append({"role": "tool", "tool_call_id": each["id"], "content": text})
                self.keep()
            if not calls:
                return said.get("content") or ""

    def ask(self, run: Run, messages: list[dict[str, Any]]) -> dict[str, Any]:
        provider = self.config["models"]["providers"][
            self.config["agents"]["entries"][run.agent]["model"]["primary"].split("/")[0]
        ]
        body = {"model": provider["models"][0]["id"], "messages": messages, "tools": [TOOL]}
        headers = {"authorization": f"Bearer {provider['apiKey']}", "content-type": "application/json"}
        url = provider["baseUrl"] + "/chat/completions"
        while True:
            request = urllib.request.Request(url, json.dumps(body).encode(), headers)
            try:
                with urllib.request.urlopen(request) as response:
                    return json.loads(response.read())["choices"][0]["message"]
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
                time.sleep(0.2)  # the real one waits longer, and tries as often

    def end(self, run: Run, how: dict[str, Any]) -> None:
        with self.lock:
            if run.over.is_set():
                return
            run.answer = {"runId": run.id, "endedAt": now_ms(), **how}
            self.last[run.session] = run.id
            run.over.set()
            self.working.pop(run.session, None)
            self.keep()
        self.tell(run, "lifecycle", phase="end" if how["status"] == "ok" else "error")

    def begin_anew(self, run: Run) -> bool:
        """What the real one does when it is started on the state of one that was killed; once."""
        if self.boot_id == "again":
            return False
        self.boot_id = "again"
        run.message = run.message.replace("FAKE-AGAIN", "")
        with self.lock:
            del self.runs[run.id]
            run.id = uuid.uuid4().hex
            self.runs[run.id] = run
            self.called.clear()
            for peer in self.peers:
                peer.hang_up()
        self.called.wait()  # whoever calls has noticed; the real one is away for much longer
        self.work(run)
        return True

    def tell(self, run: Run, stream: str, **data: Any) -> None:
        payload = {"runId": run.id, "sessionKey": run.session, "stream": stream, "data": data}
        with self.lock:
            for peer in self.peers:
                peer.send({"type": "event", "event": "agent", "payload": payload})

    def log_end(self, run: Run, raw: str) -> None:
        line = f"[agent/embedded] embedded run agent end: runId={run.id} isError=true error=- rawError={raw}"
        self.lines.append(line)
        log(line)


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.fault = {"code": code, "message": message}


class Peer:
    """One WebSocket connection."""

    def __init__(self, sock: socket.socket, gateway: Gateway) -> None:
        self.sock, self.gateway = sock, gateway
        self.sending = threading.Lock()

    def serve(self) -> None:
        with self.sock, contextlib.suppress(OSError, EOFError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.sock.recv(4_096) or stop()
            lines = head.decode("latin-1").split("\r\n")
            headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
            if "sec-websocket-key" not in headers:
                self.sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            digest = hashlib.sha1((headers["sec-websocket-key"] + MAGIC).encode()).digest()
            accept = base64.b64encode(digest).decode()
            self.sock.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                + f"sec-websocket-accept: {accept}\r\n\r\n".encode()
            )
            self.send({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}})
            with self.gateway.lock:
                self.gateway.peers.append(self)
            while True:
                frame = json.loads(self.receive())
                threading.Thread(target=self.answer, args=(frame,), daemon=True).start()
        with self.gateway.lock:
            if self in self.gateway.peers:
                self.gateway.peers.remove(self)

    def answer(self, frame: dict[str, Any]) -> None:
        said: dict[str, Any] = {"type": "res", "id": frame["id"]}
        try:
            said |= {"ok": True, "payload": self.gateway.call(frame["method"], frame["params"])}
        except Refused as refused:
            said |= {"ok": False, "error": refused.fault}
        self.send(said)

    def send(self, frame: dict[str, Any]) -> None:
        data = json.dumps(frame).encode()
        size = len(data)
        head = bytes([0x81, size]) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
        head = head if size < 65_536 else struct.pack(">BBQ", 0x81, 127, size)
        with self.sending, contextlib.suppress(OSError):
            self.sock.sendall(head + data)

    def receive(self) -> bytes:
        """The next message; pings and fragments do not come from Dash."""
        first, second = self.exactly(2)
        if first & 0x0F == 8:
            raise EOFError
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self.exactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.exactly(8))
        mask = self.exactly(4)
        return bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.exactly(size)))

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self.sock.recv(count - len(data)) or stop()
        return data

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def stop() -> bytes:
    raise EOFError


def merge(into: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value


def lists_gone(config: Any, change: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the lists that this change would remove."""
    found = []
    for key, value in change.items():
        here = f"{path}.{key}" if path else key
        if key in config and value is None:
            found += lists_in(config[key], here)
        elif key in config and isinstance(value, dict) and isinstance(config[key], dict):
            found += lists_gone(config[key], value, here)
    return found


def lists_in(config: Any, path: str) -> list[str]:
    """Paths of the lists in a part of a configuration."""
    if isinstance(config, list):
        return [path]
    if not isinstance(config, dict):
        return []
    return [each for key, value in config.items() for each in lists_in(value, f"{path}.{key}")]


def now_ms() -> int:
    return round(time.time() * 1_000)


def log(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> int:
    assert sys.argv[1:3] == ["gateway", "run"], sys.argv
    gateway = Gateway(os.environ["OPENCLAW_CONFIG_PATH"])
    door = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])))
    log("[gateway] ready")
    while True:
        sock, _ = door.accept()
        threading.Thread(target=Peer(sock, gateway).serve, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
