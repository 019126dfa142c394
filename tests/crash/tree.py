"""What an agent of the crash tests writes into its tree, and the judge of whether all of it is still there.

By its name alone everything is known beforehand, byte for byte. Stdlib alone: the agent, which runs without
any path of ours, loads this file by its place (`tree` in its plan).
"""

import os
import random
import shutil
import subprocess
from pathlib import Path

GIT = ("git", "-c", "user.name=agent", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
Files = dict[bytes, tuple[str, bytes]]
"""Path -> (`file`, `program` or `link`, what is in it)."""


def committed(name: str) -> Files:
    """What the agent commits itself."""
    chance, top = random.Random(name), f"work-{name}/".encode()
    return {
        top + b"data": ("file", chance.randbytes(chance.randrange(1, 30_000))),
        top + b"crlf.txt": ("file", b"one\r\ntwo\r\n"),
        top + b"odd \xff\n": ("file", chance.randbytes(50)),
        top + b"deep/run": ("program", b"#!/bin/sh\n"),
        top + b"link": ("link", b"../not there"),
    }


def left(name: str) -> Files:
    """What it leaves uncommitted: Dash commits that for it when its task has succeeded."""
    return {f"left-{name}".encode(): ("file", random.Random(f"left {name}").randbytes(2_000))}


def unseen(name: str) -> Files:
    """What no commit takes: ignored files, and what lies in a repository inside the tree."""
    chance = random.Random(f"unseen {name}")
    return {
        f"cache-{name}.tmp".encode(): ("file", chance.randbytes(3_000)),
        f"nested-{name}/inner".encode(): ("file", chance.randbytes(300)),
    }


def write(name: str, *, plain: bool = False, clash: bool = False) -> None:
    """Works in the current folder; a second run, after one that was cut, comes to the same."""
    _put(committed(name))
    if clash:
        Path("README").write_text(f"{name}\n")
    git("add", "--", f"work-{name}", "README")
    if subprocess.run([*GIT, "diff", "--cached", "--quiet"], check=False).returncode:
        git("commit", "--quiet", "-m", f"work {name}")
    _put(left(name))
    if plain:
        return
    nested = f"nested-{name}"
    shutil.rmtree(nested, ignore_errors=True)
    _put(unseen(name))
    git("init", "--quiet", nested)
    git("-C", nested, "add", "inner")
    git("-C", nested, "commit", "--quiet", "-m", f"nested {name}")
    side = git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", f"side {name}").strip()
    git("update-ref", f"refs/heads/side-{name}", side)


def missing(folder: Path, name: str, *, plain: bool) -> list[str]:
    """What of an agent's work is not as it wrote it in a folder, its own or one restored from its salvage."""
    expected = committed(name) | left(name) | ({} if plain else unseen(name))
    found = [repr(path) for path, wanted in expected.items() if _read(folder, path) != wanted]
    if not plain:
        for where, ref, subject in (
            (f"nested-{name}", "HEAD", f"nested {name}"),
            (".", f"side-{name}", f"side {name}"),
        ):
            done = subprocess.run(
                [*GIT, "-c", "safe.directory=*", "-C", folder / where, "log", "-1", "--format=%s", ref, "--"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.stdout.strip() != subject:
                found.append(f"{ref} of {where}: {done.stdout!r} {done.stderr!r}")
    return found


def missing_in_commit(repo: Path, commit: str, name: str) -> list[str]:
    """What of the committed, by the agent or by Dash for it, is not in a commit."""
    expected = committed(name) | left(name)
    listed = subprocess.run(
        [*GIT, "-C", repo, "ls-tree", "-r", "-z", commit], capture_output=True, check=True
    ).stdout.split(b"\0")
    entries = {path: about.split()[::2] for about, _, path in (each.partition(b"\t") for each in listed)}
    modes = {b"100644": "file", b"100755": "program", b"120000": "link"}
    found = []
    for path, wanted in expected.items():
        mode, id_ = entries.get(path, (b"", b""))
        content = subprocess.run(
            [*GIT, "-C", repo, "cat-file", "blob", id_ or b"none"], capture_output=True, check=False
        ).stdout
        if (modes.get(mode), content) != wanted:
            found.append(repr(path))
    return found


def git(*args: str) -> str:
    """What git prints; raises CalledProcessError."""
    return subprocess.run([*GIT, *args], stdout=subprocess.PIPE, text=True, check=True).stdout


def _put(files: Files) -> None:
    for path, (kind, content) in files.items():
        os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
        if kind == "link":
            if not os.path.islink(path):
                os.symlink(content, path)
            continue
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o755 if kind == "program" else 0o644)


def _read(folder: Path, path: bytes) -> tuple[str, bytes] | None:
    at = os.path.join(os.fsencode(folder), path)
    try:
        if os.path.islink(at):
            return "link", os.readlink(at)
        with open(at, "rb") as file:
            return "program" if os.fstat(file.fileno()).st_mode & 0o100 else "file", file.read()
    except OSError:
        return None
