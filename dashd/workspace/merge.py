"""One agent's commits onto a target branch: made and tried out apart, then the ref moves, or nothing does.

A scratch clone (in ROOT/.merging-<key>/) takes the rebase and the gates, in jails; the user's repository
sees only the finished commits. Success is said only after the target was read back; every other end leaves it
where it was. A branch that is checked out is never moved here: its files would not follow (`land`).
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import trio

from dashd import threads
from dashd.jail import tool
from dashd.workspace import bundle, erase, git, place, refs, skeleton
from dashd.workspace.errors import CheckedOut, GateFailed, GitFailed, MergeConflict, UnknownBase
from dashd.workspace.source import Source, read_ref

GATE_S = 600.0
GATE_OUTPUT_BYTES_MAX = 1 << 20
OUTPUT_SHOWN_BYTES_MAX = 4000
COMMITS_NAMED_MAX = 100
_PREFIX = ".merging-"
_SPOOL = "merge-"
_BRANCH = "refs/heads/merge"


@dataclass(frozen=True)
class Gate:
    """A program that must end with 0 in the merged tree; it sees that tree and the folders in `read`."""

    argv: tuple[str, ...]
    deadline_s: float = GATE_S
    read: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


Intend = Callable[[str], Awaitable[None]]
"""Told the commit that the target is about to be moved to, behind all gates: written down, it tells later
whether a target was moved by us."""


class Merged(msgspec.Struct, frozen=True):
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
    intend: Intend | None = None,
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
    return await _move(
        scratch, target, before, commit=commit, onto=before or start, gates=gates, intend=intend
    )


async def rebase(
    root: Path,
    source: Source,
    *,
    key: str,
    target: str,
    onto: str,
    at_ms: int,
    gates: Sequence[Gate] = (),
    intend: Intend | None = None,
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
    return await _move(scratch, target, before, commit=before, onto=onto, gates=gates, intend=intend)


async def _move(
    scratch: "_Scratch",
    target: str,
    before: str | None,
    *,
    commit: str,
    onto: str,
    gates: Sequence[Gate],
    intend: Intend | None,
) -> Merged:
    """Moves the target to the commit, put on top of `onto` and tried out; nothing of the scratch stays.

    Where it is there already the gates decide all the same: whoever moved it may not have asked them.
    """
    source = scratch.source
    try:
        merged = await scratch.rebase(commit, onto)
        file = await scratch.bundle(merged, onto) if merged not in (commit, onto) else None
        for gate in gates:
            await scratch.run(gate)
        if merged != before:
            if file:
                await bundle.fetch(source, file, "HEAD")
            await refuse_checked_out(source, target)
            if intend is not None:
                await intend(merged)
            await refs.update(source, target, merged, before)
    finally:
        with trio.CancelScope(shield=True):  # removes two folders of ours
            await scratch.drop()
    return Merged(target, merged, before)


async def recover(root: Path) -> None:
    """Removes what interrupted merges have left; their targets are where they were, or were moved."""
    for folder, prefix in ((root, _PREFIX), (root / ".spool", _SPOOL)):
        for name in _left(folder, prefix):
            await threads.run(erase.remove_tree, folder, name)


def _left(folder: Path, prefix: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(prefix)] if folder.is_dir() else []


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


def _names(paths: Sequence[bytes]) -> list[str]:
    return [os.fsdecode(path) for path in paths]


class _Scratch:
    """A clone for one merge, of which nothing is kept."""

    def __init__(self, root: Path, source: Source, key: str, at_ms: int) -> None:
        self.root, self.source, self.key = root, source, key
        self.folder = root / f"{_PREFIX}{key}"
        self.spool = root / ".spool" / f"{_SPOOL}{key}"
        env = {"GIT_COMMITTER_DATE": f"{at_ms // 1000} +0000"}
        self.place = git.Place(
            self.folder / ".git", read=source.objects, write=(self.folder,), work_tree=self.folder, env=env
        )

    async def remove(self) -> None:
        for path in (self.folder, self.spool):
            await threads.run(erase.remove_tree, path.parent, path.name)

    async def drop(self) -> None:
        """The same for now: without a thread for it, that is left to the next one, or the next start."""
        for path in (self.folder, self.spool):
            with contextlib.suppress(threads.NoThread):
                await threads.at_once(erase.remove_tree, path.parent, path.name)

    async def rebase(self, commit: str, onto: str) -> str:
        """The commit on top of `onto`; the scratch folder has its files.

        Where there are merge commits, what was only in them would be lost by rebasing: all of it becomes one
        commit. What is rebased must come to the same content as merging it.
        """
        await self.remove()
        self._make(commit)
        if await self._contains(commit, onto):
            return await self._check_out(commit)
        if await self._contains(onto, commit):
            return await self._check_out(onto)
        if await git.text(self.place, "rev-list", "--merges", "--max-count=1", f"{onto}..{commit}", "--"):
            return await self._check_out(await self._squash(commit, onto))
        await self._check_out(commit)
        await self._rebase(onto)
        made = await git.text(self.place, "rev-parse", "--verify", "HEAD^{commit}")
        await self._verify(made, commit, onto)
        return made

    async def _check_out(self, commit: str) -> str:
        await git.run(self.place, "reset", "--quiet", "--hard", commit, "--")
        return commit

    async def _rebase(self, onto: str) -> None:
        options = ("--quiet", "--no-autostash", "--no-verify", "--no-stat", "--no-autosquash", "--empty=drop")
        done = await git.run(self.place, "rebase", *options, onto, ok=(0, 1))
        if done.code:
            paths = await git.lines(self.place, "diff", "--name-only", "--diff-filter=U", "-z")
            if not paths:
                raise GitFailed(f"The rebase stopped: {git.reason(done)}")
            raise MergeConflict("Both sides changed", _names(paths))

    async def _squash(self, commit: str, onto: str) -> str:
        """One commit on `onto` that brings everything which the commits up to this one have changed."""
        tree, conflicts = await self._merged(onto, commit)
        if conflicts:
            raise MergeConflict("Both sides changed", conflicts)
        if tree == await self._tree(onto):
            return onto
        log = ("log", "--no-decorate", "--no-show-signature")
        author = await git.run(self.place, *log, "-1", "--format=%an%n%ae%n%ad", "--date=raw", commit, "--")
        name, email, date = author.stdout.decode(errors="surrogateescape").split("\n")[:3]
        listed = await git.run(
            self.place, *log, f"-{COMMITS_NAMED_MAX}", "--format=%h %an: %s", f"{onto}..{commit}", "--"
        )
        count = await git.text(self.place, "rev-list", "--count", f"{onto}..{commit}", "--")
        message = f"Work up to {commit[:12]}, {count} commits with merges\n\n".encode() + listed.stdout
        more = {"GIT_AUTHOR_NAME": name or "unknown", "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": date}
        place = replace(self.place, env={**(self.place.env or {}), **more})
        return await git.text(place, "commit-tree", tree, "-p", onto, "-F", "-", stdin=message)

    async def _verify(self, made: str, commit: str, onto: str) -> None:
        """Raises MergeConflict where rebasing came to something else than merging: something was dropped.

        Where both sides go on from a change that both have, merging must begin at that change.
        """
        tree, conflicts = await self._merged(onto, commit)
        if conflicts and (shared := await self._shared(commit, onto)):
            tree, conflicts = await self._merged(await self._on(shared, onto), await self._on(shared, commit))
        if conflicts:
            raise MergeConflict("Both sides changed", conflicts)
        differ = await git.lines(
            self.place, "diff-tree", "-r", "-z", "--name-only", "--no-renames", tree, made
        )
        if differ:
            raise MergeConflict("Commit by commit it comes to something else than as a whole", _names(differ))

    async def _merged(self, ours: str, theirs: str) -> tuple[str, list[str]]:
        """The tree of a three-way merge, and the files in conflict."""
        options = ("--write-tree", "-z", "--name-only", "--no-messages", "--allow-unrelated-histories")
        done = await git.run(self.place, "merge-tree", *options, ours, theirs, ok=(0, 1))
        tree, *paths = done.stdout.split(b"\0")
        names = _names([path for path in paths if path])
        return tree.decode().strip(), names or ["(no file)"] * done.code

    async def _shared(self, commit: str, onto: str) -> str:
        """The last of the commits, from the first on, whose changes the other side has too; or nothing."""
        found = ""
        for line in (await git.text(self.place, "cherry", onto, commit)).splitlines():
            if not line.startswith("- "):
                break
            found = line[2:]
        return found

    async def _on(self, parent: str, commit: str) -> str:
        """A commit with the content of one, and the other as its only parent."""
        tree = await self._tree(commit)
        return await git.text(self.place, "commit-tree", tree, "-p", parent, "-m", "as a whole")

    async def _tree(self, commit: str) -> str:
        return await git.text(self.place, "rev-parse", "--verify", f"{commit}^{{tree}}")

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
                "GIT_CONFIG_NOSYSTEM": "1",  # behind Landlock alone it is there, and not to be read
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
