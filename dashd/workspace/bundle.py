"""Results come back as a bundle: one jail that sees the agent's tree writes it, another one imports it.

The second jail sees the user's git directory and the bundle, and nothing that the agent could still change.
What the first jail says is not believed: the commit is what the second one finds in the bundle, checked by
git's own fsck. Imported means that the ref was read back from the user's repository.
"""

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dashd import threads
from dashd.workspace import erase, git, refs
from dashd.workspace.errors import GitFailed, OutsideScope
from dashd.workspace.place import Workspace
from dashd.workspace.source import Source, read_ref

BUNDLE_BYTES_MAX = 8 << 30
_DEADLINE_S = 600.0
_HEADER_BYTES_MAX = 1 << 16

# gitformat-bundle(5): signature, capabilities, prerequisites, refs.
_HEAD = re.compile(rb"^([0-9a-f]{40}|[0-9a-f]{64}) ([!-~]+)\n", re.MULTILINE)
_HEADER = re.compile(
    rb"# v[23] git bundle\n(@object-format=[a-z0-9]+\n)?"
    rb"(-[0-9a-f]{40,64}( [^\n]*)?\n)*([0-9a-f]{40,64} [!-~]+\n)+"
)


class Imported(msgspec.Struct, frozen=True):
    """An agent's commits, in the user's repository; `moved` is False where there was nothing new."""

    ref: str
    commit: str
    moved: bool


async def bring_back(workspace: Workspace, *, within: Sequence[str] | None = None) -> Imported:
    """Imports the commits of the workspace, up to its HEAD, as its branch in the user's repository.

    Without commits of its own the branch is made at the base. After a crash at any point a second call does
    the rest. `within` names folders, outside of which none of the commits may differ from the base. Raises
    GitFailed, RefMoved, and OutsideScope, after which the branch is where it was.
    """
    source, ref = workspace.source, workspace.branch
    old = await read_ref(source, ref)
    file = await write(workspace)
    commit = await fetch(source, file, "HEAD") if file else workspace.base
    if within is not None:
        await _must_be_within(source, workspace.base, commit, within)
    await refs.update(source, ref, commit, old)
    return Imported(ref, commit, commit != old)


async def _must_be_within(source: Source, base: str, commit: str, within: Sequence[str]) -> None:
    """Not the last commit alone: each one's tree is in the history, and somebody will check it out."""
    if "." in within:
        return
    changed = ("diff-tree", "-r", "--no-renames", "--no-commit-id", "--name-only", "-z")
    outside = _outside(await git.lines(source.reading, *changed, base, commit), within)
    hint = ""
    if not outside:
        between = (await git.text(source.reading, "rev-list", commit, f"^{base}", "--")).split()
        pairs = "".join(f"{each} {base}\n" for each in between)  # compared with the base, not its parents
        outside = _outside(await git.lines(source.reading, *changed, "--stdin", stdin=pairs.encode()), within)
        hint = f"The last commit does not, earlier ones do: git reset --soft {base[:12]}, and commit again."
    if outside:
        raise OutsideScope(
            f"Scope violation: commits change paths outside of {', '.join(within) or 'nothing'}",
            [os.fsdecode(name) for name in outside],
            hint=hint,
        )


def _outside(names: Sequence[bytes], within: Sequence[str]) -> list[bytes]:
    roots = tuple(os.fsencode(folder) for folder in within)
    below = tuple(root + b"/" for root in roots)
    return [name for name in dict.fromkeys(names) if name not in roots and not name.startswith(below)]


async def write(workspace: Workspace) -> Path | None:
    """Writes the agent's commits since the base into a bundle in its spool; None if there are none."""
    reading = inside(workspace)
    head = await git.text(reading, "rev-parse", "--verify", "HEAD^{commit}")
    if await git.text(reading, "rev-list", "--max-count=1", head, f"^{workspace.base}", "--") == "":
        return None
    spool = await fresh_spool(workspace)
    file = spool / "result.bundle"
    writing = git.Place(reading.git_dir, read=reading.read, write=(spool,), work_tree=reading.work_tree)
    await git.run(
        writing,
        "bundle",
        "create",
        "--quiet",
        str(file),
        "HEAD",
        f"^{workspace.base}",
        "--",
        deadline_s=_DEADLINE_S,
    )
    return file


async def fetch(source: Source, file: Path, name: str, *, fsck: bool = True) -> str:
    """Brings the objects of a bundle into the user's repository and returns the commit that it calls `name`.

    No ref is moved yet. Raises GitFailed where the bundle is not a plain, whole one, or where `fsck` finds
    something that a repository had better not have (git's own import of bundles does not look).
    """
    heads, at = _header(file)
    if name not in heads:
        raise GitFailed(f"The bundle {file.name} has no {name}.")
    commit = heads[name]
    place = git.Place(source.git_dir, read=(file.parent, *source.alternates), write=(source.common_dir,))
    strict = ("--strict",) if fsck else ()
    await git.run(
        place, "index-pack", *strict, "--fix-thin", "--stdin", feed=(file, at), deadline_s=_DEADLINE_S
    )
    await git.run(
        place, "rev-list", "--objects", "--quiet", commit, "--not", "--all", "--", deadline_s=_DEADLINE_S
    )
    await git.run(place, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    return commit


def _header(file: Path) -> tuple[dict[str, str], int]:
    """The bundle's refs, name -> id, and where its pack begins.

    A jail wrote it under the agent's configuration: it may be a link to somewhere, huge, or no bundle.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise GitFailed(f"The bundle {file.name} cannot be read: {error.strerror}.") from error
    with open(fd, "rb") as opened:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
            raise GitFailed(f"The bundle {file.name} is not a plain file.")
        if info.st_size > BUNDLE_BYTES_MAX:
            raise GitFailed(f"The bundle {file.name} is larger than {BUNDLE_BYTES_MAX >> 30} GiB.")
        head, end, _ = opened.read(_HEADER_BYTES_MAX).partition(b"\n\n")
    if not _HEADER.fullmatch(head + b"\n") or not end:
        raise GitFailed(f"The bundle {file.name} does not begin like one.")
    return {name.decode(): id_.decode() for id_, name in _HEAD.findall(head + b"\n")}, len(head) + len(end)


def inside(workspace: Workspace) -> git.Place:
    """git in the agent's own git directory, changing nothing. What it says is the agent's word."""
    return git.Place(
        workspace.git_dir, read=(workspace.path, *workspace.source.objects), work_tree=workspace.path
    )


async def fresh_spool(workspace: Workspace) -> Path:
    """The agent's spool, empty."""
    folder = workspace.spool
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    await threads.run(erase.remove_tree, folder.parent, folder.name)
    folder.mkdir(mode=0o700)
    return folder


async def drop_spool(workspace: Workspace) -> None:
    """Removes what an operation has left in the spool; without a thread for it that is the next one's."""
    with contextlib.suppress(threads.NoThread):
        await threads.at_once(erase.remove_tree, workspace.spool.parent, workspace.spool.name)
