"""A gateway as far as attempts use it, and one that is carried in it: its runs end when a test says so.

tests/fakes/test_gateway_attempts.py holds it to the real ones.
"""

import json
from types import SimpleNamespace
from typing import Any

import trio

from dashd.drivers.openclaw_client import GatewayRefused
from dashd.drivers.openclaw_protocol import Fault, Reply, RunEvent, Session, Waited
from dashd.runtime.gateway_link import GatewayLink
from dashd.runtime.gateway_warmth import Warmth
from dashd.store.inputs import InputRow
from dashd.store.queue import Claim
from dashd.store.transaction import Tx

CLAIM = Claim("s-t1.1", "s-001", "s-t1", "s")
RUN = "s-t1.1:turn:1"
OK = Waited("ok", 1.0, terminal_reply=Reply("fine"))
ABORTED = Waited("error", 1.0, stop_reason="rpc")
DRAINS = GatewayRefused("agent.wait", Fault("UNAVAILABLE", "during gateway restart", True, 1000))
NOT_SO = GatewayRefused("agent.wait", Fault("INVALID_REQUEST", "not so"))


class FakeClient:
    """What the gateway knows of runs; `ended` are those that have, `started` what was asked for."""

    def __init__(self) -> None:
        self.ended: dict[str, Waited] = {}
        self.session: Session | None = None
        self.started: list[str] = []
        self.aborted = 0
        self.aborts_needed = 1
        self.refusals: list[Exception] = []
        self.slow_s = 0.0
        """To take a run."""
        self.fresh = True
        """Whether runs that are asked for had not been begun before."""
        self.refuses: GatewayRefused | None = None
        """Whatever it is asked how something stands."""
        self.asked = 0
        self.abort_refusals: list[Exception] = []
        self.changed = trio.Event()

    async def wait(self, run_id: str, wait_ms: int = 30_000) -> Waited:
        await self._ask()
        if run_id not in self.ended and wait_ms:
            with trio.move_on_after(wait_ms / 1_000):
                await self.changed.wait()
        await trio.lowlevel.checkpoint()
        return self.ended.get(run_id, Waited("timeout"))

    async def describe(self, session: str) -> Session | None:
        await self._ask()
        return self.session

    async def _ask(self) -> None:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.refuses is not None:
            raise self.refuses

    async def start(self, agent: str, session: str, run_id: str, message: str) -> bool:
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop()
        await trio.sleep(self.slow_s)
        self.started.append(run_id)
        return self.fresh

    async def abort(self, session: str) -> None:
        await trio.lowlevel.checkpoint()
        self.aborted += 1
        if self.abort_refusals:
            raise self.abort_refusals.pop()
        if self.aborted >= self.aborts_needed:
            for run_id in (*self.started, self.session and self.session.last_run_id):
                if run_id and run_id not in self.ended:
                    self.end(run_id, ABORTED)
            self.session = self.session and Session("timeout", None)

    def end(self, run_id: str, how: Waited) -> None:
        self.ended[run_id] = how
        self.changed.set()


class FakeGateway:
    """See runtime.gateway_connection.Connection."""

    link = None
    boot_id: str | None = None
    tag = ""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.starts = trio.Semaphore(1)
        self.warmth = Warmth()
        self.hearers: dict[str, Any] = {}
        self.raws: dict[str, str] = {}
        self.given_up: list[str] = []
        self.own = self.speaks = True
        self.asked_since: float | None = None
        self.shunned: list[str] = []
        self.renewed: list[tuple[str, str]] = []
        self.renews = False
        self.entered: list[tuple[str, str | None]] = []

    async def connected(self, boot_id: str | None = None) -> FakeClient:
        return self.client

    def start_of(self, _agent_id: str) -> str | None:
        return self.boot_id

    def tag_for(self, _agent_id: str) -> str:
        return self.tag

    def renew(self, agent_id: str, name: str) -> bool:
        self.renewed.append((agent_id, name))
        return self.renews

    def shun(self, why: str) -> None:
        self.shunned.append(why)

    def hear(self, run_id, hearer):
        self.hearers[run_id] = hearer
        return lambda: self.hearers.pop(run_id)

    async def raw(self, run_id, within_s) -> str:
        return self.raws.get(run_id, "")

    def has_spoken(self, since: float) -> bool:
        self.asked_since = since
        return self.speaks

    async def add(self, agent_id: str, tag: str = "") -> None:
        await trio.lowlevel.checkpoint()

    def enter(self, tx: Tx, launch_id: str, boot_id: str | None) -> None:
        self.entered.append((launch_id, boot_id))

    def give_up(self, why: str) -> bool:
        self.given_up.append(why)
        return self.own


class Heard:
    """Stands for the output and the talk."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def hear(self, line: bytes) -> None:
        self.frames.append(json.loads(line))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]


class FakeLog:
    """Keeps nothing."""

    def hear(self, _event: RunEvent) -> None:
        pass

    def settle(self, _text: str, _fault: str) -> None:
        pass

    async def keep(self) -> None:
        await trio.sleep_forever()


def link_to(gateway: FakeGateway, replayed: int = 0, *, claim: Claim = CLAIM, **more: Any) -> GatewayLink:
    return GatewayLink(
        gateway,  # type: ignore[arg-type]
        claim,
        claim.attempt_id,
        replayed,
        log=FakeLog(),  # type: ignore[arg-type]
        **more,
    )


class Bed:
    """An attempt in a gateway, and what is heard of it."""

    def __init__(self, nursery, *, replayed: int = 0) -> None:
        self.gateway = FakeGateway()
        self.heard = Heard()
        self.talk: Any = None
        """A conversation that hears it too."""
        self.link = link_to(self.gateway, replayed)
        nursery.start_soon(self.link.carry, self, None)

    def hear(self, line: bytes) -> None:
        self.heard.hear(line)
        if self.talk is not None:
            self.talk.feed(1, line)

    async def give(self, number: int, key: str) -> None:
        await self.link.send_input(number, json.dumps({"id": key, "message": "do it"}).encode())


async def settled() -> None:
    """Whatever was asked for has been done."""
    await trio.sleep(5)


def plan_of(session: str, rows: tuple[str, ...] = ()) -> Any:
    """Of an attempt that goes on in the session of the launch `session`, and was given these turns."""
    made = [InputRow("s-t1.2", number, key, b"{}", 0, None) for number, key in enumerate(rows, 1)]
    journal = SimpleNamespace(rows=tuple(made))
    return SimpleNamespace(
        launch_id="s-t1.2",
        session=session,
        journal=journal,
        place=None,
        place_boot=None,
        session_boot=None,
        begun=False,
    )


async def commit(_operation: object) -> None:
    """Writes nothing down."""
    await trio.lowlevel.checkpoint()
