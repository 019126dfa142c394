"""One agent's commits onto a target branch: rebased and tried out apart, then the ref moves, or nothing does.

A scratch clone (in ROOT/.merging-<key>/) takes the rebase and the gates, in jails; the user's repository
sees only the finished commits. Success is said only after the target was read back; every other end leaves it
where it was. A branch that is checked out is never moved here: its files would not follow (`land`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from dashd.jail import tool
from dashd.workspace import bundle, erase, git, place, refs, skeleton
from dashd.workspace.errors import CheckedOut, GateFailed, GitFailed, MergeConflict, UnknownBase
from dashd.workspace.source import Source, read_ref

GATE_S = 600.0
GATE_OUTPUT_BYTES_MAX = 1 << 20
OUTPUT_SHOWN_BYTES_MAX = 4000
_PREFIX = ".merging-"
_BRANCH = "refs/heads/merge"


@dataclass(frozen=True)
class Gate:
    """A program that must end with 0 in the merged tree; it sees that tree and the folders in `read`."""

    argv: tuple[str, ...]
    deadline_s: float = GATE_S
    read: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Merged:
    """Where the target is now and was before; the same where there was nothing to merge."""

    target: str
    commit: str
    before: str | None


async def merge(
    root: Path,
    source: Source,
    *,
    key: str,
    commit: str,
    target: str,
    start: str,
    at_ms: int,
    gates: Sequence[Gate] = (),
) -> Merged:
    """Puts what `commit` has on top of `target` (a full ref), which begins at `start` if it is not there.

    `key` names the scratch folder: one merge at a time per key. Merges into one target are the caller's to
    put in a row. Raises MergeConflict, GateFailed, CheckedOut, RefMoved and GitFailed.
    """
    if not target.startswith("refs/heads/"):
        raise UnknownBase(f"{target!r} is not the full name of a branch (refs/heads/...).")
    await refuse_checked_out(source, target)
    before = await read_ref(source, target)
    scratch = _Scratch(root, source, place.check_id(key), at_ms)
    return await _move(scratch, target, before, commit=commit, onto=before or start, gates=gates)


async def rebase(
    root: Path,
    source: Source,
    *,
    key: str,
    target: str,
    onto: str,
    at_ms: int,
    gates: Sequence[Gate] = (),
) -> Merged:
    """Puts `target` itself (a full ref) on top of the commit `onto`; it stays where that is in it already.

    For a branch of Dash's own whose beginning the user has left behind: it does not go forward but is
    replaced, under the same conditions as in `merge`, and with the same errors.
    """
    await refuse_checked_out(source, target)
    before = await read_ref(source, target)
    if before is None:
        raise UnknownBase(f"There is no {target} to put on top of anything.")
    scratch = _Scratch(root, source, place.check_id(key), at_ms)
    return await _move(scratch, target, before, commit=before, onto=onto, gates=gates)


async def _move(
    scratch: "_Scratch", target: str, before: str | None, *, commit: str, onto: str, gates: Sequence[Gate]
) -> Merged:
    """Moves the target to the commit, put on top of `onto` and tried out; nothing of the scratch stays."""
    source = scratch.source
    try:
        merged = await scratch.rebase(commit, onto)
        if merged != before:
            file = await scratch.bundle(merged, onto) if merged not in (commit, onto) else None
            for gate in gates:
                await scratch.run(gate)
            if file:
                await bundle.fetch(source, file, "HEAD")
            await refuse_checked_out(source, target)
            await refs.update(source, target, merged, before)
    finally:
        with trio.CancelScope(shield=True):  # removes two folders of ours
            await scratch.remove()
    return Merged(target, merged, before)


async def recover(root: Path) -> None:
    """Removes what interrupted merges have left; their targets are where they were, or were moved."""
    for name in _left(root):
        await trio.to_thread.run_sync(erase.remove_tree, root, name)


def _left(root: Path) -> list[str]:
    return [name for name in os.listdir(root) if name.startswith(_PREFIX)] if root.is_dir() else []


async def refuse_checked_out(source: Source, branch: str) -> None:
    """Raises CheckedOut where the branch is in use in any checkout of the repository."""
    words = await git.lines(source.reading, "worktree", "list", "--porcelain", "-z")
    folder = b""
    for word in words:
        if word.startswith(b"worktree "):
            folder = word.removeprefix(b"worktree ")
        elif word == b"branch " + os.fsencode(branch):
            raise CheckedOut(
                f"{branch} is checked out in {os.fsdecode(folder)}.",
                hint="Merge into another branch, and land that one.",
            )


class _Scratch:
    """A clone for one merge, of which nothing is kept."""

    def __init__(self, root: Path, source: Source, key: str, at_ms: int) -> None:
        self.root, self.source, self.key = root, source, key
        self.folder = root / f"{_PREFIX}{key}"
        self.spool = root / ".spool" / f"merge-{key}"
        env = {"GIT_COMMITTER_DATE": f"{at_ms // 1000} +0000"}
        self.place = git.Place(
            self.folder / ".git", read=source.objects, write=(self.folder,), work_tree=self.folder, env=env
        )

    async def remove(self) -> None:
        for path in (self.folder, self.spool):
            await trio.to_thread.run_sync(erase.remove_tree, path.parent, path.name)

    async def rebase(self, commit: str, onto: str) -> str:
        """The commit on top of `onto`; the scratch folder has its files."""
        await self.remove()
        self._make(commit)
        await git.run(self.place, "reset", "--quiet", "--hard", commit, "--")
        if await self._contains(commit, onto):
            return commit
        if await self._contains(onto, commit):
            return onto
        options = ("--quiet", "--no-autostash", "--no-verify", "--no-stat", "--no-autosquash", "--empty=drop")
        done = await git.run(self.place, "rebase", *options, onto, ok=(0, 1))
        if done.code:
            paths = await git.lines(self.place, "diff", "--name-only", "--diff-filter=U", "-z")
            if not paths:
                raise GitFailed(f"The rebase stopped: {git.reason(done)}")
            raise MergeConflict("Both sides changed", [os.fsdecode(path) for path in paths])
        return await git.text(self.place, "rev-parse", "--verify", "HEAD^{commit}")

    def _make(self, commit: str) -> None:
        self.folder.mkdir(mode=0o700, parents=True)
        skeleton.write(self.folder / ".git", self.source, branch=_BRANCH, commit=commit)

    async def _contains(self, commit: str, ancestor: str) -> bool:
        done = await git.run(self.place, "merge-base", "--is-ancestor", ancestor, commit, ok=(0, 1))
        return done.code == 0

    async def bundle(self, commit: str, onto: str) -> Path:
        """The new commits, written before any gate can touch the scratch folder."""
        self.spool.mkdir(mode=0o700, parents=True)
        file = self.spool / "merge.bundle"
        writing = git.Place(self.place.git_dir, read=(self.folder, *self.source.objects), write=(self.spool,))
        await git.run(writing, "bundle", "create", "--quiet", str(file), "HEAD", f"^{onto}", "--")
        return file

    async def run(self, gate: Gate) -> None:
        """Runs a gate; raises GateFailed where it does not end with 0."""
        job = tool.Tool(
            argv=gate.argv,
            cwd=self.folder,
            env={
                "PATH": git.ENVIRONMENT["PATH"],
                "HOME": tool.HOME,
                "LANG": "C.UTF-8",
                "CI": "1",
                **gate.env,
            },
            read=(*self.source.objects, *gate.read),
            write=(self.folder,),
            deadline_s=gate.deadline_s,
            output_bytes_max=GATE_OUTPUT_BYTES_MAX,
        )
        try:
            done = await tool.run(job)
        except tool.ToolTimeout as error:
            raise GateFailed(gate.argv, None, str(error)) from error
        except tool.ToolFailed as error:
            raise GateFailed(gate.argv, 127, str(error)) from error
        if done.code:
            output = (done.stdout + done.stderr)[-OUTPUT_SHOWN_BYTES_MAX:]
            raise GateFailed(gate.argv, done.code, output.decode(errors="replace"))
