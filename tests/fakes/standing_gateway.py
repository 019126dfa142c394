"""A stand-in for a gateway that somebody started, which is added by its address and token."""

import contextlib
import json
import signal
import socket
import subprocess
import sys

from tests.fakes import openclaw_gateway as fake

TOKEN = "a-token-of-thirty-two-characters"


class Standing:
    """A process of its own, on a port that it keeps."""

    program = fake.__file__

    def __init__(self, folder, name):
        self.config = folder / f"{name}.json"
        held = {"gateway": {"auth": {"token": TOKEN}}, "agents": {"ownership": "explicit", "entries": {}}}
        self.config.write_text(json.dumps(held))
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.port = door.getsockname()[1]
        self.start()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, self.program, "gateway", "run", "--port", str(self.port)],
            env={"OPENCLAW_CONFIG_PATH": str(self.config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert b"ready" in self.process.stderr.readline()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()
