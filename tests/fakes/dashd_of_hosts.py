"""A real dashd for which every name is at one public address, and that address is a port of this machine:
`… PORT run …`.

Nothing else is different: who may open what, what is counted and what is recorded are dashd's own.
"""

import functools
import sys

import trio

from dashd import __main__ as dashd_main
from dashd import model_side
from dashd.proxy.tunnel import Tunnels
from tests.fakes.outside import PUBLIC


def argv(port: int) -> tuple[str, ...]:
    """What Python runs, before `run`."""
    return ("-m", __name__, str(port))


async def _resolve(_name: str, _port: int, _turns: trio.CapacityLimiter) -> list[str]:
    return [PUBLIC]


async def _dial(address: str, _port: int) -> trio.SocketStream:
    assert address == PUBLIC
    return await trio.open_tcp_stream("127.0.0.1", int(sys.argv[1]))


def main() -> int:
    """Runs dashd."""
    assert model_side.Tunnels is Tunnels, "whoever makes them must be the one that is changed"
    model_side.Tunnels = functools.partial(Tunnels, resolve=_resolve, dial=_dial)  # type: ignore[misc,assignment]
    return dashd_main.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
