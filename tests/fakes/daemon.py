"""A dashd that says what a test tells it to: a real Unix socket in the test's loop, and the real wire types.

What it is asked is decoded by the method table, and what it answers must be of the table's type, so a test
cannot rest on an answer that dashd could not give. It can die and live again at the same path.
"""

import contextlib
import inspect
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
import trio

from dashd.wire import envelope, errors, events, framing, methods
from dashd.wire.methods import agent, daemon, event, swarm, table

ID = "7k2m9q"
Handler = Callable[[Any], Any]


class Daemon:
    """Made by `open_daemon`. `on` sets what a method answers; `received` and `cancelled` say what came in."""

    def __init__(self, path: str, nursery: trio.Nursery) -> None:
        self.path = path
        self._nursery = nursery
        self._life: trio.CancelScope | None = None
        self._handlers: dict[str, Handler] = {}
        self._peers: list[_Peer] = []
        self._stirred = trio.Event()
        self.connections = 0
        """How many were ever made."""
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        """Methods whose calls were cancelled by `$/cancelRequest`."""

    def on(self, method: str, answer: Handler | table.Result | errors.DashError) -> None:
        """Answers `method` by a result, an error, or what a function (sync or async) of the params makes."""
        assert method in methods.METHODS, method
        self._handlers[method] = answer if callable(answer) else lambda params: answer

    def asked(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every call of `method` so far, as they were on the wire."""
        return [params for name, params in self.received if name == method]

    async def wait_asked(self, method: str, count: int = 1) -> None:
        """Returns once `method` has been asked for the `count`-th time."""
        while len(self.asked(method)) < count:
            await self._stirred.wait()

    async def wait_cancelled(self, method: str) -> None:
        """Returns once a call of `method` was cancelled by its caller."""
        while method not in self.cancelled:
            await self._stirred.wait()

    async def push(self, subscription: int, found: Iterable[events.Event]) -> None:
        """Sends `$/events` to every peer."""
        for peer in self._peers:
            await peer.send(
                envelope.encode_request("$/events", {"subscription": subscription, "events": list(found)})
            )

    async def live(self) -> None:
        """Starts to listen; whatever the path was before is replaced."""
        self._life = await self._nursery.start(self._run)

    async def die(self) -> None:
        """Goes away like a killed process: no answer, no goodbye, and the socket file stays."""
        assert self._life is not None
        self._life.cancel(reason="killed")
        while self._peers:
            await self._stirred.wait()
        self._life = None

    def stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()

    async def _run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        # Bound without trio, which would use a thread for it, and an autojump clock jumps while threads work.
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(self.path)
        with trio.socket.from_stdlib_socket(bound) as listening, trio.CancelScope() as life:
            listening.listen()
            task_status.started(life)
            await trio.serve_listeners(self._serve, [trio.SocketListener(listening)])

    async def _serve(self, stream: trio.SocketStream) -> None:
        peer = _Peer(self, stream)
        self._peers.append(peer)
        self.connections += 1
        try:
            async with stream, trio.open_nursery() as calls:
                await peer.serve(calls)
                calls.cancel_scope.cancel(reason="the peer is gone")
        finally:
            self._peers.remove(peer)
            self.stir()


class _Peer:
    """One connection."""

    def __init__(self, owner: Daemon, stream: trio.SocketStream) -> None:
        self._owner = owner
        self._stream = stream
        self._sending = trio.Lock()
        self._scopes: dict[Any, tuple[str, trio.CancelScope]] = {}

    async def send(self, frame: bytes) -> None:
        async with self._sending:
            with contextlib.suppress(trio.BrokenResourceError):
                await self._stream.send_all(frame + b"\n")

    async def serve(self, calls: trio.Nursery) -> None:
        framer = framing.Framer()
        with contextlib.suppress(trio.BrokenResourceError):
            async for chunk in self._stream:
                for frame in framer.feed(bytes(chunk)):
                    request = envelope.decode(frame)
                    assert isinstance(request, envelope.Request), request
                    self._take(request, calls)

    def _take(self, request: envelope.Request, calls: trio.Nursery) -> None:
        params = msgspec.json.decode(request.params)
        self._owner.received.append((request.method, params))
        if request.method == "$/cancelRequest":
            method, scope = self._scopes.get(params["id"], ("", trio.CancelScope()))
            self._owner.cancelled.append(method)
            scope.cancel(reason="$/cancelRequest")
        else:
            self._scopes[request.id] = (request.method, trio.CancelScope())
            calls.start_soon(self._answer, request)
        self._owner.stir()

    async def _answer(self, request: envelope.Request) -> None:
        scope = self._scopes[request.id][1]
        with scope:
            frame = await self._outcome(request)
        if scope.cancelled_caught:
            frame = envelope.encode_error(request.id, errors.Cancelled())
        await self.send(frame)

    async def _outcome(self, request: envelope.Request) -> bytes:
        row = methods.METHODS[request.method]
        try:
            answer = self._owner._handlers[request.method](
                msgspec.json.decode(request.params, type=row.params)
            )
            answer = await answer if inspect.isawaitable(answer) else answer
            if isinstance(answer, errors.DashError):
                raise answer
        except errors.DashError as error:
            return envelope.encode_error(request.id, error)
        assert isinstance(answer, row.result), f"{row.name} cannot answer {answer!r}"
        return envelope.encode_result(request.id, answer)


@contextlib.asynccontextmanager
async def open_daemon(path: str) -> AsyncIterator[Daemon]:
    """A living Daemon at `path`, with plain answers for one active swarm `ID`."""
    async with trio.open_nursery() as nursery:
        made = Daemon(path, nursery)
        made.on("daemon.ping", daemon.Pong(version="0", pid=1))
        made.on("swarm.create", created())
        made.on("swarm.get", lambda params: a_swarm() if params.swarm == ID else errors.UnknownSwarm())
        made.on("swarm.list", swarm.SwarmList(items=[a_brief()], next_cursor="", total=1))
        made.on("swarm.report", report())
        made.on("event.wait", wait_for_ever)
        made.on("event.subscribe", event.EventsSubscribed(subscription=1, cursor=0))
        made.on("event.unsubscribe", event.EventsUnsubscribed(changed=True))
        await made.live()
        yield made
        nursery.cancel_scope.cancel(reason="the test is over")


async def wait_for_ever(params: Any) -> Any:
    """A handler that never answers."""
    await trio.sleep_forever()


def created(**changes: Any) -> swarm.SwarmCreated:
    made = swarm.SwarmCreated(
        id=ID, name="", state="active", agents=20, tasks=20, strategy="parallel", driver="command",
        why_driver="argv", cursor=5,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def a_swarm(**changes: Any) -> swarm.Swarm:
    made = swarm.Swarm(
        id=ID, name="lint", state="active", outcome=None, ending=False, task="t", strategy="parallel",
        driver="command", why_driver="argv", argv=["true"], cwd="/", priority="medium", lease_s=120.0,
        limits=table.Limits(), agents_max=20, agents={"running": 20}, tasks={"running": 20},
        created_at="2026-11-20T10:00:00.000Z", ended_at=None, duration_s=1.0, cursor=5,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def a_brief(**changes: Any) -> swarm.SwarmBrief:
    made = swarm.SwarmBrief(
        id=ID, name="lint", state="active", outcome=None, agents=20, tasks=20, tasks_ended=3,
        created_at="2026-11-20T10:00:00.000Z",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def an_agent(**changes: Any) -> agent.AgentBrief:
    made = agent.AgentBrief(
        id=f"{ID}-001", name="", swarm=ID, state="running", liveness="alive", task=f"{ID}.1", item="a.py",
        progress="", note="", tasks_ended=0,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def report(**changes: Any) -> swarm.Report:
    made = swarm.Report(
        id=ID, name="lint", state="completed", outcome="partial", final=True, summary="19 of 20 tasks done.",
        tasks={"completed": 19, "dead": 1}, agents={"completed": 20}, attempts={"total": 23, "retried": 3},
        duration_s=2.0, cpu_s=1.0, failures=[], results=[], left_out=0, follow_ups=[],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def an_event(seq: int, kind: str = "task.completed", **changes: Any) -> events.Event:
    made = events.Event(seq=seq, at="2026-11-20T10:00:00.000Z", kind=kind, swarm=ID)
    return msgspec.structs.replace(made, **changes)
