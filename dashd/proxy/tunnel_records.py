"""Tunnels on record: what an agent opens to a host outside is in the audit.

Once before a byte passes, once at the end with what has passed; a refusal once. It holds nobody's words, only
the host that the scope names, the address that was dialled, and figures.
"""

from functools import partial
from typing import Final

from dashd.store import audit
from dashd.store.opening import Store
from dashd.store.transaction import Tx

from .tunnel import TunnelRecord

ACTIONS: Final = {"open": "tunnel.opened", "refused": "tunnel.refused"}
"""Of records by how they ended; every other way is `audit.TUNNEL_ENDED`."""


class TunnelRecords:
    """`note` is what tunnels are given as `on_tunnel`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def note(self, record: TunnelRecord) -> None:
        """Returns when it is durable. Raises DashError where it cannot be: then nothing is opened."""
        await self._store.writer.apply(partial(_append, record))


def _append(record: TunnelRecord, tx: Tx) -> None:
    action = ACTIONS.get(record.how_it_ended, audit.TUNNEL_ENDED)
    data: dict[str, object] = {"host": record.host, "port": record.port}
    if record.address is not None:
        data["address"] = record.address
    if action == audit.TUNNEL_ENDED:
        data |= {"bytes_up": record.bytes_up, "bytes_down": record.bytes_down, "how": record.how_it_ended}
    if record.why:
        data["refused"] = record.why
    audit.append(tx, tx.actor, action, record.agent, data)
