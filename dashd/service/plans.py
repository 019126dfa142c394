"""`swarm.plan`: what a swarm would cost before it exists, and the terms on which it is created.

`create` and `plan` read their parameters here, so that what was planned is what is made.
"""

import msgspec

from dashd.domain import budget as rules
from dashd.domain import dollars, fanout, folders
from dashd.domain import scope as scopes
from dashd.domain.strategies import STRATEGIES
from dashd.store import allotments, budgets, costs
from dashd.store.allotments import SeatRule, Terms
from dashd.store.rows import Snapshot
from dashd.wire import errors
from dashd.wire.methods import swarm as wire

from . import drivers, models, modes, repositories, walls
from .core import Caller, Core
from .ports import Offer
from .providers import STAND_INS

BRIEF_CHARACTERS_MAX = 4_000


class Prepared(msgspec.Struct, frozen=True):
    """A swarm that could be created: its terms, and what it is expected to need."""

    terms: Terms
    fan_out: fanout.Fanout | None
    """None where the driver calls no model that Dash knows of."""
    limited: bool
    """Whether a budget was asked for."""
    model_notes: tuple[str, ...] = ()
    """Which model was taken and why, where nobody named one; which of a chain are never called."""


async def plan(core: Core, caller: Caller, params: wire.PlanSwarm) -> wire.SwarmPlan:
    """The estimate, with its assumptions, and one agent's brief; raises what `swarm.create` would."""
    driver, _ = await drivers.of_swarm(core, params)
    place = await repositories.prepare(core, params)
    argv, cwd = await drivers.check(core, params, driver, place.cwd)
    items = params.items or [str(number + 1) for number in range(params.agents)]
    brief = brief_of(params, argv, cwd, items[0])
    ready = await prepare(core, params, driver, brief, tasks=len(items))
    walled = await walls.prepare(core, caller, params, place, cwd, driver)
    way = await modes.prepare(core, params, driver)
    await core.store.reader.read(lambda db: refuse_unstartable(db, ready))
    first = STRATEGIES[params.strategy](items)[0].item
    told = _told(core, driver, params.task, first, place, cwd, walled) or brief
    shown = _shown(params, driver, told, ready, tasks=len(items))
    date = await core.models.prices_date()
    said = notes(params, ready, tasks=len(items))
    return msgspec.structs.replace(
        shown,
        notes=[*said, *core.drivers.remarks(driver, argv), *walled.notes, *way.notes, *place.notes],
        prices_date=date,
    )


async def prepare(core: Core, params: wire.PlanSwarm, driver: str, brief: str, *, tasks: int) -> Prepared:
    """Reads budget and model. Raises InvalidParams for terms that contradict each other, or the model."""
    agents = min(params.agents, tasks)
    terms = terms_of(params, agents)
    offer = None
    model = models.told(params.model)
    if model or core.drivers.abilities(driver).needs_model:
        offer = await core.models.choose(model, drivers.speaks(core, driver))
    fan_out = None
    can = core.drivers.abilities(driver)
    if offer is not None and can.needs_model:
        # As it travels: each line and each quote of it is two bytes there.
        name, size = offer.name, len(msgspec.json.encode(brief.encode("utf-8", "replace").decode())) - 2
        fan_out = fanout.Fanout(
            agents=agents,
            tasks=tasks,
            brief_bytes=size,
            model=name,
            price=offer.price,
            output_tokens_max=offer.output_tokens_max,
            useful_tokens=core.useful_tokens,
            learned=await core.store.reader.read(lambda db: costs.learned(db, driver, name)),
            stand_in=offer.provider in STAND_INS,
            first_bytes=can.first_bytes,
        )
    said = _said(driver, offer) if fan_out and offer else ()
    return Prepared(terms, fan_out, params.budget is not msgspec.UNSET, said)


def _said(driver: str, offer: Offer) -> tuple[str, ...]:
    found = [f"model {offer.name} of provider {offer.provider}: {offer.why}"] if offer.why else []
    if offer.left_out:
        are, they = ("are", "they are") if len(offer.left_out) > 1 else ("is", "it is")
        found.append(
            f"{', '.join(offer.left_out)} {are} never called: driver {driver} calls the models of this swarm"
            f" in the format {offer.format}, in which {they} not served"
        )
    return tuple(found)


