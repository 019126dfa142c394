"""`model.*`: what the registry knows of models, and what the operator says of them."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from dashd.domain import dollars, wish
from dashd.store import budgets, call_bodies, models, providers, thresholds
from dashd.store.call_bodies import CallRow
from dashd.store.models import ModelRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import model as wire
from dashd.wire.methods.table import ModelWish

from . import names
from .core import Caller, Core
from .ports import ModelSeen
from .providers import STAND_INS, check_known

STAND_INS_OWN = ("aliases", "capabilities", "output_tokens_max")
"""What may be set of the built-in stand-ins."""
SETTABLE = wire.SetModel.__struct_fields__[1:]
MTOK = 1_000_000


async def list_(core: Core, _caller: Caller, params: wire.ListModels) -> wire.ModelList:
    """Those that can be called, and which is the default."""
    seen = await core.models.seen(None)
    aliases = await core.models.aliases()
    wanted = params.provider or None
    if wanted is not None and wanted not in STAND_INS:
        await core.store.reader.read(lambda db: check_known(db, wanted, "provider"))
    offer = await core.models.choose(None)
    return wire.ModelList(
        default=offer.name if offer else "",
        why_default=offer.why if offer else "there is no model",
        models=[_shown(each) for each in seen if wanted in (None, each.offer.provider)],
        aliases=[
            wire.Alias(name=each.name, means=each.means, leads_to=each.leads_to)
            for each in aliases
            if wanted is None or any(name.partition("/")[0] == wanted for name in each.leads_to)
        ],
    )


async def get(core: Core, _caller: Caller, params: wire.GetModel) -> wire.Model:
    """The one that would be called first, and those that follow it."""
    seen = await core.models.seen(params.model)
    if not seen:
        raise errors.NotFound(f"there is no model {params.model!r}", hint="model.list", path="model")
    return _named(seen)


async def set_(core: Core, _caller: Caller, params: wire.SetModel) -> wire.Model:
    """Changes what is given and leaves the rest. It may come before the provider: then it says so."""
    _check(params)
    callable_now = {each.offer.name for each in await core.models.seen(None)}
    rivals = await core.models.rivals(params.model)
    async with core.providers.changing:
        row = await core.store.writer.apply(lambda tx: _set(tx, params, callable_now, rivals))
        await core.providers.follow()
        await core.store.writer.apply(thresholds.reconsider_all)
    try:
        seen = await core.models.seen(params.model)
    except errors.InvalidParams:  # nobody serves it, or it has no price: not the fault of what was set
        seen = []
    return _named(seen) if seen else _kept(row)


async def calls(core: Core, _caller: Caller, params: wire.ListCalls) -> wire.CallList:
    """Newest first; the texts only where they are asked for."""
    of = params.of or None
    found = await core.store.reader.read(lambda db: _calls(db, of, params))
    return wire.CallList(
        calls=[_call(row, texts=params.texts) for row in found],
        next=found[-1].id if len(found) == params.limit else 0,
        kept=core.bodies,
    )


def told(model: str | ModelWish | msgspec.UnsetType | None) -> str | None:
    """A model as rows and the registry take it: a wish is its text. None where nobody named one."""
    if isinstance(model, ModelWish):
        limit = model.cost_limit
        return wish.text(wish.Wish(tuple(model.capabilities), model.prefer, limit, model.fallback_allowed))
    return model or None


def _calls(db: Snapshot, of: str | None, params: wire.ListCalls) -> list[CallRow]:
    found = call_bodies.page(db, of, params.before, params.limit)
    if not found and of is not None and budgets.find(db, of) is None:
        raise errors.NotFound(
            f"there is no swarm, agent, key or budget {of!r}",
            hint="swarm.list, agent.list, key.list",
            path="of",
        )
    return found


def _check(params: wire.SetModel) -> None:
    """Raises InvalidParams for what can be seen to be wrong without looking at anything."""
    for part in params.model.split(names.CHAIN) if names.CHAIN in params.model else ():
        names.check_model("model", part.strip())
    names.check("model", params.model)
    if params.model.startswith("{"):
        names.check_model("model", params.model)
    for index, alias in enumerate(params.aliases or ()):
        names.check_model(f"aliases[{index}]", alias)
    given = [name for name in params.__struct_fields__[1:] if getattr(params, name) is not msgspec.UNSET]
    if not given:
        raise errors.InvalidParams(
            f"nothing is given to set of model {params.model!r}", hint=f"give one of: {', '.join(SETTABLE)}"
        )
    fixed = next((name for name in given if name not in STAND_INS_OWN), "")
    if params.model in STAND_INS and fixed:
        raise errors.InvalidParams(
            f"{params.model} is the built-in stand-in; its {fixed} cannot be set",
            hint=f"{', '.join(STAND_INS_OWN)} can; provider.add makes a provider of your own",
            path=fixed,
        )


def _call(row: CallRow, *, texts: bool) -> wire.KeptCall:
    return wire.KeptCall(
        id=row.id,
        at=iso(row.at_ms),
        budget=row.budget_id,
        swarm=row.swarm_id,
        agent=row.agent_id,
        task=row.task_id,
        model=row.model,
        provider=row.provider,
        usd=dollars.usd(row.cost_nusd or 0),
        basis=row.basis or "",
        meta=msgspec.json.decode(row.meta),
        request=row.request if texts else None,
        answer=row.answer if texts else None,
    )


def _set(tx: Tx, params: wire.SetModel, callable_now: AbstractSet[str], rivals: Sequence[str]) -> ModelRow:
    before = models.find(tx.db, params.model)
    given_price = (
        params.input_usd_per_mtok is not msgspec.UNSET,
        params.output_usd_per_mtok is not msgspec.UNSET,
    )
    if any(given_price) and not all(given_price) and (before is None or before.input_nusd is None):
        raise errors.InvalidParams(
            "a price has two parts: input and output", hint="give both", path="input_usd_per_mtok"
        )
    if params.provider is not msgspec.UNSET and providers.find(tx.db, params.provider) is None:
        known = [row.name for row in providers.every(tx.db)]
        raise errors.InvalidParams(
            f"there is no provider {params.provider!r}",
            hint=f"providers: {', '.join(known) or 'none yet'}; provider.add makes one",
            path="provider",
        )
    unowned = params.provider is msgspec.UNSET and (before is None or not before.provider)
    if any(given_price) and unowned and len(rivals) > 1:
        raise errors.InvalidParams(
            f"{params.model!r} may be served by {' or '.join(rivals)}: a price must say for whom it is",
            hint=f"model.set {params.model} with provider, e.g. {rivals[0]}; then nobody else serves it",
            path="provider",
        )
    _refuse_taken(tx, params, callable_now)
    row = before or ModelRow(params.model, None, None, None, None, None, "[]", "[]", tx.now_ms)
    changes = {
        "provider": rivals[0] if any(given_price) and unowned and rivals else params.provider,
        "input_nusd": _per_token(params.input_usd_per_mtok),
        "output_nusd": _per_token(params.output_usd_per_mtok),
        "context_tokens": params.context_tokens,
        "output_tokens_max": params.output_tokens_max,
        "aliases": _json(params.aliases),
        "capabilities": _json(params.capabilities),
    }
    kept = {name: value for name, value in changes.items() if value is not msgspec.UNSET}
    if names.CHAIN in params.model and set(kept) - {"aliases"}:
        raise errors.InvalidParams(
            f"{params.model!r} is a chain; only aliases can be given to it",
            hint="set its models",
            path="model",
        )
    after = msgspec.structs.replace(row, **kept, set_at_ms=tx.now_ms)
    models.put(tx, after)
    return after


def _refuse_taken(tx: Tx, params: wire.SetModel, callable_now: AbstractSet[str]) -> None:
    """An alias means one thing."""
    if params.aliases is msgspec.UNSET:
        return
    rows = models.every(tx.db)
    for alias in params.aliases:
        owner = next((row.name for row in rows if alias in models.names(row.aliases)), params.model)
        if owner != params.model:
            raise errors.Conflict(
                f"the alias {alias!r} is {owner}'s", hint=f"model.set {owner} with other aliases first"
            )
        if alias in {row.name for row in rows} | {params.model} | callable_now:
            raise errors.InvalidParams(
                f"{alias!r} cannot be an alias: it is a model", hint="another word", path="aliases"
            )


def _per_token(usd_per_mtok: float | msgspec.UnsetType) -> int | msgspec.UnsetType:
    # Rounded up: a price is never too small.
    return usd_per_mtok if usd_per_mtok is msgspec.UNSET else -(-dollars.nusd(usd_per_mtok) // MTOK)


def _json(names: list[str] | msgspec.UnsetType) -> str | msgspec.UnsetType:
    return names if names is msgspec.UNSET else msgspec.json.encode(list(dict.fromkeys(names))).decode()


def _named(seen: list[ModelSeen]) -> wire.Model:
    """The first, with all that a call tries."""
    leads_to = [f"{each.offer.provider}/{each.offer.name}" for each in seen]
    return msgspec.structs.replace(_shown(seen[0]), leads_to=leads_to)


def _kept(row: ModelRow) -> wire.Model:
    """What was set of a model that cannot be called yet, and why that is."""
    priced = row.input_nusd is not None and row.output_nusd is not None
    return wire.Model(
        name=row.name,
        provider=row.provider or "",
        aliases=list(models.names(row.aliases)),
        capabilities=list(models.names(row.capabilities)),
        context_tokens=row.context_tokens,
        output_tokens_max=row.output_tokens_max,
        input_usd_per_mtok=dollars.usd((row.input_nusd or 0) * MTOK),
        output_usd_per_mtok=dollars.usd((row.output_nusd or 0) * MTOK),
        price_source="config" if priced else "",
        price_date=iso(row.set_at_ms)[:10] if priced else "",
        health="unknown",
        latency_ms=None,
        stand_in=False,
        problem="it cannot be called yet: no provider serves it, or it has no price; provider.add,"
        " or model.set with input_usd_per_mtok and output_usd_per_mtok",
    )


def _shown(seen: ModelSeen) -> wire.Model:
    offer = seen.offer
    return wire.Model(
        name=offer.name,
        provider=offer.provider,
        aliases=seen.aliases,
        capabilities=seen.capabilities,
        context_tokens=seen.context_tokens,
        output_tokens_max=offer.output_tokens_max,
        input_usd_per_mtok=dollars.usd(offer.price.at(0).input * MTOK),
        output_usd_per_mtok=dollars.usd(offer.price.at(0).output * MTOK),
        tiers=[
            wire.PriceTier(
                over_input_tokens=tier.over_tokens,
                input_usd_per_mtok=dollars.usd(tier.input * MTOK),
                output_usd_per_mtok=dollars.usd(tier.output * MTOK),
            )
            for tier in offer.price.tiers[1:]
        ],
        price_source=offer.price.source,
        price_date=offer.price.date,
        health=seen.health,
        latency_ms=seen.latency_ms,
        stand_in=seen.stand_in,
    )
