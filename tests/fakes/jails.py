"""Whether jails work on this machine; tests that need one are skipped with the reason where they do not.

A machine that has bubblewrap but cannot use it is not skipped over: one test (tests/jail/test_tool.py) fails.
"""

import functools
import shutil
import subprocess

import pytest

PROBE = "--unshare-user --unshare-pid --unshare-net --ro-bind / / --proc /proc --dev /dev -- true"


@functools.cache
def why_not() -> str:
    """What keeps jails from working here; empty if they work."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap (bwrap) is not installed"
    done = subprocess.run([bwrap, *PROBE.split()], capture_output=True, text=True, timeout=30, check=False)
    return f"bwrap does not work here: {done.stderr.strip()}" if done.returncode else ""


def needed() -> None:
    """Skips the test where jails do not work."""
    if reason := why_not():
        pytest.skip(reason)
