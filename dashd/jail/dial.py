"""A connection into an agent's network namespace, for dashd: forked, entered, connected, handed out, ended.

Whoever made a jail as an ordinary user may enter the user namespace that owns its network, and from there the
network. The process that does it sends the connected socket to whoever asked, by SCM_RIGHTS, and is gone: the
holder itself never leaves where it is. Standard library only.

https://man7.org/linux/man-pages/man2/ioctl_ns.2.html
"""

from __future__ import annotations

import _socket as socket
import contextlib
import ctypes
import fcntl
import json
import os
import struct

from dashd.jail import agent_exec, processes

CONNECT_S_MAX = 5.0
_NS_GET_USERNS = 0xB701
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000


def dial(agent: int, port: int, asker: socket.socket) -> None:
    """Has a child connect to `port` of the loopback address where `agent` and its descendants live.

    `asker` gets one JSON line: `{"dialled": PORT}` with the socket beside it, or `{"failed": why}`. It stays
    the caller's. OSError if nothing can be forked.
    """
    if os.fork() == 0:
        try:
            _answer(asker, *_connect(agent, port))
        finally:
            os._exit(0)


def _connect(agent: int, port: int) -> tuple[dict[str, object], int | None]:
    step = "find"
    try:
        network = _network(agent)
        step = "enter"
        if network is not None:
            owner = fcntl.ioctl(network, _NS_GET_USERNS)
            _enter(owner, _CLONE_NEWUSER)
            _enter(network, _CLONE_NEWNET)
        step = "connect"
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_S_MAX)
        sock.connect(("127.0.0.1", port))
    except OSError as error:
        return {"failed": agent_exec.failure_text(error, step, f"127.0.0.1:{port}")}, None
    return {"dialled": port}, sock.detach()


def _network(agent: int) -> int | None:
    """That of the first process that has one of its own: bubblewrap stays outside of what it makes."""
    ours = os.readlink("/proc/self/ns/net")
    for pid in (agent, *processes.descendants(agent)):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/ns/net") != ours:
                return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return None


def _enter(namespace: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _answer(asker: socket.socket, said: dict[str, object], fd: int | None) -> None:
    asker.setblocking(True)
    rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
    asker.sendmsg([json.dumps(said).encode() + b"\n"], rights)
