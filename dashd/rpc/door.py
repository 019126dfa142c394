"""The methods that are about the connection itself: who calls, what can be called, what is pushed.

They take the peer where other methods take the core. All else about subscriptions is in `service.feed`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, Protocol

import msgspec

from dashd.service import core as service_core
from dashd.service import feed as service_feed
from dashd.service import reach, rights, speaking
from dashd.wire import events, openrpc
from dashd.wire.methods import event, rpc, table

ALONE: Final = frozenset({"event.subscribe", "rpc.hello"})
"""Not in a batch, whose calls run side by side and are answered together."""
FIRST: Final = frozenset({"rpc.hello"})
"""What was sent after such a call is read when it has been answered: it may be somebody else's by then."""


class Peer(Protocol):
    """What these methods need of a connection."""

    caller: service_core.Caller
    core: Any
    version: str

    @property
    def feed(self) -> service_feed.Feed:
        """Where events come from."""

    def subscribe(self, wanted: events.Filter, params: event.SubscribeEvents) -> service_feed.Subscription:
        """Starts a subscription; its events follow the answer of the call under way."""

    def unsubscribe(self, number: int) -> bool:
        """Ends one; false where there is none of that number."""

    def cancel_call(self, id: str | int) -> None:  # noqa: A002
        """Ends a call in flight."""


class CancelRequest(msgspec.Struct, frozen=True):
    """`$/cancelRequest`: the call of that id is not wanted any more; it is still answered, once."""

    id: str | int


async def hello(peer: Peer, params: rpc.Hello) -> rpc.Welcome:
    """Remembers the client's name and whose key it has shown, and says what it may call."""
    if isinstance(params.key, msgspec.UnsetType):
        peer.caller = replace(peer.caller, client=params.client)
    else:
        peer.caller = await speaking.introduce(peer.core, peer.caller, params.client, params.key)
    return rpc.Welcome(
        version=peer.version,
        actor=peer.caller.actor,
        uid=peer.caller.uid,
        methods=rights.allowed(peer.caller.actor),
        who=peer.caller.who,
    )


def discover(_peer: Peer, _params: rpc.Discover) -> msgspec.Raw:
    """The OpenRPC document, as in `schema/openrpc.json`."""
    return openrpc.encoded()


async def subscribe(peer: Peer, params: event.SubscribeEvents) -> event.EventsSubscribed:
    """Starts to push events on this connection."""
    await reach.check_named(peer.core, peer.caller, "event.subscribe", params)
    wanted = await peer.feed.check(params)
    subscription = peer.subscribe(wanted, params)
    return event.EventsSubscribed(subscription=subscription.number, cursor=subscription.cursor)


def unsubscribe(peer: Peer, params: event.UnsubscribeEvents) -> event.EventsUnsubscribed:
    """Ends a subscription; what is on its way still arrives."""
    return event.EventsUnsubscribed(changed=peer.unsubscribe(params.subscription))


def cancel(peer: Peer, params: CancelRequest) -> None:
    """Ends a call in flight, in the read loop, so that it also catches one that has not started."""
    peer.cancel_call(params.id)


HANDLERS: dict[str, Callable[[Any, Any], table.Result | msgspec.Raw | Awaitable[table.Result] | None]] = {
    "rpc.hello": hello,
    "rpc.discover": discover,
    "event.subscribe": subscribe,
    "event.unsubscribe": unsubscribe,
    "$/cancelRequest": cancel,
}
"""By method. Unknown `$/` notifications are ignored, as any unknown notification is."""