def terms_of(params: wire.PlanSwarm, agents: int) -> Terms:
    """What the swarm and each of its agents may spend. Raises InvalidParams."""
    limited = params.budget is not msgspec.UNSET
    for name in ("reserve", "agent_budget"):
        value = getattr(params, name)
        if not limited and value is not msgspec.UNSET and (name == "reserve" or value == "even"):
            raise errors.InvalidParams(
                f"{name} is a part of the budget, and there is none", hint="give a budget too", path=name
            )
    limit = dollars.nusd(float(params.budget)) if limited else rules.DEFAULT_CEILING_NUSD  # type: ignore[arg-type]
    reserve = 0
    if params.reserve is not msgspec.UNSET:
        reserve = limit * dollars.nusd(float(params.reserve)) // (100 * rules.NUSD)
    names, own = _own_caps(params, agents)
    rule: SeatRule | None = "allotment" if limited else None
    seat: int | None = (limit - reserve) // agents if limited else None
    if params.agent_budget == "even":
        rule = "even"
    elif params.agent_budget is not msgspec.UNSET:
        rule, seat = "cap", dollars.nusd(float(params.agent_budget))
    return Terms(limit, reserve, rule, seat, names, own)


def refuse_unstartable(db: Snapshot, ready: Prepared) -> None:
    """Raises BudgetExceeded, with figures and what to run, where not even the first calls could be made."""
    if ready.fan_out is None:
        return
    found = fanout.estimate(ready.fan_out)
    usable = ready.terms.limit - ready.terms.reserve
    left = allotments.least_left(db, budgets.PROJECT)
    if left is not None and left < min(usable, found.start):
        raise errors.BudgetExceeded(
            f"the project has {dollars.text(left)} left, and {_need(ready.fan_out, found)}",
            hint=f"budget.extend project {dollars.usd(found.start - left):.4f}",
            path="budget",
        )
    if usable < found.start:
        fewer = fanout.agents_within(ready.fan_out, usable)
        needed = _percent_up(found.start, ready.terms)
        instead = f", or agents: {fewer}" if 0 < fewer < ready.fan_out.agents else ""
        raise errors.BudgetExceeded(
            f"{_need(ready.fan_out, found)}; the budget leaves {dollars.text(usable)}",
            hint=f"swarm.create with budget: {needed}{instead}",
            path="budget",
        )
    caps = list(ready.terms.own.values())
    if ready.terms.seat_rule in ("cap", "even") and ready.terms.seat_nusd is not None:
        caps.append(ready.terms.seat_nusd)
    if caps and min(caps) < found.first_hold:
        raise errors.BudgetExceeded(
            f"an agent's first call must have {dollars.text(found.first_hold)} to hold; "
            f"a cap of {dollars.text(min(caps))} can never start it",
            hint=f"swarm.create with agent_budget: {dollars.usd(_up(found.first_hold)):.4f} or more",
            path="agent_budgets" if min(caps) in ready.terms.own.values() else "agent_budget",
        )


def notes(params: wire.PlanSwarm, ready: Prepared, *, tasks: int) -> list[str]:
    """What the creator should know about seats and money; `plan` and `create` say it in the same words."""
    found = _counted(params.agents, tasks)
    found += ready.model_notes
    terms = ready.terms
    others = min(params.agents, tasks) > len(terms.own)
    if terms.seat_rule == "allotment" and terms.seat_nusd is not None and others:
        whose = "the part of each agent without a cap" if terms.own else "each agent's part of the budget"
        found.append(f"{dollars.text(terms.seat_nusd)} is {whose}; it is not a cap")
    own = sum(terms.own.values())
    if own > terms.limit:
        found.append(
            f"the agents' caps come to {dollars.text(own)}, more than the budget, which holds all the same"
        )
    if ready.fan_out is not None and ready.limited:
        total = fanout.estimate(ready.fan_out).total
        if total > terms.limit - terms.reserve:
            found.append(f"all tasks are estimated at {dollars.text(total)}, more than the budget leaves")
    return found


def _counted(agents: int, tasks: int) -> list[str]:
    if tasks < agents:
        return [f"{tasks} task(s) need no more than {tasks} agent(s)"]
    return [f"{tasks} tasks queue for {agents} agents"] if tasks > agents else []


def brief_of(params: wire.PlanSwarm, argv: list[str], cwd: str, item: str) -> str:
    """What a swarm asks of one agent: its command where it has one, else its task and item."""
    if argv:
        filled = [
            word.replace("{item}", item).replace("{task}", params.task).replace("{cwd}", cwd) for word in argv
        ]
        return " ".join(filled)
    return f"{params.task}\n\nItem: {item}" if params.items else params.task


