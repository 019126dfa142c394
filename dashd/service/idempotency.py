"""The same key never does the work twice: the answer is kept in the transaction of the work itself.

A key is its caller's own: an orchestrator is not told what another one, or the operator, has made under it.
All operators are one here, for they may see all.
"""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from dashd.store import idempotency
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods.table import Params, Result

from .core import Caller, Core

T = TypeVar("T", bound=Result)


async def replay(
    core: Core, caller: Caller, method: str, params: Params, key: str | msgspec.UnsetType, answer: type[T]
) -> T | None:
    """The answer given before under this key, if there is one.

    So that a repetition is not checked against a world that has changed since. Raises IdempotencyConflict.
    """
    if key is msgspec.UNSET:
        return None
    now_ms = core.clock.now_ms()
    known = await core.store.reader.read(lambda db: idempotency.find(db, _own(caller, str(key)), now_ms))
    return None if known is None else _again(known, method, params, key, answer)


def once(
    caller: Caller,
    method: str,
    params: Params,
    key: str | msgspec.UnsetType,
    operation: Callable[[Tx], T],
    answer: type[T],
) -> Callable[[Tx], T]:
    """`operation`, or the answer that it gave before under this key.

    A replayed answer has `deduplicated` set where it has such a field. The same key with another method or
    other parameters raises IdempotencyConflict.
    """
    if key is msgspec.UNSET:
        return operation
    own = _own(caller, str(key))

    def run(tx: Tx) -> T:
        known = idempotency.find(tx.db, own, tx.now_ms)
        if known is not None:
            return _again(known, method, params, key, answer)
        result = operation(tx)
        idempotency.insert(tx, own, method, _digest(params), msgspec.json.encode(result).decode())
        return result

    return run


def _again(
    known: tuple[str, str, str], method: str, params: Params, key: str | msgspec.UnsetType, answer: type[T]
) -> T:
    """The stored answer, if it was given for the same call."""
    if known[:2] != (method, _digest(params)):
        raise errors.IdempotencyConflict(
            f"the key {key!r} was used for {known[0]} with other parameters",
            hint="use a new key for new work, or repeat the call exactly as it was",
            path="idempotency_key",
        )
    result = msgspec.json.decode(known[2], type=answer)
    return msgspec.structs.replace(result, deduplicated=True) if hasattr(result, "deduplicated") else result


def _own(caller: Caller, key: str) -> str:
    """The key as it is stored; no name of a caller has a line end in it."""
    return key if caller.actor == "operator" else f"{caller.who}\n{key}"


def _digest(params: Params) -> str:
    return hashlib.sha256(msgspec.json.encode(params)).hexdigest()
