"""`event.list` and `event.wait`. The table is the truth; the bell only says when to look again."""

import msgspec
import trio

from dashd.store import events, swarms
from dashd.store.rows import Snapshot
from dashd.wire import errors
from dashd.wire.events import Event, Filter, expand
from dashd.wire.methods import event as wire

from . import reach
from .core import Caller, Core

_decoder = msgspec.json.Decoder(Event)


def filter_of(params: wire.ListEvents | wire.SubscribeEvents) -> Filter:
    """The filter that a request asks for; raises InvalidParams for a pattern that names nothing."""
    for pattern in params.kinds:
        if not expand(pattern):
            raise errors.InvalidParams(
                f"{pattern!r} names no kind of event",
                hint="kinds look like task.dead or task.*",
                path="kinds",
            )
    return Filter(params.swarm or None, params.kinds, attention=params.attention)


async def list_(core: Core, caller: Caller, params: wire.ListEvents) -> wire.Events:
    """What is there after the cursor."""
    wanted = await _check(core, params)
    return await _read(core, caller, params, wanted, params.since)


async def wait(core: Core, caller: Caller, params: wire.WaitEvents) -> wire.Events:
    """Answers as soon as there is something, or empty and `timed_out` at the deadline.

    A daemon that is asked to stop answers at once, so that a waiting orchestrator never delays a restart.
    """
    wanted = await _check(core, params)
    deadline = trio.current_time() + params.timeout_s
    cursor = params.since
    while True:
        ticket = core.store.bells.events.ticket()
        found = await _read(core, caller, params, wanted, cursor)
        cursor = found.cursor
        if found.events:
            return found
        if core.daemon.state == "stopping":
            break
        with trio.move_on_at(deadline):
            await ticket.wait()
        if trio.current_time() >= deadline:
            break
    return wire.Events(events=[], cursor=cursor, more=False, timed_out=True)


async def _check(core: Core, params: wire.ListEvents) -> Filter:
    """The filter; raises InvalidParams or UnknownSwarm where nothing could ever match."""
    wanted = filter_of(params)
    swarm, last = wanted.swarm, core.store.tail.last_seq
    if swarm is not None:
        await core.store.reader.read(lambda db: swarms.get(db, swarm))
    if params.since > last:
        raise errors.InvalidParams(
            f"since is {params.since}, but the newest event is {last}",
            hint="use the cursor of an answer of this daemon; one of another database means nothing here",
            path="since",
        )
    return wanted


async def _read(
    core: Core, caller: Caller, params: wire.ListEvents, wanted: Filter, since: int
) -> wire.Events:
    last = core.store.tail.last_seq
    if since >= last:
        return wire.Events(events=[], cursor=since, more=False)

    def query(db: Snapshot) -> tuple[list[bytes], int, bool]:
        return events.after(db, since, wanted.for_those(reach.seen(db, caller)), params.limit, last)

    bodies, cursor, more = await core.store.reader.read(query)
    return wire.Events(events=[_decoder.decode(body) for body in bodies], cursor=cursor, more=more)
