"""An OpenClaw gateway that a test starts by hand, and the least client that can run its agents.

It is what Dash's own is measured against: the same program with the same configuration and the same model,
with nobody in between.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket

from dashd.drivers import openclaw_config, openclaw_gateway
from dashd.drivers.openclaw_client import GatewayLost, is_ready
from dashd.drivers.openclaw_gateway import Seat
from dashd.drivers.openclaw_protocol import connect
from dashd.drivers.programs import Programs

TOKEN = "direct-" + "t" * 40
CLOSE_S_MAX = 5.0


class Direct:
    """Requests and their answers, and nothing else."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._waiting: dict[str, tuple[trio.Event, list[dict[str, Any]]]] = {}
        self._last = 0

    async def aclose(self) -> None:
        """Ends the connection."""
        await self._connection.aclose()

    async def read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = json.loads(await self._connection.get_message())
                if frame["type"] == "res" and frame["id"] in self._waiting:  # a run's end is told as well
                    answered, found = self._waiting[frame["id"]]
                    found.append(frame)
                    answered.set()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        number, answered, found = str(self._last), trio.Event(), list[dict[str, Any]]()
        self._waiting[number] = answered, found
        request = {"type": "req", "id": number, "method": method, "params": params}
        await self._connection.send_message(json.dumps(request))
        await answered.wait()
        del self._waiting[number]
        assert found[0]["ok"], found[0]
        return found[0]["payload"]

    async def run(self, agent: str, run_id: str, message: str) -> dict[str, Any]:
        """One run in a session of its own, to its end."""
        session = f"agent:{agent}:{run_id}"
        given = {"agentId": agent, "sessionKey": session, "idempotencyKey": run_id, "message": message}
        await self.call("agent", **given, deliver=False)
        while True:
            waited = await self.call("agent.wait", runId=run_id, timeoutMs=30_000)
            if waited["status"] != "timeout" or waited.get("endedAt"):
                assert waited["status"] == "ok", waited
                return waited


@contextlib.asynccontextmanager
async def open_direct(
    programs: Programs, folder: Path, seats: Sequence[Seat], within_s: float
) -> AsyncIterator[Direct]:
    """The gateway, as soon as it lets its client in; no process of it is left afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = _start(programs, folder, seats, port)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(within_s):
                direct = await _connect(nursery, port)
            try:
                yield direct
            finally:
                with trio.move_on_after(CLOSE_S_MAX, shield=True):
                    await direct.aclose()
            nursery.cancel_scope.cancel()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(programs: Programs, folder: Path, seats: Sequence[Seat], port: int) -> subprocess.Popen[bytes]:
    config = openclaw_gateway.config(seats, TOKEN)
    config["gateway"]["port"] = port
    for name in ("home", "state"):
        (folder / name).mkdir()
    (folder / "openclaw.json").write_text(json.dumps(config))
    own = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "OPENCLAW_STATE_DIR": str(folder / "state"),
        "OPENCLAW_CONFIG_PATH": str(folder / "openclaw.json"),
    }
    node, openclaw = programs.find("node"), programs.find("openclaw")
    assert node is not None
    assert openclaw is not None
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [node.path, openclaw.path, "gateway", "run", "--port", str(port), "--bind", "loopback"],
            env={**openclaw_config.ENVIRON, **own},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def _connect(nursery: trio.Nursery, port: int) -> Direct:
    while not await _is_ready(port):  # noqa: ASYNC110  # nothing says when it is
        await trio.sleep(0.5)
    connection = await connect_websocket(
        nursery, "127.0.0.1", port, "/", use_ssl=False, max_message_size=32 << 20
    )
    direct = Direct(connection)
    nursery.start_soon(direct.read)
    await direct.call("connect", **connect(TOKEN, "0"))
    return direct


async def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError, GatewayLost):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            return await is_ready(stream)
    return False
