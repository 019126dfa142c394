"""What gateways and instances have in common: names, draining, and that nothing is taken away that works."""

import re
from typing import TypeVar

import trio

from dashd.store import added_gateways, attempts, instances
from dashd.store.placements import Noun
from dashd.store.rows import Snapshot
from dashd.wire import errors
from dashd.wire.methods.gateway import Gateway
from dashd.wire.methods.instance import Instance

from .core import Core

SHOWN = 3
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
"""A gateway's is a file's name too."""
_AN = {"gateway": "a gateway", "instance": "an instance"}
T = TypeVar("T", Gateway, Instance)


async def running(core: Core, name: str, wait_s: float) -> list[str]:
    """The agents that work in it, as soon as there are none, or when the time is over."""
    deadline = trio.current_time() + wait_s
    while True:
        ticket = core.store.bells.events.ticket()
        found = await core.store.reader.read(lambda db: attempts.agents_at(db, name))
        if not found or trio.current_time() >= deadline or core.daemon.state == "stopping":
            return found
        with trio.move_on_at(deadline):
            await ticket.wait()


def refuse_busy(db: Snapshot, noun: Noun, name: str, what: str) -> None:
    """Raises Conflict while agents work in it."""
    if running := attempts.agents_at(db, name):
        more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
        raise errors.Conflict(
            f"{noun} {name} cannot be {what} now: {', '.join(running[:SHOWN])}{more} work in it",
            hint=f"dashctl {noun} drain {name} --wait, and then again",
            path="name",
        )


def refuse_taken(db: Snapshot, noun: Noun, name: str) -> None:
    """A place's name says of which kind it is. Raises Conflict."""
    if noun == "gateway":
        taken = instances.find(db, name) is not None or instances.OWN.fullmatch(name) is not None
    else:
        taken = added_gateways.find(db, name) is not None
    if taken:
        other = _AN["instance" if noun == "gateway" else "gateway"]
        raise errors.Conflict(f"{name} is the name of {other}", hint="take another name", path="name")


def check_name(noun: Noun, name: str, own: re.Pattern[str], examples: str) -> None:
    """Raises InvalidParams for what is no name, or is one that Dash gives: `own`."""
    if not _NAME.fullmatch(name) or own.fullmatch(name):
        why = "how Dash calls its own" if own.fullmatch(name) else f"not {_AN[noun]}'s name"
        raise errors.InvalidParams(
            f"{name!r} is {why}",
            hint=f"a letter, then lower-case letters, digits, - and _: {examples}",
            path="name",
        )


def named(noun: Noun, found: list[T], name: str) -> T:
    """The one of that name. Raises NotFound."""
    for each in found:
        if each.name == name:
            return each
    raise unknown(noun, name, [each.name for each in found])


def unknown(noun: Noun, name: str, known: list[str]) -> errors.NotFound:
    """The error for a name that no such place has."""
    hint = f"{noun}s: {', '.join(known[:20])}" if known else f"there is none; dashctl {noun} add …"
    return errors.NotFound(f"there is no {noun} {name!r}", hint=hint, path="name")
