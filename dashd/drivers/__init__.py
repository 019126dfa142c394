"""Agent programs: one file a program; a driver speaks its program's protocol and nothing else knows it.

`driver.py` says what a driver is. `command` is the one every later driver is measured against.
"""

from .command import CommandDriver
from .driver import Driver
from .embedded import EmbeddedDriver

DRIVERS: dict[str, Driver] = {driver.name: driver for driver in (CommandDriver(), EmbeddedDriver())}
"""By the name that `swarm.create` takes."""

__all__ = ["DRIVERS", "Driver"]
