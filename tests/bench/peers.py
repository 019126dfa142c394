"""supervisord, the peer: installed into an environment of its own, spoken to as cheaply as can be."""

import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bed import Bed

INSTALL_S = 180.0
START_S = 20.0


class NoPeer(Exception):
    """The peer cannot be had here; the text says why."""


@functools.cache
def install(folder: Path) -> Path:
    """The supervisord program, in a new environment below `folder`. Raises NoPeer."""
    home = folder / "supervisor"
    steps = [
        [sys.executable, "-m", "venv", str(home)],
        [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input", "supervisor"],
    ]
    for argv in steps:
        try:
            subprocess.run(argv, check=True, capture_output=True, timeout=INSTALL_S)
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise NoPeer(f"installing supervisor failed: {' '.join(last)}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoPeer(f"installing supervisor failed: {error}") from None
    return home / "bin" / "supervisord"


class Supervisord:
    """A running supervisord, asked over one kept connection with requests made beforehand."""

    def __init__(self, path: str, pid: int) -> None:
        self.pid = pid
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)

    def call(self, method: str, *params: Any) -> Any:
        """One call; decoded."""
        (result,), _ = xmlrpc.client.loads(self.exchange(self.request(method, *params)))
        return result

    @staticmethod
    def request(method: str, *params: Any) -> bytes:
        """The bytes of one call."""
        body = xmlrpc.client.dumps(params, method).encode()
        head = (
            f"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def exchange(self, request: bytes) -> bytes:
        """Sends a request and reads its answer; the body."""
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < length:
            body += self._receive()
        return body

    def _receive(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("supervisord closed the connection")
        return data

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def supervisord(bed: Bed, agents: int) -> Iterator[Supervisord]:
    """A supervisord with a group `agents` of so many stopped programs, ended with them. Raises NoPeer."""
    if not bed.effort.peers:
        raise NoPeer("peers are left out of this run")
    program = install(bed.folder)
    folder = bed.place("supervisord")
    path = folder / "s"
    (folder / "supervisord.conf").write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\nchildlogdir={folder}\n"
        f"[unix_http_server]\nfile={path}\nchmod=0700\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[program:agents]\ncommand=sleep 1000\nnumprocs={agents}\nprocess_name=%(process_num)d\n"
        "autostart=false\nstartsecs=0\nstopsignal=KILL\n"
    )
    process = subprocess.Popen(
        [str(program), "-c", str(folder / "supervisord.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        peer = _connect(str(path), process.pid)
        yield peer
        peer.call("supervisor.stopAllProcesses")
        peer.close()
    finally:
        process.terminate()
        process.wait()


def _connect(path: str, pid: int) -> Supervisord:
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            return Supervisord(path, pid)
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
