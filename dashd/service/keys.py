"""`key.*`: keys for programs outside, and for whoever calls dashd. A secret is made here and shown once; only
its hash is kept.
"""

import base64
import os

import msgspec

from dashd import threads
from dashd.domain import dollars, folders, ids
from dashd.store import access_keys, budgets, standings
from dashd.store.access_keys import KeyRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import key as wire

from . import models, names
from .core import Caller, Core
from .speakers import SPEAKING, digest

SECRET_BYTES = 32
PREFIX = "dk_live_"
KEYS_MAX = 1_000
"""That are not revoked."""
SHOWN_MAX = 5_000
OF_CALLS = (
    *("limit_usd", "limit_tokens", "model"),
    *("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day"),
)
"""Parameters that only a key for model calls can have."""


async def create(core: Core, _caller: Caller, params: wire.CreateKey) -> wire.KeySecret:
    """The key is durable before its secret is shown; the door opens with the first one."""
    names.check("name", params.name)
    if params.kind in SPEAKING:
        _refuse_money(params)
    within = await _within(params)
    model = models.told(params.model)
    if model is not None:
        await core.models.choose(model)
    key_id, secret = f"key-{ids.swarm_id(core.clock.token(ids.SWARM_ID_BITS))}", _secret(core)
    row = await core.store.writer.apply(lambda tx: _create(tx, params, key_id, secret, model, within))
    return await _told(core, row, secret)


async def list_(core: Core, _caller: Caller, params: wire.ListKeys) -> wire.KeyList:
    """Oldest first."""
    now_ms = core.clock.now_ms()

    def query(db: Snapshot) -> list[wire.KeyInfo]:
        found = access_keys.every(db, SHOWN_MAX) if params.all else access_keys.live(db)
        return [_shown(core, db, row, now_ms) for row in found]

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
        access_keys.rotate(tx, row, digest(secret), until_ms)
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
    await _follow(core)
    return changed


async def _follow(core: Core) -> None:
    """Both doors know of the change before it is answered."""
    await core.keys.follow()
    await core.outside.follow()


async def _told(core: Core, row: KeyRow, secret: str) -> wire.KeySecret:
    await _follow(core)
    now_ms = core.clock.now_ms()
    shown = await core.store.reader.read(lambda db: _shown(core, db, row, now_ms))
    if row.kind in SPEAKING:
        return wire.KeySecret(key=shown, secret=secret, url="", url_anthropic="")
    url = core.outside.url
    return wire.KeySecret(
        key=shown,
        secret=secret,
        url=url,
        url_anthropic=url.removesuffix("/v1"),
        problem=core.outside.problem,
    )


def _refuse_money(params: wire.CreateKey) -> None:
    """A key that says who calls makes no model calls, so it has no budget and no rates."""
    given = msgspec.structs.asdict(params)
    named = next((name for name in OF_CALLS if given[name] not in (None, msgspec.UNSET)), None)
    if named is None and params.budget != budgets.PROJECT:
        named = "budget"
    if named is not None:
        raise errors.InvalidParams(
            f"{named} is about model calls, and a key of kind {params.kind} makes none",
            hint=f"leave {named} out, or make a key of kind proxy",
            path=named,
        )


async def _within(params: wire.CreateKey) -> str | None:
    """The folders as the file system knows them, for the row. Raises InvalidParams."""
    named = (
        "within" if params.within is not msgspec.UNSET else "unsafe_no_jail" if params.unsafe_no_jail else ""
    )
    if named and params.kind != "orchestrator":
        raise errors.InvalidParams(
            f"{named} bounds what an orchestrator gives to agents, and a key of kind {params.kind} is none",
            hint=f"leave {named} out, or make a key of kind orchestrator",
            path=named,
        )
    if params.within is msgspec.UNSET:
        return None
    real = []
    for at, folder in enumerate(params.within):
        if not os.path.isabs(folder):
            path = f"within[{at}]"
            raise errors.InvalidParams(f"{folder!r} is not an absolute path", hint="give one", path=path)
        real.append(await threads.run(os.path.realpath, folder))
    return msgspec.json.encode(folders.canonical(real)).decode()


def _create(
    tx: Tx, params: wire.CreateKey, key_id: str, secret: str, model: str | None, within: str | None
) -> KeyRow:
    taken = access_keys.find(tx.db, params.name)
    if taken is not None and taken.revoked_at_ms is None:
        raise errors.Conflict(
            f"there is a key {params.name!r} already ({taken.id})",
            hint=f"key.rotate {taken.id} gives it a new secret; another name makes another key",
            path="name",
        )
    if access_keys.live_count(tx.db) >= KEYS_MAX:
        raise errors.Conflict(f"there are {KEYS_MAX} keys, the most there may be", hint="key.revoke some")
    if params.kind == "proxy":
        _open_budget(tx, params, key_id)
    lasts = params.expires_in_s
    row = KeyRow(
        id=key_id,
        kind=params.kind,
        name=params.name,
        hash=digest(secret),
        old_hash=None,
        old_until_ms=None,
        budget_id=key_id if params.kind == "proxy" else None,
        model=model,
        requests_per_minute=_or_none(params.requests_per_minute),
        tokens_per_minute=_or_none(params.tokens_per_minute),
        requests_per_day=_or_none(params.requests_per_day),
        tokens_per_day=_or_none(params.tokens_per_day),
        created_at_ms=tx.now_ms,
        expires_at_ms=None if lasts is msgspec.UNSET else tx.now_ms + lasts * 1_000,
        within=within,
        unsafe_no_jail=int(params.unsafe_no_jail),
    )
    access_keys.insert(tx, row)
    return row


def _open_budget(tx: Tx, params: wire.CreateKey, key_id: str) -> None:
    above = budgets.get(tx.db, params.budget)
    if above.kind not in ("project", "swarm"):
        raise errors.InvalidParams(
            f"a key cannot be paid by a budget of kind {above.kind}",
            hint="project, or a swarm",
            path="budget",
        )
    if standings.is_over(tx.db, above):
        raise errors.SwarmEnded(
            f"swarm {above.id} has ended, and pays for nothing any more",
            hint="project, or a swarm that has not ended",
            path="budget",
        )
    limit = None if params.limit_usd is None else dollars.nusd(params.limit_usd)
    node = budgets.new(key_id, "key", above.id, above.swarm_id, at_ms=tx.now_ms, limit=limit)
    budgets.insert(tx, msgspec.structs.replace(node, limit_tokens=params.limit_tokens))


def _or_none(rate: int | msgspec.UnsetType) -> int | None:
    return None if rate is msgspec.UNSET else rate


def _secret(core: Core) -> str:
    bits = core.clock.token(SECRET_BYTES * 8).to_bytes(SECRET_BYTES, "big")
    return PREFIX + base64.urlsafe_b64encode(bits).decode().rstrip("=")


def _shown(core: Core, db: Snapshot, row: KeyRow, now_ms: int) -> wire.KeyInfo:
    node = budgets.get(db, row.budget_id) if row.budget_id else None
    revoked = row.revoked_at_ms is not None
    used_ms = max(row.last_used_at_ms or 0, core.outside.last_used_ms(row.id) or 0)
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
        last_used_at=iso(used_ms) if used_ms else None,
        within=None if row.folders is None else list(row.folders),
        unsafe_no_jail=bool(row.unsafe_no_jail),
    )
