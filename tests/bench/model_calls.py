"""A client of a model: raw sockets, so that it costs little, and the same to the proxy as to a provider."""

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

SILENT_S_MAX = 30.0
PATH = "/v1/chat/completions"
END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Door:
    """Where calls go."""

    port: int
    key: str = "none"
    model: str = "m-1"

    def request(self, said: str, *, stream: bool = False) -> bytes:
        """The bytes of a call; `said` is padded to the size of a small agent's."""
        messages = [{"role": "user", "content": said + " " + "x" * 4_000}]
        body = json.dumps(
            {"model": self.model, "messages": messages, "stream": stream, "max_tokens": 500}
        ).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    @contextlib.contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """A connection that is kept for many calls."""
        with socket.create_connection(("127.0.0.1", self.port), SILENT_S_MAX) as opened:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield opened


def call(connection: socket.socket, request: bytes) -> int:
    """One call that is not streamed; its status."""
    connection.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += _some(connection)
    return int(head.split()[1])


@dataclass
class Stream:
    """One streamed answer as it arrives."""

    connection: socket.socket
    delays_s: list[float] = field(default_factory=list)
    """How old each chunk was."""
    whole: bool = False
    """It has come to its end."""
    _data: bytes = b""

    def take(self) -> None:
        """Takes what has arrived."""
        self._data += _some(self.connection)
        now = time.monotonic()
        *lines, self._data = self._data.split(b"\n")
        self.delays_s += [
            now - json.loads(line[6:])["at"] for line in lines if line.startswith(b'data: {"at"')
        ]
        self.whole = self.whole or any(line.startswith(b"data: [DONE]") for line in lines)


def stream_one(door: Door, chunks: int, pace_ms: float) -> list[float]:
    """How old each chunk of one stream was when it came."""
    return streams([door], chunks, pace_ms)[0].delays_s


def streams(doors: list[Door], chunks: int, pace_ms: float) -> list[Stream]:
    """Streams side by side, one a door, to their ends."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        found = []
        for door in doors:
            connection = stack.enter_context(door.connection())
            connection.sendall(door.request(f"stream {chunks} {pace_ms}", stream=True))
            found.append(Stream(connection))
            selector.register(connection, selectors.EVENT_READ, found[-1])
        while not all(each.whole for each in found):
            ready = selector.select(SILENT_S_MAX)
            if not ready:
                break  # what is lost then is counted
            for key, _ in ready:
                try:
                    key.data.take()
                except EOFError:
                    selector.unregister(key.fileobj)
        return found


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise EOFError("the other side has closed")
    return data
