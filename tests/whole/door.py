"""The socket as a stranger uses it: JSON lines, nothing of Dash's own clients."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import trio

CALL_S_MAX = 20.0
WAIT_S_MAX = 30.0
OPEN = ("creating", "active", "paused")


class Refused(Exception):
    """dashd answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['data']['kind']}: {error['message']} ({error['data']['hint']})")
        self.code = error["code"]
        self.message = error["message"]
        self.kind = error["data"]["kind"]
        self.category = error["data"]["category"]
        self.hint = error["data"]["hint"]
        self.path = error["data"].get("path", "")


class Door:
    """One connection, one call at a time. It remembers the swarms that it made."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""
        self._last_id = 0
        self.pushed: list[dict[str, Any]] = []
        self.swarms: list[str] = []
        self.wait_s = WAIT_S_MAX
        """For events, all together."""

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one call; raises Refused."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        with trio.fail_after(CALL_S_MAX + params.get("timeout_s", 0)):
            await self._stream.send_all(json.dumps(request).encode() + b"\n")
            while (answer := await self.line()).get("id") != self._last_id:
                self.pushed.append(answer)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    async def line(self) -> dict[str, Any]:
        """The next line that comes, whatever it is."""
        while b"\n" not in self._buffer:
            piece = await self._stream.receive_some(65_536)
            assert piece, "dashd closed the connection"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def swarm(self, script: str, *arguments: str, **params: Any) -> dict[str, Any]:
        """Creates a swarm whose agents run a shell script; `arguments` are its $1, $2, …"""
        given = {"task": "a test", "cwd": "/", "argv": ["sh", "-c", script, "sh", *arguments]} | params
        created = await self.call("swarm.create", **given)
        self.swarms.append(created["id"])
        return created

    async def events(
        self, swarm: str, kinds: str | Sequence[str], count: int = 1, *, since: int = 0
    ) -> list[dict[str, Any]]:
        """Waits until there are `count` events of these kinds after the cursor, and returns all of them."""
        found: list[dict[str, Any]] = []
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        with trio.fail_after(self.wait_s):
            while len(found) < count:
                answer = await self.call(
                    "event.wait", swarm=swarm, kinds=kinds, since=since, timeout_s=WAIT_S_MAX
                )
                found += answer["events"]
                since = answer["cursor"]
        return found

    async def ended(self, swarm: str) -> dict[str, Any]:
        """Waits for the end of a swarm and returns its full report."""
        await self.events(swarm, ["swarm.completed", "swarm.failed", "swarm.destroyed"])
        return await self.call("swarm.report", swarm=swarm, detail="full")

    async def destroy_all(self) -> None:
        """Ends the swarms that were made through this door."""
        for swarm in self.swarms:
            if (await self.call("swarm.get", swarm=swarm))["state"] in OPEN:
                await self.call("swarm.destroy", swarm=swarm)
                await self.ended(swarm)


@contextlib.asynccontextmanager
async def open_door(path: str) -> AsyncIterator[Door]:
    """A connection to the dashd at this path."""
    with trio.fail_after(CALL_S_MAX):
        stream = await trio.open_unix_socket(path)
    async with stream:
        yield Door(stream)
