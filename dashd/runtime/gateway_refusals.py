"""Requests that a gateway refuses for now, asked again.

While it drains before its restart (up to 315 s), or is suspended, a gateway refuses every request, and what
runs in it works on. So a refusal to say how a run stands is no end of that run: whoever took it for one would
give the same task to another attempt. Only a run that was refused itself has not begun.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from dashd.drivers.openclaw_client import INVALID, Client, GatewayLost, GatewayRefused

from .gateway_connection import DRAIN_S_MAX

T = TypeVar("T")

ANSWER_S_MAX = DRAIN_S_MAX
"""How long a question is repeated over one connection: a little longer than a gateway drains."""
TAKE_S_MAX = 30.0
"""How long a run that is refused for now is asked for again, before its task may go elsewhere."""
UNTOLD_S = 1.0
"""Between two tries where the gateway does not say when, and before another connection is looked for."""
LOOK_S = 5.0


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Its answer, however often it is refused before. Raises GatewayLost where none comes."""
    try:
        return await repeated(ask, ANSWER_S_MAX)
    except GatewayRefused as refused:
        why = f"it does not say how a run stands: {refused}"
    await trio.sleep(UNTOLD_S)  # whoever comes back over another connection asks the same
    raise GatewayLost(why)


async def repeated(ask: Callable[[], Awaitable[T]], within_s: float) -> T:
    """Its answer; what is refused for now is asked again for so long. Raises GatewayRefused, GatewayLost."""
    until = trio.current_time() + within_s
    while True:
        try:
            return await ask()
        except GatewayRefused as refused:
            left_s = until - trio.current_time()
            if not refused.for_now or left_s <= 0:
                raise
            pause_s = refused.retry_after_s or UNTOLD_S
        await trio.sleep(min(pause_s, left_s))  # whoever is told so at once would ask again at once


async def asked_again(start: Callable[[], Awaitable[bool]]) -> bool:
    """A run that was asked for without an answer, which may have been taken: it is not begun again. False
    where it had been taken. Raises GatewayLost where that stays unknown.
    """
    try:
        return await repeated(start, TAKE_S_MAX)
    except GatewayRefused as refused:
        raise GatewayLost(f"a run that it may have taken: {refused}") from None


async def aborted(
    connected: Callable[[], Awaitable[Client]],
    session: str,
    deadline: float,
    unsure: Callable[[], str],
) -> str:
    """Ends what runs in the session: empty where nothing does any more, else why that is not known by then. A
    run of which it is `unsure`, by its name, whether it was taken may begin a moment later: it must
    be said to be over.
    """
    why = "it was not connected"
    with trio.move_on_at(deadline):
        while True:
            pause_s = UNTOLD_S
            try:
                client = await connected()
                await end_runs(client, session)
                if not (run_id := unsure()) or (await client.wait(run_id, 0)).over:
                    return ""
                why = "a run that it may have been asked for is not over"
            except GatewayLost as lost:
                why = str(lost)
            except GatewayRefused as refused:
                why, pause_s = str(refused), refused.retry_after_s or UNTOLD_S
            await trio.sleep(pause_s)
    return why


async def end_runs(client: Client, session: str) -> None:
    """Whatever works in the session; it may be nothing, or no session. Raises GatewayLost, GatewayRefused."""
    try:
        await client.abort(session)
    except GatewayRefused as refused:
        if refused.code != INVALID:  # else nothing of it is there
            raise


async def until_begun(client: Client, run_id: str, begun: trio.Event) -> None:
    """The event is a hint, and may never come. Raises GatewayLost."""
    while not begun.is_set() and not (await answered(partial(client.wait, run_id, 0))).over:
        with trio.move_on_after(LOOK_S):
            await begun.wait()
