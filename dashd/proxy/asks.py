"""Where an agent asks before it acts: `POST /dash/v1/ask` on its own listener.

Who judges is handed in; this bounds what reaches them, and holds the answer back until there is one. A caller
that hangs up is forgotten here; asking again under the same `call` finds whatever was begun.
"""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from dashd.domain import surrogates
from dashd.domain.asking import Answer, Ask

from .caller import Gone, Refused, Reply
from .rates import MINUTE_S, Bucket

PATH = "/dash/v1/ask"
BODY_BYTES_MAX = 128 * 1024
OPEN_MAX = 8
"""Asks of one caller that are held at once."""
PER_MINUTE_MAX = 120
"""What comes faster is answered later."""

Judge = Callable[[Ask], Awaitable[Answer]]


class Desk:
    """One caller's."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._open = 0
        self._bucket = Bucket(PER_MINUTE_MAX, MINUTE_S)

    async def serve(self, body: bytes, reply: Reply) -> None:
        """Answers one ask, whenever that may be. Raises Refused, and Gone where the caller hangs up."""
        ask = _read(body)
        if self._open >= OPEN_MAX:
            raise Refused(429, "asks", f"{OPEN_MAX} of your asks wait already; wait for one of them")
        self._open += 1
        try:
            with trio.CancelScope() as held:
                reply.watch(lambda: held.cancel(reason="the caller has hung up"))
                answer = msgspec.json.encode(await self._answer(ask))
        finally:
            self._open -= 1
        if held.cancelled_caught:
            raise Gone
        await reply.start(200, {"content-type": "application/json"}, length=len(answer))
        await reply.send(answer)

    async def _answer(self, ask: Ask) -> Answer:
        now = trio.current_time()
        wait_s = self._bucket.wait_s(now, 1)
        self._bucket.take(now, 1)
        await trio.sleep(wait_s)
        return await self._judge(ask)


def _read(body: bytes) -> Ask:
    try:
        return msgspec.json.decode(body, type=Ask)
    except surrogates.UNREADABLE as error:
        like = '{"kind": "command|path|tool", "text": "rm -r build", "call": "1"}'
        raise Refused(400, "ask", f"not an ask: {error}; it is like {like}") from None
