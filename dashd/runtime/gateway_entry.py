"""How an attempt comes into a gateway, Dash's own or an added one: its agent let in, its session at rest.

An attempt whose forerunner was lost with its gateway goes on in the session of that one, as the state of the
next gateway has it, or the next start of the same added one. What the gateway takes up there by itself is
ended first, and calls no model meanwhile. Where another gateway does it, or another agent, it is told that a
part of it may be done.
"""

from functools import partial

import trio

from dashd.domain.attempt import Ending
from dashd.drivers import openclaw_gateway
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.store.queue import Claim

from .attach import Attached
from .gateway_connection import AGAIN_S, DRAIN_S_MAX, Connection, GatewayGone
from .gateway_link import ABORT_S_MAX, FIRST, GatewayLink, run_of
from .gateway_log import GatewayLog
from .gateway_warmth import REST_S_MAX, at_rest
from .plan import Plan
from .wish import Wish
from .world import World

LOST_S_MAX = DRAIN_S_MAX
"""How long an attempt tries to come in over connections that end."""
LOST_AGAIN_S_MAX = 5.0


async def enter(world: World, claim: Claim, plan: Plan) -> GatewayLink | Ending:
    """Has the attempt's agent let into the gateway of its swarm, once that can be used."""
    if plan.work.asks and not plan.begun:  # what has begun goes on: a gate holds from the next attempt on
        why = (
            f"in a gateway nobody is asked before a tool works, and its swarm has rules for {plan.work.asks}"
        )
        return Ending("failed", why, retry=False)
    if plan.place is not None:
        added = await world.added.of(plan.place)
        if added is None:
            return Ending("lost" if plan.begun else "never", "its gateway was removed")
        link = await _let_in(world, added, claim, plan)
        if isinstance(link, Ending) and link.state != "lost":
            added.shun(link.reason)
        return link
    if plan.within is None:
        gateway = await world.gateways.begun(claim.swarm_id)
    else:
        found = world.gateways.find(claim.swarm_id)
        if found is None or not found.has(plan.within):
            return Ending("lost", "its gateway has ended")
        gateway = found
    return await _let_in(world, gateway, claim, plan)


async def _let_in(world: World, gateway: Connection, claim: Claim, plan: Plan) -> GatewayLink | Ending:
    since: float | None = None
    while True:
        try:
            await gateway.connected(plan.place_boot)
        except GatewayGone as gone:
            # Where it has not begun nothing counts: it may go elsewhere, or wait for the next one.
            return Ending("lost" if plan.begun else "never", f"its gateway is gone: {gone}")
        pause_s = 0.0
        try:
            boot_id, tag = gateway.boot_id, _tag(gateway, claim, plan)
            start = plan.place_boot or gateway.start_of(claim.agent_id)
            await world.commit(partial(gateway.enter, launch_id=plan.launch_id, boot_id=start))
            await gateway.add(claim.agent_id, tag)
            resumed = await _resumes(gateway, claim, plan, tag)
            if gateway.boot_id == boot_id:
                break
            why = "it began again meanwhile"
        except GatewayRefused as refused:
            if not refused.for_now and not plan.begun:
                return Ending("failed", f"its gateway does not take it: {refused}")
            if not refused.for_now or (plan.place is not None and not plan.begun):
                return _never_in(gateway, claim, plan, f"not taken: {refused}")
            why, pause_s = str(refused), refused.retry_after_s
        except (GatewayLost, GatewayGone) as lost:  # if it is gone for good, `connected` says so
            why = str(lost)
        except trio.TooSlowError:
            why = f"not taken: its session was not at rest after {REST_S_MAX:g} s"
            return _never_in(gateway, claim, plan, why, works=True)
        since = trio.current_time() if since is None else since
        if (for_s := trio.current_time() - since) > LOST_S_MAX:
            return _never_in(gateway, claim, plan, f"not taken within {LOST_S_MAX:g} s: {why}")
        await trio.sleep(max(pause_s, min(LOST_AGAIN_S_MAX, max(AGAIN_S, for_s / 4))))
    replayed = len(plan.journal.rows)
    again = plan.follows_killed and not resumed
    kept = GatewayLog(world, plan.launch_id)
    link = GatewayLink(
        gateway, claim, plan.session, replayed, boot_id, tag, resumed=resumed, again=again, log=kept
    )
    if not plan.begun:  # else it has begun, and its calls wait
        await link.take_turn()
    try:
        await world.gateway_doors.let_in(gateway.door, claim)
    except BaseException:
        link.give_way()
        raise
    return link


