"""The same key never does the work twice: the answer is kept in the transaction of the work itself."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from dashd.store import idempotency
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods.table import Params, Result

T = TypeVar("T", bound=Result)


def once(
    method: str, params: Params, key: str | msgspec.UnsetType, operation: Callable[[Tx], T], answer: type[T]
) -> Callable[[Tx], T]:
    """`operation`, or the answer that it gave before under this key.

    A replayed answer has `deduplicated` set where it has such a field. The same key with another method or
    other parameters raises IdempotencyConflict.
    """
    if key is msgspec.UNSET:
        return operation
    digest = hashlib.sha256(msgspec.json.encode(params)).hexdigest()

    def run(tx: Tx) -> T:
        known = idempotency.find(tx.db, str(key), tx.now_ms)
        if known is None:
            result = operation(tx)
            idempotency.insert(tx, str(key), method, digest, msgspec.json.encode(result).decode())
            return result
        if known[:2] != (method, digest):
            raise errors.IdempotencyConflict(
                f"the key {key!r} was used for {known[0]} with other parameters",
                hint="use a new key for new work, or repeat the call exactly as it was",
                path="idempotency_key",
            )
        result = msgspec.json.decode(known[2], type=answer)
        return (
            msgspec.structs.replace(result, deduplicated=True) if hasattr(result, "deduplicated") else result
        )

    return run
