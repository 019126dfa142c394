"""`key.*`: keys for programs outside. The secret is made here, shown once, and kept only as a hash."""

import base64
import hashlib

import msgspec

from dashd.domain import dollars, ids
from dashd.store import access_keys, budgets
from dashd.store.access_keys import KeyRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import key as wire

from . import models
from .core import Caller, Core

SECRET_BYTES = 32
PREFIX = "dk_live_"
KEYS_MAX = 1_000
"""That are not revoked."""
SHOWN_MAX = 5_000


async def create(core: Core, _caller: Caller, params: wire.CreateKey) -> wire.KeySecret:
    """The key is durable before its secret is shown; the door opens with the first one."""
    if params.kind != "proxy":
        raise errors.Unsupported(
            f"a key of kind {params.kind!r} would open nothing yet: the socket tells callers by their uid",
            hint="kind: proxy, for model calls of programs outside",
        )
    model = models.told(params.model)
    if model is not None:
        await core.models.choose(model)
    key_id, secret = f"key-{ids.swarm_id(core.clock.token(ids.SWARM_ID_BITS))}", _secret(core)
    row = await core.store.writer.apply(lambda tx: _create(tx, params, key_id, secret, model))
    return await _told(core, row, secret)


async def list_(core: Core, _caller: Caller, params: wire.ListKeys) -> wire.KeyList:
    """Oldest first."""
    now_ms = core.clock.now_ms()

    def query(db: Snapshot) -> list[wire.KeyInfo]:
        found = access_keys.every(db, SHOWN_MAX) if params.all else access_keys.live(db)
        return [_shown(db, row, now_ms) for row in found]

    keys = await core.store.reader.read(query)
    return wire.KeyList(keys=keys, url=core.outside.url, problem=core.outside.problem)


async def rotate(core: Core, _caller: Caller, params: wire.RotateKey) -> wire.KeySecret:
    """The new secret opens from the answer on; the old one until its grace has passed."""
    secret = _secret(core)

    def operation(tx: Tx) -> KeyRow:
        row = access_keys.get(tx.db, params.key)
        if not row.good(tx.now_ms):
            raise errors.Conflict(
                f"key {row.id} has {'expired' if row.revoked_at_ms is None else 'been revoked'}",
                hint="key.create makes another",
                path="key",
            )
        until_ms = tx.now_ms + params.grace_s * 1_000 if params.grace_s else None
        access_keys.rotate(tx, row, _digest(secret), until_ms)
        return access_keys.get(tx.db, row.id)

    return await _told(core, await core.store.writer.apply(operation), secret)


async def revoke(core: Core, _caller: Caller, params: wire.NameKey) -> wire.KeyChanged:
    """Calls with it are refused when this returns; those under way end. What it has spent stays counted."""

    def operation(tx: Tx) -> wire.KeyChanged:
        row = access_keys.get(tx.db, params.key)
        changed = row.revoked_at_ms is None
        if changed:
            access_keys.revoke(tx, row.id)
        return wire.KeyChanged(id=row.id, changed=changed)

    changed = await core.store.writer.apply(operation)
    await core.outside.follow()
    return changed


async def _told(core: Core, row: KeyRow, secret: str) -> wire.KeySecret:
    await core.outside.follow()
    now_ms = core.clock.now_ms()
    shown = await core.store.reader.read(lambda db: _shown(db, row, now_ms))
    url = core.outside.url
    return wire.KeySecret(
        key=shown,
        secret=secret,
        url=url,
        url_anthropic=url.removesuffix("/v1"),
        problem=core.outside.problem,
    )


def _create(tx: Tx, params: wire.CreateKey, key_id: str, secret: str, model: str | None) -> KeyRow:
    above = budgets.get(tx.db, params.budget)
    if above.kind not in ("project", "swarm"):
        raise errors.InvalidParams(
            f"a key cannot be paid by a budget of kind {above.kind}",
            hint="project, or a swarm",
            path="budget",
        )
    taken = access_keys.find(tx.db, params.name)
    if taken is not None and taken.revoked_at_ms is None:
        raise errors.Conflict(
            f"there is a key {params.name!r} already ({taken.id})",
            hint=f"key.rotate {taken.id} gives it a new secret; another name makes another key",
            path="name",
        )
    if access_keys.live_count(tx.db) >= KEYS_MAX:
        raise errors.Conflict(f"there are {KEYS_MAX} keys, the most there may be", hint="key.revoke some")
    limit = None if params.limit_usd is None else dollars.nusd(params.limit_usd)
    node = budgets.new(key_id, "key", above.id, above.swarm_id, at_ms=tx.now_ms, limit=limit)
    budgets.insert(tx, msgspec.structs.replace(node, limit_tokens=params.limit_tokens))
    lasts = params.expires_in_s
    row = KeyRow(
        id=key_id,
        kind=params.kind,
        name=params.name,
        hash=_digest(secret),
        old_hash=None,
        old_until_ms=None,
        budget_id=key_id,
        model=model,
        requests_per_minute=_or_none(params.requests_per_minute),
        tokens_per_minute=_or_none(params.tokens_per_minute),
        requests_per_day=_or_none(params.requests_per_day),
        tokens_per_day=_or_none(params.tokens_per_day),
        created_at_ms=tx.now_ms,
        expires_at_ms=None if lasts is msgspec.UNSET else tx.now_ms + lasts * 1_000,
    )
    access_keys.insert(tx, row)
    return row


def _or_none(rate: int | msgspec.UnsetType) -> int | None:
    return None if rate is msgspec.UNSET else rate


def _secret(core: Core) -> str:
    bits = core.clock.token(SECRET_BYTES * 8).to_bytes(SECRET_BYTES, "big")
    return PREFIX + base64.urlsafe_b64encode(bits).decode().rstrip("=")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _shown(db: Snapshot, row: KeyRow, now_ms: int) -> wire.KeyInfo:
    node = budgets.get(db, row.budget_id) if row.budget_id else None
    revoked = row.revoked_at_ms is not None
    return wire.KeyInfo(
        id=row.id,
        name=row.name,
        kind=row.kind,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        state="revoked" if revoked else "good" if row.good(now_ms) else "expired",
        budget=(node.parent_id or "") if node else "",
        limit_usd=dollars.usd_or_none(node.limit_nusd) if node else None,
        spent_usd=dollars.usd(node.spent_nusd) if node else 0.0,
        model=row.model,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        requests_per_day=row.requests_per_day,
        tokens_per_day=row.tokens_per_day,
        created_at=iso(row.created_at_ms),
        expires_at=None if row.expires_at_ms is None else iso(row.expires_at_ms),
        last_used_at=None if row.last_used_at_ms is None else iso(row.last_used_at_ms),
    )
