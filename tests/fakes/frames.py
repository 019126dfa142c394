"""Frames that nobody should send, from a seed: the same seed gives the same frames.

Each is one line without its newline. Most are broken requests, some are whole and wrong, a few are right, so
that a peer which answers none of them is noticed. None asks for anything that changes state.
"""

import json
import random
from collections.abc import Callable, Iterator

METHODS = (
    "daemon.ping",
    "event.list",
    "swarm.get",
    "rpc.hello",
    "rpc.discover",
    "$/cancelRequest",
    "$/x",
    "",
    "no.such",
)
VALUES = (None, True, False, 0, -1, 1.5, 10**30, "", "x", "\ud800", "\x00", [], [1], {}, {"a": {"b": []}})
IDS = (*VALUES, 1, 2, "1", "a" * 300)
ALPHABET = b'{}[]",:0123456789.eE+-tfnul \\\t\r"jsonrpc"\x00\xff\xc3\xf0'


def malformed(seed: int, count: int) -> Iterator[bytes]:
    """`count` frames, none with a newline in it."""
    dice = random.Random(seed)
    kinds: list[Callable[[random.Random], bytes]] = [
        _noise,
        _cut,
        _changed,
        _deep,
        _wrong,
        _wrong,
        _batch,
        _right,
    ]
    for _ in range(count):
        yield dice.choice(kinds)(dice).replace(b"\n", b" ")


def _noise(dice: random.Random) -> bytes:
    return bytes(dice.choice(ALPHABET) for _ in range(dice.randrange(1, 60)))


def _cut(dice: random.Random) -> bytes:
    whole = _right(dice)
    return whole[: dice.randrange(len(whole))]


def _changed(dice: random.Random) -> bytes:
    frame = bytearray(_right(dice))
    for _ in range(dice.randrange(1, 4)):
        frame[dice.randrange(len(frame))] = dice.randrange(256)
    return bytes(frame)


def _deep(dice: random.Random) -> bytes:
    depth = dice.choice((10, 1_000, 5_000))
    inner = dice.choice((b"[", b'{"a":', b'[{"a":')) * depth
    return dice.choice((b"", b'{"jsonrpc":"2.0","id":1,"method":"daemon.ping","params":')) + inner


def _wrong(dice: random.Random) -> bytes:
    request = {
        "jsonrpc": dice.choice(("2.0", "2.0", "1.0", 2, None)),
        "id": dice.choice(IDS),
        "method": dice.choice((*METHODS, *VALUES)),
        "params": dice.choice((*VALUES, {"since": dice.choice(VALUES)}, {"client": dice.choice(VALUES)})),
    }
    for name in list(request):
        if dice.random() < 0.2:
            del request[name]
    return json.dumps(request, allow_nan=True).encode()


def _batch(dice: random.Random) -> bytes:
    parts = [dice.choice((_wrong, _wrong, _right, _noise))(dice) for _ in range(dice.choice((0, 1, 3, 101)))]
    return b"[" + b",".join(parts) + b"]"


def _right(dice: random.Random) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"method":"daemon.ping","params":{}}' % dice.randrange(1_000)
