"""Starts an OpenClaw gateway inside its jail: one stdlib-only file, that becomes the gateway.

The holder runs it with the system's Python (`-I -S`); dashd never imports it. Its standard input is one JSON
object, then end of file: `argv`, `env`, `config`, and `state`, a folder that outlives the jail. The
configuration becomes a file in the jail that its owner alone can read; keys are in it, and in no environment.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile


def main() -> None:
    """Writes the configuration, and becomes the program."""
    told = json.load(sys.stdin)
    folder = tempfile.mkdtemp(prefix="dash-gateway-", dir=os.environ.get("TMPDIR"))
    own = {
        "HOME": os.path.join(folder, "home"),
        "OPENCLAW_STATE_DIR": told["state"],
        "OPENCLAW_CONFIG_PATH": os.path.join(folder, "openclaw.json"),
    }
    os.mkdir(own["HOME"], 0o700)
    fd = os.open(own["OPENCLAW_CONFIG_PATH"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(told["config"], file)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    argv = told["argv"]
    os.execve(argv[0], argv, {**os.environ, **told["env"], **own})


if __name__ == "__main__":
    main()
