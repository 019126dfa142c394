"""Who has a key that speaks: `ports.Keys` over table `access_key`, its rows kept in memory.

`stands` is asked before each call and each push, so it looks into a dict; `follow` makes that dict what the
rows say, after each change of a key and before that change is answered. A caller stands while the very secret
that it has shown does: a rotation ends what the secret before had opened, and a name that is given to another
key later opens nothing for the one before.
"""

import hashlib
from dataclasses import replace
from typing import Literal, cast

import trio

from dashd.clock import Clock
from dashd.store import access_keys
from dashd.store.access_keys import KeyRow
from dashd.store.opening import Store

from .ports import Speaker

SPEAKING = ("operator", "orchestrator")
"""The kinds of keys that say who calls; those of kind proxy are for model calls alone."""


class Speakers:
    """The keys that stand."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Nobody stands before the first `follow`."""
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[Speaker, float]] = {}
        """By hash: whom it names, and until when, in milliseconds."""
        self._following = trio.Lock()

    async def follow(self) -> None:
        """See the port."""
        async with self._following:  # so that whoever reads last also sets last
            found = await self._store.own.read(access_keys.live)
            speaking = [row for row in found if row.kind in SPEAKING]
            self._known = {known[0].proof: known for row in speaking for known in _speakers(row)}

    async def identify(self, key: str) -> Speaker | None:
        """See the port."""
        proof = digest(key)
        return self._known[proof][0] if self.stands(proof) else None

    def stands(self, proof: str) -> bool:
        """See the port."""
        known = self._known.get(proof)
        return known is not None and self._clock.now_ms() < known[1]


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _speakers(row: KeyRow) -> list[tuple[Speaker, float]]:
    actor = cast("Literal['operator', 'orchestrator']", row.kind)
    until_ms = float("inf") if row.expires_at_ms is None else row.expires_at_ms
    speaker = Speaker(row.name, actor, row.hash, row.folders, bool(row.unsafe_no_jail))
    found = [(speaker, until_ms)]
    if row.old_hash is not None and row.old_until_ms is not None:
        found.append((replace(speaker, proof=row.old_hash), min(until_ms, row.old_until_ms)))
    return found
