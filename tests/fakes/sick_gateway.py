#!/usr/bin/env python3
"""The stand-in for an OpenClaw gateway that shuts the database of one agent: the first that is told
FAKE-SICK. Each run of that agent ends as real ones were seen to, until the gateway starts anew.
"""

import sys

import openclaw_gateway as stand_in  # beside this file, which is run by its path


class Gateway(stand_in.Gateway):
    """See the module."""

    sick = ""

    def work(self, run: stand_in.Run) -> None:
        if "FAKE-SICK" in run.message:
            self.sick = self.sick or run.agent
        if run.agent == self.sick:
            self.end(run, {"status": "error", "error": "Agent database cleanup failed"})
        else:
            super().work(run)


if __name__ == "__main__":
    stand_in.Gateway = Gateway  # type: ignore[misc]
    sys.exit(stand_in.main())
