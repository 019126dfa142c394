"""Programs that PATH happens to have: whether they are of the version that Dash was tested with.

Nobody has chosen these for Dash. Each is asked for its version in a jail, without network, and again only
where its file, or Node's, has become another one.
"""

from dataclasses import dataclass

import trio

from dashd import threads

from . import program_version
from .program_version import NotAsked, NoVersion
from .programs import Found, Programs, pinned


@dataclass(frozen=True, slots=True)
class Stranger:
    """A program of PATH that is not known to be of the tested version."""

    text: str
    usable: bool
    """It could not be asked here, which says nothing about it."""


class Strangers:
    """See the module."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._asking = trio.Lock()
        self._known: dict[str, tuple[str, Stranger | None]] = {}
        """By name: the stamp of its files, and what it was then."""

    async def ask(self, name: str) -> Stranger | None:
        """What is to be said of that program; None where it is not one of PATH, or is as tested."""
        found, node = await threads.run(self._look, name)
        tested = pinned().get(name)
        if found is None or node is None or tested is None or found.origin != "on PATH":
            self._known.pop(name, None)
            return None
        async with self._asking:
            try:
                stamp = f"{found.path} {await threads.run(program_version.stamp, node, found)}"
            except OSError:  # gone just now: whoever starts it will say so
                return None
            before = self._known.get(name)
            if before is None or before[0] != stamp:
                asked = await _asked(node, found, tested.version)
                # What could not be asked is asked anew.
                self._known[name] = "" if asked is not None and asked.usable else stamp, asked
            return self._known[name][1]

    def said(self, name: str) -> list[str]:
        """What was found when it was asked last, for those who take it all the same."""
        known = self._known.get(name)
        return [known[1].text] if known is not None and known[1] is not None else []

    def _look(self, name: str) -> tuple[Found | None, Found | None]:
        if name not in pinned():
            return None, None
        return self._programs.find(name), self._programs.find("node")


async def _asked(node: Found, found: Found, tested: str) -> Stranger | None:
    where = f"{found.name} on PATH ({found.path})"
    try:
        version = await program_version.version(node, found)
    except NotAsked as error:
        return Stranger(f"the version of {where} is not known: {error}", usable=True)
    except NoVersion as error:
        return Stranger(f"{where} does not say its version: {error}", usable=False)
    if version == tested:
        return None
    return Stranger(f"{where} is of version {version}, and Dash was tested with {tested}", usable=False)
