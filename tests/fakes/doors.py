"""Ways to a model that lead nowhere: what a run asks of them is written down."""

import socket

from dashd.drivers.driver import ModelAccess
from dashd.runtime.doors import OpenDoor
from dashd.store.queue import Claim


class FakeDoors:
    """See runtime.doors.Doors. `refusal` is raised by every `open` and `resume` as long as it is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.given: list[socket.socket] = []
        self.refusal: BaseException | None = None

    async def open(self, claim: Claim, model: str | None, *, inside: bool, calls: bool) -> OpenDoor:
        self._ask("open", claim)
        if inside:
            return OpenDoor(None, ModelAccess("http://127.0.0.1:8787/v1", "dk_1", model or "offline"))
        self.given.append(socket.socket())
        return OpenDoor(self.given[-1], ModelAccess("http://127.0.0.1:9/v1", "dk_1", model or "offline"))

    async def resume(self, claim: Claim, listener: socket.socket, *, calls: bool) -> None:
        listener.close()
        self._ask("resume", claim)

    async def close(self, claim: Claim) -> None:
        self._ask("close", claim)

    def _ask(self, what: str, claim: Claim) -> None:
        self.asked.append((what, claim.attempt_id))
        if self.refusal is not None and what != "close":
            raise self.refusal
