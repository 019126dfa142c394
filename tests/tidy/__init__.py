"""The rules of the house that a machine can check, and the tree they look at.

A rule is a function from the tree (path -> text, paths from the top) to messages; each message says where,
what, and what to do instead. tests/test_tidy.py runs every rule over the real
tree, and over a small one that breaks it.
"""

import ast
import functools
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

Tree = Mapping[str, str]
Rule = Callable[[Tree], Iterator[str]]

TOP = Path(__file__).resolve().parents[2]
PACKAGES = ("dashd", "dashctl", "mcp_server")

# What the system's Python runs beside dashd or inside a jail: these, and what they import of Dash,
# have the standard library alone.
CHILD_PROGRAMS = frozenset(
    {
        "dashd/jail/forkserver.py",
        "dashd/jail/holder.py",
        "dashd/jail/stage.py",
        "dashd/jail/worker_mcp.py",
        "dashd/drivers/embedded_agent.py",
        "dashd/drivers/openclaw_turns.py",
    }
)


class Module(NamedTuple):
    """One Python file: `name` is what an import statement calls it, a package without its `.__init__`."""

    path: str
    text: str
    syntax: ast.Module
    name: str

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    def at(self, node: ast.AST) -> str:
        """Where a message points to."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@functools.cache
def parse(text: str) -> ast.Module:
    return ast.parse(text)


def modules(tree: Tree, *tops: str) -> Iterator[Module]:
    """The Python files below the given top folders, in order."""
    for path, text in sorted(tree.items()):
        if path.endswith(".py") and path.split("/")[0] in tops:
            name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            yield Module(path, text, parse(text), name)


def read_tree(top: Path) -> dict[str, str]:
    """Every file git tracks or would track; without git, every file outside of hidden and made folders.

    A file that is not UTF-8 text is there with an empty text.
    """
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(git, cwd=top, capture_output=True, check=True).stdout.decode()
        paths = [path for path in listing.split("\0") if (top / path).is_file()]
    except (OSError, subprocess.CalledProcessError):
        paths = list(_walk(top))
    return {path: _text(top / path) for path in paths}


def _walk(top: Path) -> Iterator[str]:
    kept = {".ci", ".github", ".gitignore"}
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name in kept or not name.startswith((".", "__pycache__"))]
        for name in files:
            if name in kept or not name.startswith("."):
                yield (Path(folder) / name).relative_to(top).as_posix()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
