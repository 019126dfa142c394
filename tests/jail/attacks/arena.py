"""Process 1 of a PID namespace with a jail and a victim in it: `arena.py COMMAND...`.

An attack that signals all there is can reach nothing outside of the namespace. Prints whether the victim
outlived the command.
"""

import subprocess
import sys

victim = subprocess.Popen(["/bin/sleep", "20"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
try:
    subprocess.run(sys.argv[1:], timeout=10, close_fds=False, stdin=subprocess.DEVNULL)
finally:
    print("alive" if victim.poll() is None else "killed", flush=True)
