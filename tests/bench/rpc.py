"""What a request costs the server: the real door and dispatch, against a raw trio echo and supervisord."""

import contextlib
import select
import socket
from collections.abc import Callable, Iterator

from . import measure, peers
from .bed import Bed, program
from .measure import Figure

REQUEST = b'{"jsonrpc":"2.0","id":%d,"method":"daemon.ping","params":{}}\n'
CLIENTS = 50
SLICES = 4
"""Short turns, many of them: a CPU that was idle counts a request twice as long, whoever's turn it is."""


def run(bed: Bed) -> Iterator[Figure]:
    """CPU per request, serial and from 50 clients; the median answer time beside supervisord's."""
    echo = str(bed.place("echo") / "s")
    with bed.dashd() as dashd, program("-m", "tests.bench.baselines.echo", echo) as server:
        servers = {"dash": (dashd.socket, dashd.pid), "echo": (echo, server.pid)}
        yield _cpu(bed, "rpc.serial", "ratio <= 1.2", _serial, servers, bed.effort.count(1_000))
        yield _cpu(bed, "rpc.50_clients", "ratio <= 1.0", _fifty, servers, bed.effort.count(5_000))
        yield _beside_supervisord(bed, dashd.socket)


def _cpu(
    bed: Bed,
    name: str,
    goal: str,
    ask: Callable[[str, int], None],
    servers: dict[str, tuple[str, int]],
    count: int,
) -> Figure:
    def of(path: str, pid: int) -> Callable[[], float]:
        def once() -> float:
            before = measure.cpu_us(pid)
            ask(path, count)
            return (measure.cpu_us(pid) - before) / count

        return once

    variants = {server: of(path, pid) for server, (path, pid) in servers.items()}
    found = measure.interleave(bed.effort.rounds * SLICES, variants)
    return measure.compared(name, "us CPU/request", goal, measure.pairs(found, "dash", "echo"))


def _serial(path: str, count: int) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        for number in range(count):
            _exchange(peer, REQUEST % number)


def _exchange(peer: socket.socket, request: bytes) -> None:
    peer.sendall(request)
    while not peer.recv(65_536).endswith(b"\n"):
        pass


def _fifty(path: str, count: int) -> None:
    """Each client has one request on its way; answers are short enough to come whole."""
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        clients: dict[int, socket.socket] = {}
        for number in range(CLIENTS):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
            client.send(REQUEST % number)
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
        done = 0
        while done < count:
            for fd, _ in poll.poll():
                clients[fd].recv(65_536)
                done += 1
                clients[fd].send(REQUEST % done)
        for client in clients.values():
            client.recv(65_536)


def _beside_supervisord(bed: Bed, path: str) -> Figure:
    name, unit, goal = "rpc.p50_beside_supervisord", "us", "ratio <= 0.25"
    count = bed.effort.count(1_000)
    try:
        with peers.supervisord(bed, 1) as supervisord, socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            request = supervisord.request("supervisor.getState")
            variants = {
                "dash": lambda: measure.p50_us(lambda: _exchange(peer, REQUEST % 1), count),
                "supervisord": lambda: measure.p50_us(lambda: supervisord.exchange(request), count),
            }
            found = measure.interleave(bed.effort.rounds, variants)
    except peers.NoPeer as error:
        return measure.missing(name, unit, goal, str(error))
    return measure.compared(name, unit, goal, measure.pairs(found, "dash", "supervisord"))
