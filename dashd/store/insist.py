"""What the daemon itself reads and writes: nothing of it is dropped because the disk is full, or because
another program has the database locked. The same is tried again.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from dashd.wire import errors

from .transaction import Tx
from .writer import Writer

RETRY_S = 1.0
"""Between tries; neither a disk that has room again nor a lock that is gone rings a bell."""
T = TypeVar("T")


async def apply(writer: Writer, operation: Callable[[Tx], T], tell: Callable[[str], None]) -> T:
    """Like `Writer.apply`, but a full disk and a lock only delay it; `tell` is called with each such message.

    Cancellable between tries. Raises StoreBroken and StoreClosed, after which nothing can be written.
    """
    while True:
        try:
            return await writer.apply(operation)
        except errors.StoreClosed:
            raise
        except errors.Unavailable as error:
            tell(error.message)
        await trio.sleep(RETRY_S)