def _never_in(gateway: Connection, claim: Claim, plan: Plan, why: str, *, works: bool = False) -> Ending:
    """It did not come in. A run of its that had begun before may go on, and must not for another attempt;
    nor must what `works` in its session of an attempt before it.
    """
    if (plan.begun or works) and not gateway.give_up(f"an attempt in it was {why}"):
        tag = _tag(gateway, claim, plan)
        agent = openclaw_gateway.agent_name(claim.agent_id, tag)
        session = openclaw_gateway.session_key(claim.agent_id, plan.session, tag)
        if not gateway.warmth.is_left(agent):  # else it is that one that did not come to rest
            gateway.warmth.leave_working(agent, session, _last_run(claim, plan))
    return Ending("lost" if plan.begun else "never", f"by its gateway {why}")


def _last_run(claim: Claim, plan: Plan) -> str:
    """The last one that it was given, which may not have been taken yet; empty where there is none."""
    keys = [row.key for row in plan.journal.rows if not row.eof]
    return run_of(claim.attempt_id, keys[-1]) if keys else ""


def _tag(gateway: Connection, claim: Claim, plan: Plan) -> str:
    """What its agent's name ends with: one that goes on in a session has the name that it had in that."""
    if plan.session_boot:
        return openclaw_gateway.tag_of(plan.session_boot)
    return gateway.tag_for(claim.agent_id)


async def _resumes(gateway: Connection, claim: Claim, plan: Plan, tag: str) -> bool:
    """Whether the attempt goes on in a session of one before it. From then on what its agent calls is called
    for the attempt, and for nothing that the gateway does by itself. Raises TooSlowError.
    """
    client = await gateway.connected(plan.place_boot)
    if plan.begun:  # its link asks the same, and must not be sent back here for it at once
        await client.wait(run_of(claim.attempt_id, FIRST), 0)
        await client.describe(openclaw_gateway.session_key(claim.agent_id, plan.session, tag))
    await gateway.warmth.enter(client, openclaw_gateway.agent_name(claim.agent_id, tag), claim.agent_id)
    if plan.session == plan.launch_id or plan.journal.rows:  # what works in it then is this attempt's own
        return False
    return await at_rest(client, openclaw_gateway.session_key(claim.agent_id, plan.session, tag))


async def enter_unless_stopped(world: World, claim: Claim, plan: Plan, wish: Wish) -> Attached:
    """The same; told to stop before it runs in one, it never does. One that has begun in an added one that is
    not there does not wait on then: that one is told to end its run when it returns.
    """
    found: list[GatewayLink | Ending] = []  # empty after a stop
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await wish.stopped()
            await trio.sleep(ABORT_S_MAX if plan.begun else 0)
            nursery.cancel_scope.cancel(reason="it was told to stop, and is not in")

        if not plan.begun or plan.place is not None:
            nursery.start_soon(stop)
        found.append(await enter(world, claim, plan))
        nursery.cancel_scope.cancel(reason="it is in, or it will not be")
    if found:
        return found[0]
    added = await world.added.of(plan.place) if plan.begun and plan.place is not None else None
    if added is None:
        return Ending("never", "stopped before it started")
    return _never_in(added, claim, plan, "not to be reached when it was told to stop")


def leave(world: World, claim: Claim) -> None:
    """The attempt is over: nothing calls a model for it any more."""
    world.gateway_doors.keep_out(claim)
