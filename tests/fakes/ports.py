"""Answers to the service's outside questions: one driver that takes anything, and spools in a dict.

tests/test_app.py holds them to the same contract as the real ones.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import trio

from dashd.service.ports import Chunk, DriverAbilities, Speaker
from dashd.wire import errors


class FakeDrivers:
    """Knows `command` alone; `refusal` is raised by `check` as long as it is set."""

    def __init__(self) -> None:
        self.refusal: errors.DashError | None = None
        self.message = False
        self.checked: list[tuple[str, Sequence[str] | None, str | None]] = []
        self.away: list[bool] = []
        """Of each check."""

    async def choose(self, name: str | None, *, has_argv: bool) -> tuple[str, str]:
        if name not in (None, "command"):
            raise errors.Unsupported(
                f"there is no driver {name!r} in this build", hint="drivers: command", path="driver"
            )
        return "command", "it was asked for" if name else "it is the only one"

    def abilities(self, name: str) -> DriverAbilities:
        assert name == "command"
        return driver_abilities("hard", message=self.message)

    def remarks(self, name: str, argv: Sequence[str]) -> list[str]:
        assert name == "command"
        return [f"a remark on {argument}" for argument in argv if "odd" in argument]

    def told(self, name: str, task: str, item: str, folder: str, write: Sequence[str] | None) -> str:
        return ""

    async def check(
        self, name: str, argv: Sequence[str] | None, cwd: str | None, *, away: bool = False
    ) -> tuple[list[str], str]:
        await trio.lowlevel.checkpoint()
        self.away.append(away)
        self.checked.append((name, argv, cwd))
        if self.refusal is not None:
            raise self.refusal
        return list(argv or ["true"]), cwd or "/"


def driver_abilities(pause: Literal["hard", "soft"], message: bool, **more: Any) -> DriverAbilities:
    """Of a driver that can do nothing else than what is said here."""
    found = DriverAbilities(
        pause,
        message,
        needs_model=False,
        breaks_off=False,
        keeps_session=False,
        compacts=False,
        at_once=None,
        asks=False,
        first_bytes=0,
    )
    return msgspec.structs.replace(found, **more)


class FakeSpools:
    """What launches printed, as (stream, payload) records of one offset each."""

    def __init__(self) -> None:
        self.printed: dict[str, list[tuple[int, bytes]]] = {}
        self.tickets: dict[str, trio.Event] = {}

    def prints(self, launch_id: str, payload: bytes, stream: int = 1) -> None:
        """The launch prints, and whoever waits hears of it."""
        self.printed.setdefault(launch_id, []).append((stream, payload))
        self.ring(launch_id)

    def ring(self, launch_id: str) -> None:
        """The launch has printed or ended."""
        if (event := self.tickets.pop(launch_id, None)) is not None:
            event.set()

    async def read(self, launch_id: str, offset: int | None, bytes_max: int, stream: int | None) -> Chunk:
        await trio.lowlevel.checkpoint()
        records = self.printed.get(launch_id, [])
        wanted = [(at, payload) for at, (of, payload) in enumerate(records) if stream in (None, of)]
        if offset is None:
            return Chunk(b"".join(payload for _, payload in wanted)[-bytes_max:], len(records))
        for at, payload in wanted:
            if at >= offset:
                return Chunk(payload, at + 1)
        return Chunk(b"", max(offset, len(records)))

    def ticket(self, launch_id: str) -> trio.Event:
        return self.tickets.setdefault(launch_id, trio.Event())


class FakeKeys:
    """Knows `good` (an orchestrator's) and, by `key-NAME`, any operator; `revoke` ends one."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def revoke(self, name: str) -> None:
        self.revoked.add(name)

    async def identify(self, key: str) -> Speaker | None:
        await trio.lowlevel.checkpoint()
        name = "claude" if key == "good" else key.removeprefix("key-") if key.startswith("key-") else ""
        if not name or name in self.revoked:
            return None
        return Speaker(name, "orchestrator" if key == "good" else "operator", f"proof of {name}")

    def stands(self, proof: str) -> bool:
        return proof.startswith("proof of ") and proof.removeprefix("proof of ") not in self.revoked

    async def follow(self) -> None:
        await trio.lowlevel.checkpoint()
