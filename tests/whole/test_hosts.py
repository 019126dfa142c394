"""An agent in a real jail reaches a host of its scope, through a real dashd: bytes pass, counted, on record.

The host is a server on this machine; only where names lead is not real (tests/fakes/dashd_of_hosts.py).
"""

import json
import socketserver
import threading

import pytest

from tests.fakes import dashd_of_hosts
from tests.fakes.outside import PUBLIC
from tests.jail import inside
from tests.tidy import TOP
from tests.whole.daemons import DaemonProcess

pytestmark = pytest.mark.slow
END_S_MAX = 60.0
SIZE = 300_000
CLIENT = f"""
import base64, hashlib, os, socket, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
word = base64.b64encode(f"{{proxy.username}}:{{proxy.password}}".encode()).decode()
def connect(name):
    s = socket.create_connection((proxy.hostname, proxy.port), 10)
    s.sendall(f"CONNECT {{name}} HTTP/1.1\\r\\nHost: {{name}}\\r\\n"
              f"Proxy-Authorization: Basic {{word}}\\r\\n\\r\\n".encode())
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += s.recv(1)
    print(head.split(b"\\r\\n")[0].decode())
    return s
s = connect("api.example.org:443")
sent = os.urandom({SIZE})
s.sendall(sent)
s.shutdown(socket.SHUT_WR)
got = b""
while piece := s.recv(65536):
    got += piece
print(len(got), got == sent[::-1])
connect("other.example:443")
try:
    socket.create_connection(("{PUBLIC}", 443), 2); print("reached past the proxy")
except OSError:
    print("no other way")
"""


class Backwards(socketserver.StreamRequestHandler):
    """Takes all that comes and gives it back the other way round."""

    def handle(self) -> None:
        data = self.rfile.read()
        self.server.seen.append(len(data))  # type: ignore[attr-defined]
        self.wfile.write(data[::-1])


@pytest.fixture
def host():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Backwards) as server:
        server.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dashd(tmp_path, host):
    inside.of_grade("B")
    (tmp_path / "dash").mkdir()
    program = dashd_of_hosts.argv(host.server_address[1])
    made = DaemonProcess(tmp_path / "dash", program, DASH_JAIL_REQUIRED="true", PYTHONPATH=str(TOP))
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_bytes_pass_to_a_named_host_and_are_counted_and_on_record(dashd, host, tmp_path):
    (tmp_path / "work").mkdir()
    made = dashd.call(
        "swarm.create",
        task="t",
        argv=["/usr/bin/python3", "-c", CLIENT],
        cwd=str(tmp_path / "work"),
        hosts=["api.example.org"],
    )
    kinds = ["swarm.completed", "swarm.failed"]
    waited = dashd.call("event.wait", since=0, swarm=made["id"], kinds=kinds, timeout_s=END_S_MAX / 2)
    assert not waited["timed_out"], dashd.log()
    report = dashd.call("swarm.report", swarm=made["id"], detail="full")
    assert not report["failures"], report["failures"]
    assert report["results"][0]["result"].splitlines() == [
        "HTTP/1.1 200 Connection established",
        f"{SIZE} True",
        "HTTP/1.1 403 Forbidden, needs --hosts other.example",
        "no other way",
    ]
    assert host.seen == [SIZE]
    agent = f"{made['id']}-001"
    rows = dashd.call("audit.list", subject=agent, action="tunnel.*", limit=10)["rows"]
    told = {row["action"]: row["data"] for row in rows}
    assert len(rows) == 3
    where = {"host": "api.example.org", "port": 443, "address": PUBLIC}
    assert told["tunnel.opened"] == where
    assert told["tunnel.ended"] == {**where, "bytes_up": SIZE, "bytes_down": SIZE, "how": "closed"}
    assert told["tunnel.refused"] == {"host": "other.example", "port": 443, "refused": "host"}
    assert dashd.call("audit.verify")["ok"]
    assert "dk_" not in json.dumps(rows)
