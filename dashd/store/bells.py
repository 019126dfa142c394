"""Bells say "look again"; they carry nothing, because the database holds the truth.

Take a ticket first, then read, then wait on the ticket: whatever was committed after the ticket was taken has
rung it, so nothing falls between the look and the wait. Everything here belongs to the trio thread.
"""

from dataclasses import dataclass, field
from typing import Protocol

import trio


class Ticket(Protocol):
    """A place in the audience of the next ring."""

    async def wait(self) -> None:
        """Return as soon as the bell has rung since the ticket was taken; a cancellable checkpoint."""


class Bell:
    """Something that happens again and again, and may be waited for by anybody."""

    def __init__(self) -> None:
        self._next: trio.Event | None = None

    def ticket(self) -> Ticket:
        """A ticket for the next ring; any number of tasks may wait on it."""
        if self._next is None:
            self._next = trio.Event()
        return self._next

    def ring(self) -> None:
        """Wake everybody who took a ticket since the last ring."""
        if self._next is not None:
            self._next.set()
            self._next = None


@dataclass(frozen=True)
class Bells:
    """The bells of one store; the writer rings them after COMMIT."""

    events: Bell = field(default_factory=Bell)
    """The event table has grown."""
    queue: Bell = field(default_factory=Bell)
    """Some task may have become startable."""
    agents: Bell = field(default_factory=Bell)
    """What somebody wants of an agent has changed."""
    swarms: Bell = field(default_factory=Bell)
    """A swarm has ended."""
    approvals: Bell = field(default_factory=Bell)
    """Something waits for a yes, or has got its answer."""
    workspaces: Bell = field(default_factory=Bell)
    """Something is wanted of a workspace, or was done with one."""
    merges: Bell = field(default_factory=Bell)
    """A merge or landing was asked for, or has ended."""
    gateways: Bell = field(default_factory=Bell)
    """A gateway was added, changed or removed, or one that did not start is worth another try."""
    instances: Bell = field(default_factory=Bell)
    """A place where Pis run was added, changed or removed."""
    placed: Bell = field(default_factory=Bell)
    """Work was given to a place."""
    failures: Bell = field(default_factory=Bell)
    """What was given to a place has come to nothing there."""

    def ring(self, name: str) -> None:
        """The bell of that name."""
        bell: Bell = getattr(self, name)
        bell.ring()


async def either(*tickets: Ticket) -> None:
    """Returns as soon as one of the bells has rung."""
    async with trio.open_nursery() as nursery:

        async def wait(ticket: Ticket) -> None:
            await ticket.wait()
            nursery.cancel_scope.cancel(reason="one bell is enough")

        for ticket in tickets:
            nursery.start_soon(wait, ticket)
