"""A worker thread for what blocks, waited for where the machine has none left for a moment.

Agents of the same user may use up all the processes that it may have, and a thread is one of them. What asks
for one then is not at fault, and dashd must not end for it.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, TypeVarTuple

import trio

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
_NO_THREAD: Final = "can't start new thread"
"""How Python says so."""
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class NoThread(Exception):
    """No thread can be started for now: the processes of this user are used up."""


async def run(
    function: Callable[[*Arguments], T],
    *arguments: *Arguments,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """What `function` returns, from a thread. Cancellable until it has begun, and while it waits for one;
    later as well with `abandon_on_cancel`, which leaves it to itself.

    Raises what it raises. Not for what is shielded without a deadline: it may wait long.
    """
    while True:
        try:
            return await at_once(function, *arguments, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
        except NoThread as error:
            log.warning("%s waits: %s", getattr(function, "__name__", function), error)
        await trio.sleep(AGAIN_S)


async def at_once(
    function: Callable[[*Arguments], T],
    *arguments: *Arguments,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """The same, for whoever can go without: raises NoThread where there is none, and has done nothing."""
    with scarce():
        return await trio.to_thread.run_sync(
            function, *arguments, limiter=limiter, abandon_on_cancel=abandon_on_cancel
        )


async def or_here(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """The same, and where there is none on the loop itself: for the short last thing that must be done."""
    try:
        return await at_once(function, *arguments)
    except NoThread:
        return function(*arguments)


@contextlib.contextmanager
def scarce() -> Iterator[None]:
    """Raises NoThread where what is inside, such as the start of a process, takes one and there is none."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != _NO_THREAD:
            raise
        raise NoThread(_NO_THREAD) from None
