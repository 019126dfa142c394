"""A dashd of the demo's own, in a folder of its own: started, killed with SIGKILL, started again, ended.

It knows nothing of the user's settings: configuration files and DASH_ variables are kept away from it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

import trio

from dashctl import calling, daemon_process
from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from typing import Any

START_S_MAX = 60.0
STOP_S_MAX = 15.0
ASK_S_MAX = 30.0
SOCKET_PATH_BYTES_MAX = 107
_LINE_BYTES_MAX = 4_096


class PrivateDaemon:
    """Made by `serving`, which ends it."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], stage: Path | None, own: Mapping[str, str]
    ) -> None:
        self._arguments = [] if stage is None else ["--stage", str(stage)]
        self.state = folder / "state"
        self.socket = str(self.state / "run" / "dashd.sock")
        self.environ = {**private(environ, folder), **own}
        self.log = folder / "dashd.log"
        self._process: trio.Process | None = None

    @property
    def pid(self) -> int:
        """Of the dashd that was started last."""
        assert self._process is not None, "start comes first"
        return self._process.pid

    async def start(self) -> None:
        """Returns when dashd serves. Raises Failure with what it said where it does not."""
        reader, writer = os.pipe()
        async with trio.lowlevel.FdStream(reader) as ready:
            with self.log.open("ab") as log:
                try:
                    self._process = await trio.lowlevel.open_process(
                        daemon_process.argv_of(
                            "run", "--ready-fd", str(writer), "--state-dir", str(self.state), *self._arguments
                        ),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=self.environ,
                        cwd=self.log.parent,
                        pass_fds=(writer,),
                        start_new_session=True,
                    )
                finally:
                    os.close(writer)
            line = await _line(ready)
        if not line.startswith("READY"):
            said = line.partition(" ")[2] or "it ended, or was not ready in time"
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-3:])
            raise calling.Failure(f"the demo's dashd did not start: {said}\n{tail}", hint="dashctl doctor")

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """What a person asks at the socket, no orchestrator in between. Raises Failure."""

        def ask() -> dict[str, Any]:
            with client_blocking.Client(self.socket) as dash:
                answer: dict[str, Any] = dash.call(method, params, deadline_s=ASK_S_MAX)
                return answer

        try:
            return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
        except client_blocking.CallFailed as problem:
            raise calling.Failure(f"{method} failed: {problem.message}", hint=problem.hint) from None

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone. Its agents live on."""
        assert self._process is not None, "start comes first"
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Ends dashd and every agent of it, by SIGKILL where asking does not help in time; never raises."""
        if self._process is None or self._process.returncode is not None:
            return
        with trio.move_on_after(STOP_S_MAX):
            await trio.to_thread.run_sync(self._ask_to_stop, abandon_on_cancel=True)
            await self._process.wait()
        await self.kill()

    def _ask_to_stop(self) -> None:
        with contextlib.suppress(client_blocking.CallFailed):
            with client_blocking.Client(self.socket) as dash:
                dash.call("daemon.stop", {"agents": "stop"}, deadline_s=STOP_S_MAX)
            return
        assert self._process is not None, "stop has looked"
        self._process.terminate()


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    environ: Mapping[str, str],
    *,
    stage: Path | None = None,
    own: Mapping[str, str] | None = None,
) -> AsyncIterator[PrivateDaemon]:
    """A private dashd that serves; at the end of the block it has ended, with its agents. `stage` is where
    its stand-in for a model keeps its bill and can be told to be down; `own` configures it.
    """
    daemon = PrivateDaemon(folder, environ, stage, own or {})
    if len(os.fsencode(daemon.socket)) > SOCKET_PATH_BYTES_MAX:
        raise calling.Failure(
            f"{daemon.socket} is too long for a socket (at most {SOCKET_PATH_BYTES_MAX} bytes)",
            hint="TMPDIR=/tmp dashctl demo",
        )
    try:
        await daemon.start()
        yield daemon
    finally:
        # Shielded, for an interrupted demo cleans up too; bounded by STOP_S_MAX.
        with trio.CancelScope(shield=True):
            await daemon.stop()


def private(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """`environ` without anything that configures Dash."""
    kept = {name: value for name, value in environ.items() if not name.startswith("DASH_")}
    own = {"XDG_CONFIG_HOME": str(folder / "config"), "DASH_JAIL_GRADE_MIN": "C"}
    return daemon_process.environ_of({**kept, **own})


async def _line(ready: trio.lowlevel.FdStream) -> str:
    line = b""
    with trio.move_on_after(START_S_MAX):
        while b"\n" not in line and len(line) < _LINE_BYTES_MAX:
            piece = await ready.receive_some(_LINE_BYTES_MAX)
            if not piece:
                break
            line += piece
    return line.partition(b"\n")[0].decode(errors="replace")
