"""The throw-away git repository: Dash's own sources, a file that cannot compile, and one that costs too much.

git runs with no configuration of the user's, so that neither a signing key nor a hook of theirs plays a part.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import dashd
from dashctl import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCES = ("dashd", "dashctl", "mcp_server")
BROKEN = "broken.py"
BROKEN_TEXT = '''"""The one file of the demo that cannot compile: a bracket is missing."""


def total(amounts):
    return sum(amount for amount in amounts


print(total([1, 2, 3]))
'''
GREEDY = "greedy.py"
GREEDY_TEXT = '''"""Nothing is wrong with this file but its name.

The stand-in for a model writes long answers, again and again, to whoever asks about something greedy. So the
agent that gets this file spends many times what the others do, until its cap stops it.
"""
'''
CHECK = "check"
"""The script that agents run: `sh check compile FILE`."""
LINES_SHORTEST, LINES_LONGEST = 100, 400
GIT_S_MAX = 30.0


def make(folder: Path, environ: Mapping[str, str], check: Sequence[str]) -> int:
    """Fills `folder` with the sources and commits them; returns how many files there are. `check` is the
    command behind the script of that name. Raises Failure.
    """
    home = Path(dashd.__file__).parent.parent
    for name in SOURCES:
        shutil.copytree(home / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (folder / BROKEN).write_text(BROKEN_TEXT, encoding="utf-8")
    (folder / GREEDY).write_text(GREEDY_TEXT, encoding="utf-8")
    (folder / CHECK).write_text(f'exec {shlex.join(check)} "$@"\n', encoding="utf-8")
    (folder / ".gitignore").write_text("__pycache__/\njournal.jsonl\n", encoding="utf-8")
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        ("commit", "--quiet", "--message=Dash's own sources, for the demo"),
    ):
        _git(folder, environ, arguments)
    return sum(path.is_file() for path in folder.rglob("*.py"))


def items(folder: Path, count: int) -> list[str]:
    """`count` different files, their lengths spread evenly, among them the two that are bad on purpose."""
    lengths = {
        path.relative_to(folder).as_posix(): path.read_bytes().count(b"\n")
        for path in sorted(folder.rglob("*.py"))
        if path.name not in (BROKEN, GREEDY)
    }
    chosen: list[str] = []
    for number in range(count - 2):
        wanted = LINES_SHORTEST + (LINES_LONGEST - LINES_SHORTEST) * number / max(count - 3, 1)
        nearest = min(lengths, key=lambda path: (abs(lengths[path] - wanted), path))
        del lengths[nearest]
        chosen.append(nearest)
    first, second = count // 4, count // 2
    return [*chosen[:first], GREEDY, *chosen[first:second], BROKEN, *chosen[second:]]


def _git(folder: Path, environ: Mapping[str, str], arguments: Sequence[str]) -> None:
    own = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    own |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        own |= {f"GIT_{who}_NAME": "Dash demo", f"GIT_{who}_EMAIL": "demo@localhost"}
    try:
        subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=own,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=GIT_S_MAX,
        )
    except subprocess.CalledProcessError as problem:
        said = problem.stderr.decode(errors="replace").strip()
        raise calling.Failure(
            f"git {arguments[0]} failed in {folder}: {said}", hint="git --version"
        ) from None
    except subprocess.TimeoutExpired:
        raise calling.Failure(f"git {arguments[0]} took longer than {GIT_S_MAX:.0f} s in {folder}") from None
