"""Named points at which a test may have this daemon, its fork server or a holder killed with SIGKILL.

`dashd run --crash-at POINT[:N]` kills at the N-th time the point is reached (the first by default). Points
of dashd itself are listed here; `forkserver.*` and `holder.*` are listed in those programs and travel with
the N-th launch. Nothing happens where no point is named.
"""

import os
import signal
from typing import NoReturn

from dashd.wire import errors

OWN = (
    "writer.before_begin",
    "writer.before_commit",
    "writer.after_commit",
    "writer.before_answer",
    "recovery.before_epoch",
    "recovery.after_epoch",
    "recovery.after_fork_server_ended",
    "recovery.before_adopt",
    "recovery.after_adopt",
    "recovery.before_commit",
    "recovery.after_commit",
    "app.before_ready",
    "app.after_ready",
    "scheduler.after_claim",
    "run.before_launch",
    "run.after_launch",
    "run.before_adopt",
    "run.after_adopt",
    "run.after_started",
    "run.after_exit",
    "run.before_end",
    "run.after_end",
    "output.before_commit",
    "output.after_commit",
    "talk.before_commit",
    "talk.after_commit",
    "talk.after_send",
    "gateway.before_launch",
    "gateway.after_launch",
    "gateway.after_told",
    "added.before_write",
    "added.after_write",
    "session.before_unlink",
    "proxy.billed",
    "workspace.before_make",
    "workspace.after_make",
    "workspace.after_import",
    "workspace.after_save",
    "workspace.before_remove",
    "workspace.after_remove",
    "merge.before",
    "merge.after",
    "landing.before",
    "landing.after",
)
BOOT = ("forkserver.before_lock", "forkserver.after_lock")
"""Points of the fork server that come before any launch."""


class CrashPoints:
    """Counts the visits to one point and ends the process at the chosen one."""

    def __init__(self, chosen: str | None = None) -> None:
        """`chosen` is POINT or POINT:N; raises InvalidParams for anything else."""
        self._point, _, number = (chosen or "").partition(":")
        if (number and not number.isdecimal()) or number == "0":
            raise errors.InvalidParams(
                f"{chosen!r} is not POINT or POINT:N", hint=f"points: {', '.join(OWN)}"
            )
        if self._point and self._point not in OWN and not self._point.startswith(("forkserver.", "holder.")):
            raise errors.InvalidParams(
                f"there is no crash point {self._point!r}", hint=f"points: {', '.join(OWN)}"
            )
        self._left = int(number or 1)

    def at(self, point: str) -> None:
        """Passing `point`; does not return where this is the visit chosen. Safe from any thread."""
        assert point in OWN, f"crash point {point} is not listed"
        if point == self._point and self._count():
            _die()

    def of_launch(self) -> str | None:
        """The crash point that the next launch carries, if this is the launch chosen."""
        travels = self._point.startswith(("forkserver.", "holder.")) and self._point not in BOOT
        return self._point if travels and self._count() else None

    def of_boot(self) -> str | None:
        """The crash point that the fork server is started with."""
        return self._point if self._point in BOOT and self._count() else None

    def _count(self) -> bool:
        self._left -= 1
        return self._left == 0


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL did not kill")
