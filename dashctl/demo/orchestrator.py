"""What an orchestrator model does, done by a program: tools called through the MCP server, over stdio.

One session lives from the first call to the last; dashd's death in between is the server's to bridge.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter

import mcp_types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from dashctl import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from typing import Any

CALL_S_MAX = 90.0
ENDED = ("completed", "failed", "destroyed")


class Session:
    """An open MCP session. Made by `open_session`, which closes it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()
        """How often each tool was called on behalf of the orchestrator."""

    async def call(self, tool: str, *, counted: bool = True, **arguments: object) -> dict[str, Any]:
        """The answer of a tool. Raises Failure with the text a model would read."""
        if counted:
            self.calls[tool] += 1
        result = await self._client.call_tool(tool, arguments, read_timeout_seconds=CALL_S_MAX)
        texts = [part.text for part in result.content if isinstance(part, mcp_types.TextContent)]
        if result.is_error:
            raise calling.Failure(f"the MCP server refused {tool}: {' '.join(texts)}")
        answer: dict[str, Any] = json.loads(texts[0])
        return answer

    async def wait_ended(self, swarm: str, cursor: int) -> None:
        """Returns when the swarm has ended, however often dashd goes away meanwhile."""
        while True:
            answer = await self.call(
                "event_wait", swarm=swarm, since=cursor, kinds=["swarm.completed", "swarm.failed"]
            )
            if answer["events"]:
                return
            cursor = answer["next"]

    async def events(
        self, swarm: str, cursor: int, kinds: list[str], *, timeout_s: float = CALL_S_MAX / 2
    ) -> tuple[list[dict[str, Any]], int, bool]:
        """`(events, next cursor, whether the swarm has ended and this is all)`, for the audience: these calls
        are not counted as the orchestrator's.
        """
        answer = await self.call(
            "event_wait", counted=False, swarm=swarm, since=cursor, kinds=kinds, timeout_s=timeout_s
        )
        ended = answer["state"] in ENDED and not answer.get("more")
        return answer["events"], answer["next"], ended


@contextlib.asynccontextmanager
async def open_session(
    socket: str, *, cwd: Path, environ: Mapping[str, str], log: Path
) -> AsyncIterator[Session]:
    """A session with an MCP server of our own; agents work by default in `cwd`, where the server runs."""
    server = StdioServerParameters(
        command=sys.executable,
        # -P: the folder it runs in, which holds a copy of our sources, is not searched for modules.
        args=["-P", "-m", "mcp_server", "--socket", socket],
        env=dict(environ),
        cwd=cwd,
    )
    with log.open("a", encoding="utf-8") as errors:
        async with Client(stdio_client(server, errlog=errors)) as client:
            yield Session(client)
