"""Which walls can stand on this machine, found out by asking; tests of others are skipped, and say why."""

import functools
import os
import platform
import subprocess

from tests.jail.attacks.columns import BWRAP, PYTHON

NOBODY_ELSE = 1_400_000_000
LANDLOCK_ABI = 6  # from here on it looks after signals and abstract sockets, as the table expects


@functools.cache
def missing(column: str) -> str:
    """Why this column cannot stand here; nothing if it can."""
    column = column.removeprefix("dash-")
    if column in ("bwrap", "both") and not namespaces():
        return "bwrap cannot make namespaces here"
    if column in ("stage", "both") and platform.machine() != "x86_64":
        return "the small stage knows the system calls of x86_64"
    if column in ("stage", "both") and landlock_abi() < LANDLOCK_ABI:
        return f"the table is that of Landlock ABI {LANDLOCK_ABI} and later"
    return ""


@functools.cache
def namespaces() -> bool:
    """Whether an unprivileged user gets them."""
    user = {"user": NOBODY_ELSE, "group": NOBODY_ELSE, "extra_groups": []} if os.geteuid() == 0 else {}
    argv = [BWRAP, "--unshare-all", "--dev-bind", "/", "/", "/bin/true"]
    return bool(BWRAP) and not subprocess.run(argv, capture_output=True, timeout=10, **user).returncode


@functools.cache
def landlock_abi() -> int:
    asked = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1))"
    if not os.path.exists(PYTHON):
        return 0
    return int(subprocess.run([PYTHON, "-I", "-S", "-c", asked], capture_output=True, check=True).stdout)
