"""`event.*`: what happened, by cursor."""

from typing import Annotated

import msgspec
from msgspec import Meta, field

from ..events import Event
from .table import Id, Method, Params, Result, Seq

Patterns = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=50)]


class ListEvents(Params):
    """Asks for events after a cursor, oldest first, without waiting."""

    since: Seq = 0
    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    kinds: Patterns = field(default_factory=list)
    """Names or patterns such as `task.*`; all by default."""
    attention: bool = False
    """Only what somebody should be interrupted for."""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class WaitEvents(ListEvents):
    """Asks for events after a cursor and waits until there is one."""

    timeout_s: Annotated[float, Meta(ge=0, le=3_600)] = 25.0


class Events(Result):
    """Events in order; go on with `since: cursor`."""

    events: list[Event]
    cursor: int
    more: bool
    """There are further events already."""
    timed_out: bool = False


class SubscribeEvents(Params):
    """Asks for events to be pushed as `$/events` notifications on this connection."""

    since: Seq | msgspec.UnsetType = msgspec.UNSET
    """Everything after this cursor; from now on by default."""
    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    kinds: Patterns = field(default_factory=list)
    attention: bool = False


class EventsSubscribed(Result):
    """`$/events {subscription, events}` follow; each event with `seq` above `cursor` comes once, in order."""

    subscription: int
    cursor: int


class UnsubscribeEvents(Params):
    """Ends a subscription of this connection."""

    subscription: Seq


class EventsUnsubscribed(Result):
    """Nothing more comes; `changed` is false where there was no such subscription."""

    changed: bool


METHODS = (
    Method("event.list", ListEvents, Events, "Lists events after a cursor."),
    Method("event.wait", WaitEvents, Events, "Waits for events after a cursor."),
    Method("event.subscribe", SubscribeEvents, EventsSubscribed, "Pushes events on this connection."),
    Method("event.unsubscribe", UnsubscribeEvents, EventsUnsubscribed, "Ends a subscription."),
)