def _told(
    core: Core,
    driver: str,
    task: str,
    item: str,
    place: repositories.Place,
    cwd: str,
    walled: walls.Walled,
) -> str:
    """What the driver's first agent is told: by how its clone will be called where it is to have one."""
    folder = cwd if place.terms is None else f"(its own clone of {place.root or cwd})"
    write = None
    if walled.walls == "required":
        named = scopes.from_json(walled.scope).write or ()
        write = [folders.absolute(each, folder) for each in named]
    return core.drivers.told(driver, task, item, folder, write)


def _own_caps(params: wire.PlanSwarm, agents: int) -> tuple[list[str], dict[int, int]]:
    """(names of seats, caps by seat number); names that are no number take the free seats in order."""
    if params.agent_budgets is msgspec.UNSET:
        return [], {}
    numbered = {_number(key): key for key in params.agent_budgets if _number(key)}
    named = [key for key in params.agent_budgets if not _number(key)]
    beyond = next((key for number, key in numbered.items() if number > agents), "")
    if (
        beyond
        or len(named) + len(numbered) > agents
        or len(numbered) + len(named) < len(params.agent_budgets)
    ):
        wrong = f"agent {beyond}" if beyond else f"{len(params.agent_budgets)} agents"
        raise errors.InvalidParams(
            f"agent_budgets names {wrong}, and the swarm has {agents} agent(s)",
            hint=f"use names, or numbers from 1 to {agents}, each once",
            path="agent_budgets",
        )
    names, caps = [""] * agents, {}
    free = iter([number for number in range(1, agents + 1) if number not in numbered])
    for key, usd in params.agent_budgets.items():
        number = _number(key) or next(free)
        caps[number] = dollars.nusd(usd)
        if not _number(key):
            names[number - 1] = key
    return names, caps


def _number(key: str) -> int:
    """1 for `1`, `001` and `agent-1`; 0 where it is a name."""
    digits = key.removeprefix("agent-")
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _need(plan: fanout.Fanout, found: fanout.Estimate) -> str:
    if found.start == found.first_hold:
        return f"the first call must have {dollars.text(found.first_hold)} to hold with model {plan.model}"
    return (
        f"the first calls of {plan.agents} agents come to about {dollars.text(found.start)}"
        f" with model {plan.model}"
    )


def _percent_up(start: int, terms: Terms) -> str:
    """The budget that leaves so much besides the same reserve, to type."""
    usable = max(1, terms.limit - terms.reserve)
    whole = start * max(1, terms.limit) // usable if terms.limit > terms.reserve else start
    return f"{dollars.usd(_up(whole)):.4f}"


def _up(nusd: int) -> int:
    """Rounded up to a hundredth of a cent."""
    return -(-nusd // 100_000) * 100_000


def _caps(terms: Terms) -> dict[str, float]:
    """The caps of their own that create makes, by the names of their agents."""
    names = ["", *terms.names]
    return {names[number] or f"agent-{number}": dollars.usd(cap) for number, cap in sorted(terms.own.items())}


def _shown(params: wire.PlanSwarm, driver: str, brief: str, ready: Prepared, *, tasks: int) -> wire.SwarmPlan:
    found = fanout.estimate(ready.fan_out) if ready.fan_out else None
    terms = ready.terms
    others = min(params.agents, tasks) > len(terms.own)
    usable = terms.limit - terms.reserve
    assumed = fanout.assumptions(ready.fan_out) if ready.fan_out else []
    if not assumed:
        assumed = [f"driver {driver} calls no model that Dash knows of, so nothing is priced"]
    return wire.SwarmPlan(
        agents=min(params.agents, tasks),
        tasks=tasks,
        driver=driver,
        model=ready.fan_out.model if ready.fan_out else None,
        calls=found.calls if found else 0,
        input_tokens=found.input_tokens if found else 0,
        output_tokens=found.output_tokens if found else 0,
        usd=dollars.usd(found.total if found else 0),
        task_usd=dollars.usd(found.task if found else 0),
        start_usd=dollars.usd(found.start if found else 0),
        budget_usd=dollars.usd(terms.limit) if ready.limited else None,
        reserve_usd=dollars.usd(terms.reserve),
        agent_usd=dollars.usd_or_none(terms.seat_nusd) if others else None,
        agent_cap=terms.seat_rule in ("cap", "even") or not others,
        agent_caps_usd=_caps(terms),
        enough=found is None or found.total <= usable,
        assumptions=assumed,
        brief=brief[:BRIEF_CHARACTERS_MAX],
        notes=[],
        prices_date="",
    )
