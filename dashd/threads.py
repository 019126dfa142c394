"""A worker thread for what blocks, waited for where the machine has none left for a moment.

Agents of the same user may use up all the processes that it may have, and a thread is one of them. What asks
for one then is not at fault, and dashd must not end for it.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
NO_THREAD: Final = "can't start new thread"
"""How Python says so."""
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


async def run(
    function: Callable[[*Arguments], T],
    *arguments: *Arguments,
    limiter: trio.CapacityLimiter | None = None,
) -> T:
    """What `function` returns, from a thread. Cancellable until it has begun, and while it waits for one.

    Raises what it raises. Not for what is shielded from cancellation: it may wait long.
    """
    while True:
        try:
            return await trio.to_thread.run_sync(function, *arguments, limiter=limiter)
        except RuntimeError as error:
            if str(error) != NO_THREAD:
                raise
            log.warning("%s waits: %s", getattr(function, "__name__", function), error)
        await trio.sleep(AGAIN_S)
