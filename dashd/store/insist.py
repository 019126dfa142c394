"""Writing down what must not be dropped: while the disk is full, the same operation is tried again."""

from collections.abc import Callable
from typing import TypeVar

import trio

from dashd.wire import errors

from .transaction import Tx
from .writer import Writer

FULL_RETRY_S = 1.0
"""Between tries; a disk that has room again rings no bell."""
T = TypeVar("T")


async def apply(writer: Writer, operation: Callable[[Tx], T], tell: Callable[[str], None]) -> T:
    """Like `Writer.apply`, but a full disk only delays it; `tell` is called with each such message.

    Cancellable between tries. Raises StoreBroken and StoreClosed, after which nothing can be written.
    """
    while True:
        try:
            return await writer.apply(operation)
        except errors.StoreFull as error:
            tell(error.message)
        await trio.sleep(FULL_RETRY_S)
