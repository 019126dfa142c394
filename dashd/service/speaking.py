"""Who speaks: a peer is its uid, or whom a key says it is; either way it is on record.

A program of the operator's own uid *is* the operator (SECURITY.md); a key can only say more exactly who that
is, or give rights away. Once a connection has shown a key it never speaks as its uid again.
"""

from dataclasses import replace

from dashd.store import access_keys, audit
from dashd.store.transaction import Tx
from dashd.wire import errors

from .core import Caller, Core
from .guard import refused
from .redaction import masked

HINT = "key.list shows the keys there are; without a key, programs of dashd's own user are the operator"


async def introduce(core: Core, caller: Caller, client: str, key: str) -> Caller:
    """The caller as the key names it. Raises Unauthorized for a key that is unknown, expired or revoked."""
    speaker = await core.keys.identify(key)
    if speaker is None:
        why = "This key is not known, has expired or was revoked."
        await refused(core, replace(caller, client=client), "auth.refused", "", why)
        raise errors.Unauthorized(why, hint=HINT)
    known = replace(
        caller,
        actor=speaker.actor,
        key=speaker.name,
        proof=speaker.proof,
        client=client,
        within=speaker.within,
        unsafe_no_jail=speaker.unsafe_no_jail,
    )
    data = {"uid": caller.uid, "client": masked(client)}

    def operation(tx: Tx) -> None:
        row = access_keys.find(tx.db, speaker.name)
        if row is not None:
            access_keys.used(tx, row.id, tx.now_ms)
        audit.append(tx, known.who, "auth.key", speaker.name, data)

    await core.store.writer.apply(operation)
    return known
