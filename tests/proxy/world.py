"""A proxy as it runs, small: a store on disk, a budget tree, one door, the stand-in, a scripted provider, a
client.
"""

import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from dashd import store
from dashd.domain.budget import NUSD
from dashd.proxy.caller import Caller, Patience
from dashd.proxy.door import Door, digest
from dashd.proxy.exchange import Exchange
from dashd.proxy.formats.format import Style
from dashd.proxy.ledger import Ledger, Payer
from dashd.proxy.offline import OfflineModel
from dashd.proxy.prices import PriceList
from dashd.proxy.registry import Provider as Configured
from dashd.proxy.registry import Registry, offline_providers
from dashd.proxy.server import serve
from dashd.proxy.tunnel import Tunnels
from dashd.proxy.upstream import HttpUpstream
from dashd.store import agents, budgets, seats, swarms, thresholds
from dashd.store.rows import Snapshot, SwarmRow
from tests.fakes.clock import FixedClock
from tests.fakes.provider import MODEL, PRICE, Provider

SWARM = "swarm1"
KEY = "key-"
HASTY = Patience(
    first_byte_s=0.4, whole_s=0.4, idle_s=0.3, total_s=5, line_s=5, held_s=5, retry_s=2, drain_s=0.2
)


@dataclass
class World:
    """Everything, open."""

    store: store.Store
    ledger: Ledger
    registry: Registry
    offline: OfflineModel
    exchange: Exchange
    door: Door
    port: int
    agents: list[str]

    async def budget(self, budget_id: str = SWARM) -> budgets.BudgetRow:
        return await self.store.reader.read(lambda db: budgets.get(db, budget_id))

    async def events(self, kind: str) -> list[dict[str, Any]]:
        query = "SELECT json_extract(body, '$.data') FROM event WHERE kind = ? ORDER BY seq"
        found = await self.store.reader.read(lambda db: list(db.execute(query, (kind,))))
        return [json.loads(data) for (data,) in found]

    async def happened(self, kind: str) -> None:
        """Until there is such an event."""
        while True:
            ticket = self.store.bells.events.ticket()
            if await self.events(kind):
                return
            await ticket.wait()

    async def settled(self) -> None:
        """Until nothing is held."""
        while True:
            ticket = self.ledger.ticket()
            if not (await self.budget()).held_nusd:
                return
            await ticket.wait()

    async def holds(self) -> list[tuple[str, str | None, int | None]]:
        """(state, basis, cost) of every try."""
        query = "SELECT state, basis, cost_nusd FROM hold ORDER BY id"
        return await self.store.reader.read(lambda db: list(db.execute(query)))

    def use(self, *providers: Provider, speaks: str = "openai-chat") -> None:
        """Configures scripted providers, in this order, as `p0`, `p1`, …."""
        for number, provider in enumerate(providers):
            name = f"p{number}"
            configured = Configured(name, speaks, provider.url, "sk-canary", (MODEL,))  # type: ignore[arg-type]
            self.registry.add(configured)

    @property
    def waiting(self) -> list[Any]:
        """The calls that were judged and wait: in line, or aside as their agent is held."""
        line = [each for each in self.ledger._line if each.answer is not None]
        return [*line, *self.ledger._aside]

    async def extend(self, budget_id: str, limit_nusd: int) -> None:
        def operation(tx: store.Tx) -> None:
            budgets.set_limits(tx, budget_id, limit_nusd, None)
            thresholds.lift(tx, budgets.get(tx.db, budget_id))
            tx.ring("agents")

        await self.store.writer.apply(operation)
        self.ledger.changed()


@asynccontextmanager
async def open_world(
    path: Path,
    *,
    limit: int | None = NUSD,
    agents_count: int = 1,
    agent_limit: int | None = None,
    style: Style = "embedded",
    patience: Patience = HASTY,
    as_agents: bool = True,
    deadline_s: float = 20,
    tunnels: Tunnels | None = None,
    hosts: tuple[str, ...] = (),
) -> AsyncIterator[World]:
    """A proxy with one swarm of some agents, for at most `deadline_s`; agent n has the key `key-<n>`."""
    with trio.fail_after(deadline_s):
        async with store.open_store(path / "dash.db", FixedClock()) as opened:
            names = await opened.writer.apply(lambda tx: _fill(tx, limit, agents_count, agent_limit))
            ledger, offline, http = Ledger(opened), OfflineModel(), HttpUpstream()
            registry = Registry(
                {each.name: each for each in offline_providers()}, {}, PriceList({MODEL: PRICE})
            )
            exchange = Exchange(
                ledger, registry, http=http, offline=offline, clock=FixedClock(), patience=patience
            )
            door = Door(None, style)
            for number, name in enumerate(names):
                payer = Payer(name, SWARM, name if as_agents else None)
                door.admit(digest(f"{KEY}{number}"), Caller(payer, style, hosts=hosts))
            listener = socket.create_server(("127.0.0.1", 0), backlog=256)
            port = listener.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ledger.follow)
                await nursery.start(partial(serve, tunnels=tunnels), listener, door, exchange)
                yield World(opened, ledger, registry, offline, exchange, door, port, names)
                nursery.cancel_scope.cancel()
            await http.aclose()


