"""Where a daemon and its clients meet: the state folder and the socket, from the environment.

Stdlib only and without a side effect, so that the fast start of `dashctl` can afford it. Daemon and
clients must agree, hence one place.
"""

import os
import sys
from collections.abc import Mapping

SOCKET_NAME = "dashd.sock"
SOCKET_PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107
"""`sun_path` has 108 bytes on Linux with its closing zero (unix(7)); macOS has 104."""


def state_dir(environ: Mapping[str, str]) -> str:
    """`DASH_STATE_DIR`, else `dash` in XDG_STATE_HOME, else `~/.local/state/dash`; absolute."""
    if chosen := environ.get("DASH_STATE_DIR"):
        return os.path.abspath(os.path.expanduser(chosen))
    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.join(environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state"), "dash")


def socket_path(environ: Mapping[str, str]) -> str:
    """`DASH_SOCKET`; else in the state folder where that was chosen by hand (a private daemon); else in
    XDG_RUNTIME_DIR; else in the state folder.
    """
    if chosen := environ.get("DASH_SOCKET"):
        return os.path.abspath(os.path.expanduser(chosen))
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and not environ.get("DASH_STATE_DIR"):
        return os.path.join(runtime, "dash", SOCKET_NAME)
    return os.path.join(state_dir(environ), "run", SOCKET_NAME)


def too_long(path: str) -> tuple[str, str] | None:
    """(what is wrong, what to run) where no socket can have this path."""
    length = len(os.fsencode(path))
    if length <= SOCKET_PATH_BYTES_MAX:
        return None
    return (
        f"the socket path {path} has {length} bytes; the system allows {SOCKET_PATH_BYTES_MAX}",
        f"export DASH_SOCKET=/tmp/dash-{os.getuid()}/{SOCKET_NAME}, for dashd and its clients alike",
    )
