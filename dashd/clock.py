"""The one door to wall-clock time and to randomness.

Everything that stores an instant or makes an id is handed a `Clock`, so a test can hand it a scripted one.
Deadlines do not come from here: those are trio's own clock.
"""

import secrets
import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""clock_gettime(2); macOS's monotonic clock counts sleep as well."""


class Clock:
    """The real time and real random bits of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC. It may step backwards when the machine's clock is set."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """Milliseconds since this machine booted, sleep included: how long something took within one boot.

        Nobody can set it, and it goes on over a restart of the daemon.
        """
        return time.clock_gettime_ns(_STEADY) // 1_000_000

    def token(self, bits: int) -> int:
        """An unguessable integer below `2 ** bits`."""
        return secrets.randbits(bits)
