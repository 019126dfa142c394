"""What agents are made of works behind the walls: a shell, git, Python with threads, Node, npm.

The programs are those of the system, below /usr; one that is elsewhere is not in the view of these launchers.
"""

import shutil

import pytest

from tests.jail.attacks import walls
from tests.jail.attacks.columns import COLUMNS, MIB, Limits
from tests.jail.attacks.dash_columns import DASH_COLUMNS
from tests.jail.attacks.ground import Ground

pytestmark = pytest.mark.slow
ROOMY = Limits(256, 4096, 4096 * MIB, 1024 * MIB, 1024 * MIB, 256 * MIB)
LAUNCHERS = {**{name: COLUMNS[name] for name in ("stage", "bwrap", "both")}, **DASH_COLUMNS}
THREADS = """
import subprocess, tempfile, threading
made = []
def work():
    made.append(subprocess.run(["/bin/echo", "hello"], capture_output=True, text=True).stdout.strip())
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.NamedTemporaryFile() as file:
    file.write(b"kept")
print(made)
"""
PROGRAMS = {
    "bash": (
        "bash",
        "set -o pipefail; for i in 1 2 3; do echo $i; done | sort -r | head -1 > out; cat < out",
        "3",
    ),
    "git": (
        "git",
        "git init -q . && git config user.email a@b && git config user.name A && echo 1 > f && git add f"
        " && git commit -qm one && git checkout -qb two && git log --oneline | wc -l && git status --short",
        "1",
    ),
    "python": ("python3", f"/usr/bin/python3 -c '{THREADS}'", "['hello', 'hello', 'hello', 'hello']"),
    "node": (
        "node",
        'node -e \'console.log(require("child_process").execSync("echo hello").toString().trim())\'',
        "hello",
    ),
    "npm": ("npm", "npm init -y >/dev/null && npm pkg set scripts.hi='echo hello' && npm run -s hi", "hello"),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("column", LAUNCHERS)
def test_it_works_inside(column: str, name: str) -> None:
    program, script, answer = PROGRAMS[name]
    if reason := walls.missing(column):
        pytest.skip(reason)
    if not shutil.which(program, path="/usr/bin:/bin"):
        pytest.skip(f"{program} is not installed in /usr/bin")
    with Ground() as ground:
        status, output, errors = ground.run(
            LAUNCHERS[column], ground.launch(ROOMY), ["/bin/bash", "-c", script]
        )
        assert (status, output.strip()) == (0, answer), errors
