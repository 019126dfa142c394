#!/usr/bin/env python3
"""The stand-in for an OpenClaw gateway that can be told to drain: from SIGUSR1 to SIGUSR2 it refuses every
request, as a real one does before its restart, and its runs go on. What it refuses it names on stderr.
"""

import signal
import sys
import threading
from typing import Any

import openclaw_gateway as stand_in  # beside this file, which is run by its path

DRAINS = threading.Event()
WAIT_MS_MAX = 1_000
"""So that a run is soon asked for again."""


class Gateway(stand_in.Gateway):
    """See the module."""

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if DRAINS.is_set():
            print(f"refused {method}", file=sys.stderr, flush=True)
            refused = stand_in.Refused("UNAVAILABLE", f"{method} unavailable during gateway restart")
            refused.fault |= {"retryable": True, "retryAfterMs": 1_000}
            raise refused
        if method == "agent.wait":
            params = params | {"timeoutMs": min(params["timeoutMs"], WAIT_MS_MAX)}
        return super().call(method, params)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: DRAINS.set())
    signal.signal(signal.SIGUSR2, lambda *_: DRAINS.clear())
    stand_in.Gateway = Gateway  # type: ignore[misc]
    sys.exit(stand_in.main())
