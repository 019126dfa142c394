"""Agent programs: one file a program; a driver speaks its program's protocol and nothing else knows it.

`driver.py` says what a driver is. `command` is the one every later driver is measured against. A program that
is talked to while it runs has a conversation (`line_conversation.py`, and what Pi and OpenClaw make of it): a
function of what it prints, which the runtime drives. `programs.py` knows where programs are,
`program_install.py` puts pinned ones there, `program_record.py` tells whether they are still as it left them;
`compiled.py` keeps what Node compiles of them.
A program that serves many agents from one process (`openclaw_gateway.py`) has a client that speaks its
protocol (`openclaw_client.py`).
"""

from .command import CommandDriver
from .driver import Driver
from .embedded import EmbeddedDriver
from .openclaw import OpenClawDriver
from .pi import PiDriver
from .programs import Programs


def over(programs: Programs) -> dict[str, Driver]:
    """Every driver of this build, by the name that `swarm.create` takes; `programs` says what is here."""
    found: list[Driver] = [
        CommandDriver(),
        EmbeddedDriver(),
        PiDriver(programs),
        OpenClawDriver(programs),
    ]
    return {driver.name: driver for driver in found}


__all__ = ["Driver", "OpenClawDriver", "Programs", "over"]
