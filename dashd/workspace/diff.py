"""What an agent has changed since its base, committed or not, as names, counts and a patch, all bounded.

The agent's git directory is not believed, not even read: its configuration could filter, its index could hide
(assume-unchanged). A git directory of ours looks at the agent's files, in a jail, and only writes to a spool.
Ignored files are not part of it; nested repositories are named, not entered.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec
import trio

from dashd import threads
from dashd.workspace import adding, bundle, git, names, skeleton, trust
from dashd.workspace.errors import GitFailed
from dashd.workspace.place import Workspace
from dashd.workspace.source import Source

PATCH_BYTES_MAX = 1 << 20
FILES_MAX = 5000
LINKS_MAX = 1000
_KEPT = f"{names.PREFIX.decode()}[!{names.PREFIX.decode()[0]}]*"
"""A salvage's own names; a file whose name began with the prefix has it there twice, and is the agent's."""
LINK_BYTES_MAX = 4096
Status = Literal["added", "modified", "deleted", "renamed", "retyped"]

_STATUS: dict[bytes, Status] = {
    b"A": "added",
    b"M": "modified",
    b"D": "deleted",
    b"R": "renamed",
    b"T": "retyped",
}
# Our git directory's own attributes outrank those in the tree; used where those cannot be followed.
_RAW = "* -text -filter -ident -working-tree-encoding\n"


class FileChange(msgspec.Struct, frozen=True):
    """One changed path; lines are None for binary content, `flags` say why to look at it first."""

    path: str
    status: Status
    mode: str
    lines_added: int | None
    lines_removed: int | None
    from_path: str = ""
    flags: tuple[str, ...] = ()


class Diff(msgspec.Struct, frozen=True):
    """`patch` is git's, cut at a bound where `patch_cut`; `more_files` are not in `files`."""

    base: str
    tree: str
    files: tuple[FileChange, ...]
    more_files: int
    nested: tuple[str, ...]
    patch: bytes
    patch_cut: bool

    @property
    def flagged(self) -> tuple[str, ...]:
        """The paths to look at first."""
        return (*(change.path for change in self.files if change.flags), *self.nested)


async def diff(
    workspace: Workspace, *, patch_bytes_max: int = PATCH_BYTES_MAX, files_max: int = FILES_MAX
) -> Diff:
    """The difference between the base and the agent's files as they are now. Raises GitFailed."""
    spool = await bundle.fresh_spool(workspace)
    try:
        apart = await threads.run(adding.aside, workspace.path)
        looking = _lay_out(workspace, spool)
        taken, left = await _take(looking, workspace.base, apart)
        # The agent's files and the index are out of sight now, and with them the attributes in the tree.
        no_index = {"GIT_INDEX_FILE": str(spool / "none")}
        place = git.Place(looking.git_dir, read=(spool, *workspace.source.objects), env=no_index)
        files = [*map(_unseen, left), *await _files(place, workspace.base, taken)]
        args = ("--no-ext-diff", "--no-textconv", "--full-index", "-M", "-p", workspace.base, taken)
        shown = await git.run(place, "diff-tree", "-r", *args, output_bytes_max=patch_bytes_max)
    finally:
        with trio.CancelScope(shield=True):  # removes one folder of ours
            await bundle.drop_spool(workspace)
    return Diff(
        workspace.base,
        taken,
        tuple(files[:files_max]),
        max(0, len(files) - files_max),
        tuple(os.fsdecode(path) for path in apart.nested),
        shown.stdout,
        shown.cut,
    )


async def between(source: Source, base: str, commit: str) -> list[FileChange]:
    """What two commits of the user's repository differ in, flagged like a diff. Raises GitFailed."""
    return await _files(source.reading, base, commit)


async def kept(
    source: Source, base: str, commit: str, *, salvage: bool, patch_bytes_max: int, files_max: int
) -> Diff:
    """The same of what a workspace that is gone has left: a commit that came back, or its salvage.

    Of a `salvage` what git would not take under its own name (`names`) is left out: no file of the work.
    In commits of an agent's nothing is left out, whatever it is called. Raises GitFailed.
    """
    spec = ("--", ".", f":(exclude,glob)**/{_KEPT}", f":(exclude,glob)**/{_KEPT}/**") if salvage else ()
    files = await _files(source.reading, base, commit, spec)
    args = ("--no-ext-diff", "--no-textconv", "--full-index", "-M", "-p", base, commit, *spec)
    shown = await git.run(source.reading, "diff-tree", "-r", *args, output_bytes_max=patch_bytes_max)
    more = max(0, len(files) - files_max)
    return Diff(base, commit, tuple(files[:files_max]), more, (), shown.stdout, shown.cut)


