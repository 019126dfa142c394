"""Stands for a daemon and its holder: `keeper.py daemon|holder COMMAND...`.

A daemon starts a holder that dies with it (a lease of 0), a holder starts the command. Each prints its role
and pid first, and then waits. Standard library alone.
"""

import ctypes
import os
import subprocess
import sys

PDEATHSIG = 1

role, command = sys.argv[1], sys.argv[2:]
if role == "holder":
    ctypes.CDLL(None).prctl(PDEATHSIG, 9, 0, 0, 0)
print(role, os.getpid(), flush=True)
argv = [sys.executable, "-I", "-S", __file__, "holder", *command] if role == "daemon" else command
sys.exit(subprocess.run(argv, close_fds=False, stdin=subprocess.DEVNULL).returncode)