def _fill(tx: store.Tx, limit: int | None, count: int, agent_limit: int | None) -> list[str]:
    row = SwarmRow(
        id=SWARM,
        name="s",
        state="active",
        wanted="run",
        outcome=None,
        goal="g",
        strategy="parallel",
        driver="embedded",
        why_driver="",
        argv="[]",
        cwd="/",
        priority=2,
        timeout_s=1,
        retries=0,
        lease_s=0,
        grace_s=0,
        agents_max=count,
        next_agent=1,
        next_task=1,
        created_at_ms=tx.now_ms,
        ended_at_ms=None,
    )
    swarms.insert(tx, row)
    _node(tx, SWARM, "swarm", "project", limit)
    names = seats.add(tx, SWARM, count)
    for name in names:
        if budgets.find(tx.db, name) is None:
            _node(tx, name, "agent", SWARM, agent_limit)
        elif agent_limit is not None:
            budgets.set_limits(tx, name, agent_limit, None)
    return names


def _node(tx: store.Tx, name: str, kind: str, parent: str, limit: int | None) -> None:
    if budgets.find(tx.db, name) is None:
        budgets.insert(tx, budgets.new(name, kind, parent, SWARM, at_ms=tx.now_ms, limit=limit))


def pause(tx: store.Tx, agent: str, wanted: str) -> None:
    agents.set_wanted(tx, agent, wanted)
    tx.ring("agents")


@dataclass(frozen=True)
class Said:
    """An answer as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    """It ended as HTTP says it must."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def until(true: Callable[[], object]) -> None:
    """Until something is so that rings no bell; the test has the deadline."""
    while not true():  # noqa: ASYNC110
        await trio.sleep(0.001)


def chat(text: str = "hi", *, stream: bool = False, **more: Any) -> bytes:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": stream, **more}
    return json.dumps(body).encode()


def request(
    body: bytes | None,
    *,
    key: str | None = f"{KEY}0",
    path: str = "/v1/chat/completions",
    method: str = "POST",
    headers: Sequence[str] = (),
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", *headers]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


async def ask(port: int, sent: bytes) -> Said:
    """One request, one connection, read to its end."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(sent)
        data = bytearray()
        try:
            async for chunk in stream:
                data += chunk
        except trio.BrokenResourceError:
            pass
    return read(bytes(data))


def read(data: bytes) -> Said:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    status = int(lines[0].split()[1]) if lines[0] else 0
    if headers.get("transfer-encoding") == "chunked":
        body, whole = _unchunked(body)
    else:
        whole = len(body) == int(headers.get("content-length", "0"))
    return Said(status, headers, body, whole)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while b"\r\n" in data:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return body, True
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body, False


def check_tree(db: Snapshot) -> list[str]:
    """What is wrong with the budgets in this snapshot: I1, I2 and I3."""
    wrong = []
    query = (
        "SELECT a.above_id, sum(iif(h.state = 'open', h.held_nusd, 0)), sum(coalesce(h.cost_nusd, 0))"
        " FROM hold h JOIN budget_above a ON a.id = h.budget_id GROUP BY a.above_id"
    )
    sums = {name: (held, spent) for name, held, spent in db.execute(query)}
    for (name,) in list(db.execute("SELECT id FROM budget")):
        row = budgets.get(db, name)
        if row.limit_nusd is not None and row.held_nusd + row.spent_nusd > row.limit_nusd + row.overrun_nusd:
            wrong.append(f"I1 {name}: {row.held_nusd} + {row.spent_nusd} > {row.limit_nusd}")
        if sums.get(name, (0, 0)) != (row.held_nusd, row.spent_nusd):
            wrong.append(f"I2 {name}: {sums.get(name)} != {(row.held_nusd, row.spent_nusd)}")
        if row.spent_nusd < sum(child.spent_nusd for child in budgets.children(db, name)):
            wrong.append(f"I3 {name}: less than its children")
    return wrong