def _lay_out(workspace: Workspace, spool: Path) -> git.Place:
    """A git directory of ours in the spool, over the agent's files."""
    exclude = tuple(f"/{shared.target.name}" for shared in workspace.shared)
    skeleton.write(spool / "git", workspace.source, branch="refs/heads/diff", exclude=exclude)
    return git.Place(
        spool / "git",
        read=(workspace.path, *workspace.source.objects),
        write=(spool,),
        work_tree=workspace.path,
    )


async def _take(place: git.Place, base: str, apart: adding.Aside) -> tuple[str, tuple[adding.Left, ...]]:
    """The tree of the files as they are, ignored ones and nested repositories left out, and what git left."""
    await git.run(place, "read-tree", base)
    try:
        added = await adding.everything(place, apart)
    except GitFailed:
        (place.git_dir / "info/attributes").write_text(_RAW)
        (place.git_dir / "index.lock").unlink(missing_ok=True)
        added = await adding.everything(place, apart)
    return await git.text(place, "write-tree"), added.left


def _unseen(left: adding.Left) -> FileChange:
    """It is not in the patch, so it is to be looked at."""
    why = f"not in the patch: {left.why or 'git did not take it'}"
    return FileChange(os.fsdecode(left.path), left.status, "", None, None, flags=(why,))


async def _files(place: git.Place, base: str, taken: str, spec: tuple[str, ...] = ()) -> list[FileChange]:
    args = (
        "--raw",
        "--numstat",
        "--no-ext-diff",
        "--no-textconv",
        "--no-abbrev",
        "-M",
        "-z",
        base,
        taken,
        *spec,
    )
    words = await git.lines(place, "diff-tree", "-r", *args)
    raw, counts = _split(words)
    links = [(path, new) for path, (_, mode, new, _) in raw.items() if mode == b"120000"]
    targets = await _targets(place, links[:LINKS_MAX])
    return [
        _change(path, entry, counts.get(path, (None, None)), targets.get(path)) for path, entry in raw.items()
    ]


_Raw = dict[bytes, tuple[bytes, bytes, bytes, bytes]]
_Counts = dict[bytes, tuple[int | None, int | None]]


def _split(words: list[bytes]) -> tuple[_Raw, _Counts]:
    """The records of `--raw --numstat -z`: path -> (status, mode, id, earlier path), path -> lines."""
    raw: _Raw = {}
    counts: _Counts = {}
    rest = iter(words)
    for word in rest:
        if word.startswith(b":"):
            _, mode, _, new, status = word[1:].split(b" ")
            earlier = next(rest) if status[:1] == b"R" else b""
            raw[next(rest)] = (status[:1], mode, new, earlier)
        else:
            added, removed, path = word.split(b"\t", 2)
            if not path:
                next(rest)
                path = next(rest)
            counts[path] = (None, None) if added == b"-" else (int(added), int(removed))
    return raw, counts


async def _targets(place: git.Place, links: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Where each symbolic link leads; one with an absurd target is left out and has no flag."""
    asked = b"".join(id_ + b"\n" for _, id_ in links)
    room = len(links) * (LINK_BYTES_MAX + 100)
    found: dict[bytes, bytes] = {}
    shown = (await git.run(place, "cat-file", "--batch", stdin=asked, output_bytes_max=room)).stdout
    at = 0
    for path, _ in links:
        start = shown.find(b"\n", at) + 1
        size = int(shown[at:start].split()[2]) if start else 0
        if not start or start + size > len(shown):
            break
        found[path] = shown[start : start + size]
        at = start + size + 1
    return found


def _change(
    path: bytes,
    entry: tuple[bytes, bytes, bytes, bytes],
    lines: tuple[int | None, int | None],
    target: bytes | None,
) -> FileChange:
    status, mode, _, earlier = entry
    name, before = os.fsdecode(path), os.fsdecode(earlier)
    reasons = [trust.reason(name), trust.reason(before) if before else ""]
    reasons.append(trust.link_reason(name, os.fsdecode(target)) if target is not None else "")
    flags = tuple(dict.fromkeys(reason for reason in reasons if reason))
    return FileChange(name, _STATUS[status], mode.decode(), *lines, before, flags)
