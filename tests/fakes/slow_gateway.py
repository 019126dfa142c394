#!/usr/bin/env python3
"""The stand-in for an OpenClaw gateway that takes a run late, as busy ones were seen to: one with SLOW in its
message once SIGUSR1 has come, and not before. Meanwhile it answers all else. What it is asked for it names on
stderr.
"""

import signal
import sys
import threading
from typing import Any

import openclaw_gateway as stand_in  # beside this file, which is run by its path

TAKES = threading.Event()


class Gateway(stand_in.Gateway):
    """See the module."""

    def agent(self, params: dict[str, Any]) -> dict[str, Any]:
        """Begins a run, in its time."""
        print(f"asked {params['idempotencyKey']}", file=sys.stderr, flush=True)
        if "SLOW" in params["message"]:
            TAKES.wait()
        return super().agent(params)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: TAKES.set())
    stand_in.Gateway = Gateway  # type: ignore[misc]
    sys.exit(stand_in.main())
