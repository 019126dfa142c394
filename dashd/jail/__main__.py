"""Starts the fork server: `python -I -S dashd/jail/__main__.py LAUNCHES [CRASH_POINT]`.

A file of its own, because a script is compiled anew at each start, and what a compiler leaves behind would be
in every fork. Isolated, Python finds the standard library alone; the package beside us comes last.
"""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from dashd.jail import forkserver

if __name__ == "__main__":
    forkserver.main()
