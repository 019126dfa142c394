"""A user's repository, agents' workspaces made from it, and exact pictures of folders.

git on the host plays the user here, with a configuration of its own; the product never does that.
"""

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dashd.workspace import clone, source
from dashd.workspace.place import Workspace
from dashd.workspace.source import Source

AT_MS = 1_750_000_000_000
Picture = dict[bytes, tuple[str, int, bytes]]


class World:
    """Everything lies below one folder; `canary` is a file that must never appear."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "repo"
        self.root = folder / "workspaces"
        self.canary = folder / "canary"

    def make_repo(self, *init: str) -> None:
        """A repository with one commit, on main."""
        self.repo.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", *init)
        self.put("README", b"hello\n")
        self.put("src/app.py", b"print(1)\n")
        self.commit("first")

    def git(self, *args: str, cwd: Path | None = None, check: bool = True) -> str:
        """What the user's git prints."""
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
            "GIT_AUTHOR_NAME": "user", "GIT_AUTHOR_EMAIL": "u@example.org", "GIT_ALLOW_PROTOCOL": "file",
            "GIT_COMMITTER_NAME": "user", "GIT_COMMITTER_EMAIL": "u@example.org",
        }  # fmt: skip
        argv = ["git", "-c", "protocol.file.allow=always", *args]
        done = subprocess.run(
            argv, cwd=cwd or self.repo, env=env, capture_output=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="surrogateescape").rstrip("\n")

    def put(
        self, path: str | bytes, content: bytes, *, within: Path | None = None, mode: int = 0o644
    ) -> Path:
        """Writes a file, and the folders it lies in."""
        target = Path(os.fsdecode(os.path.join(os.fsencode(within or self.repo), os.fsencode(path))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)
        return target

    def commit(self, message: str, *, cwd: Path | None = None) -> str:
        """Commits everything there is; the id."""
        self.git("add", "--all", cwd=cwd)
        self.git("commit", "--quiet", "--allow-empty", "-m", message, cwd=cwd)
        return self.git("rev-parse", "HEAD", cwd=cwd)

    def ref(self, name: str) -> str:
        """What a ref is at; empty if there is none."""
        return self.git("rev-parse", "--verify", "--quiet", name, check=False)

    async def source(self) -> Source:
        return await source.inspect(self.repo)

    async def workspace(self, agent: str = "a1", **more: Any) -> Workspace:
        """A workspace at the user's HEAD."""
        found = await source.inspect(self.repo)
        base = await source.resolve_base(found)
        return await clone.create(self.root, found, swarm="s1", agent=agent, base=base.commit, **more)

    def hostile_script(self, name: str = "evil") -> Path:
        """A program that touches the canary and passes its input on, as filter, hook or helper."""
        text = f"#!/bin/sh\necho ran >> {self.canary}\ncat\nexit 0\n".encode()
        return self.put(name, text, within=self.folder, mode=0o755)


def picture(folder: Path) -> Picture:
    """Every entry below `folder`: path -> (kind, rights, content or target)."""
    found: Picture = {}
    _look(os.fsencode(folder), b"", found)
    return found


def _look(top: bytes, at: bytes, found: Picture) -> None:
    for entry in list(os.scandir(os.path.join(top, at))):
        path, rights = os.path.join(at, entry.name), stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
        if entry.is_symlink():
            found[path] = ("link", 0, os.readlink(entry.path))
        elif entry.is_dir():
            found[path] = ("folder", rights, b"")
            with _opened(entry.path, rights, rights | 0o700):
                _look(top, path, found)
        elif entry.is_file():
            with _opened(entry.path, rights, rights | 0o400):
                found[path] = ("file", rights, Path(os.fsdecode(entry.path)).read_bytes())
        else:
            found[path] = ("other", rights, b"")


@contextlib.contextmanager
def _opened(path: bytes, rights: int, wanted: int) -> Iterator[None]:
    """Gives the owner rights for a moment."""
    if wanted != rights:
        os.chmod(path, wanted)
    yield
    if wanted != rights:
        os.chmod(path, rights)


def unlock(folder: Path) -> None:
    """Makes everything below `folder` removable again."""
    for at, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(at, name)
            if not path.is_symlink():
                path.chmod(0o700)
