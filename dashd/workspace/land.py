"""The explicit last step: the user's checked-out branch, its index and its files move to a commit, together.

Refused with the paths unless the checkout is clean and nothing that git does not track, ignored or not, lies
where the landing writes, and unless the commit is ahead of the branch. Order: a journal (made durable first),
the files and then the index (git, which holds `index.lock` all the while), then the ref, then the journal
goes. Killed anywhere, `recover` goes on: with the ref moved it is done; with the index moved the ref follows;
else the files that differ are put back and all of it is done again, unless in their place is something that
neither commit has put there: it is the user's by now, and nothing is touched.
"""

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import trio

from dashd import threads
from dashd.jail import tool
from dashd.workspace import git, obstacles, place, refs
from dashd.workspace.errors import CheckoutNotClean, GitFailed, NotAhead, RefMoved, WorkspaceError
from dashd.workspace.merge import refuse_checked_out
from dashd.workspace.source import Source, changes, filters_off, head_branch, read_ref

LOCK_S_MAX = 5.0  # a git of the user's that holds the index when we look ends well within this
_LOOKS = 50
_DEADLINE_S = 600.0
_SUBMODULE, _NOTHING = b"160000", b"000000"
_UNDERWAY = (
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "BISECT_LOG",
    "rebase-merge",
    "rebase-apply",
    "sequencer",
)


class Landing(msgspec.Struct, frozen=True):
    """A landing that has begun: `branch` (a full ref) goes from `old` to `new`."""

    source: Source
    branch: str
    old: str
    new: str


class Landed(msgspec.Struct, frozen=True):
    """How an interrupted landing ended: `landed`, or `blocked` by what `problem` says, journal kept."""

    landing: Landing
    outcome: Literal["landed", "blocked", "given up"]
    problem: str = ""


async def land(root: Path, source: Source, *, branch: str, commit: str) -> str:
    """Moves the user's `branch` (a full ref) to `commit`, its files too where it is checked out.

    Returns where it was. Raises CheckoutNotClean with the paths, CheckedOut where another worktree has it,
    RefMoved, GitFailed, and NotAhead where the commit is not ahead of the branch.
    """
    for unfinished in await recover(root, source):
        if unfinished.outcome == "blocked":
            raise WorkspaceError(f"An interrupted landing is not finished: {unfinished.problem}")
    old = await read_ref(source, branch)
    if old is None:
        raise WorkspaceError(f"There is no {branch}.", hint="Name a branch that is there with --onto.")
    if old == commit:
        return old
    ahead = await git.run(source.reading, "merge-base", "--is-ancestor", old, commit, ok=(0, 1))
    if ahead.code:
        raise NotAhead(
            f"{branch} has commits that {commit[:12]} has not.", hint="Put the result on top of it first."
        )
    if await head_branch(source) != branch:
        await refuse_checked_out(source, branch)
        await refs.update(source, branch, commit, old)
        return old
    await _must_be_clean(source)
    landing = Landing(source, branch, old, commit)
    changed = await _changed(landing)
    await _must_not_be_filtered(landing, changed)
    await _dry_run(landing)
    await _must_not_be_in_the_way(landing, changed)
    journal = _journal(root, source)
    _begin(journal, landing)
    await _move(landing)
    _end(journal)
    return old


async def recover(root: Path, source: Source | None = None) -> list[Landed]:
    """Finishes every landing that was interrupted, or those on the checkout of `source` alone."""
    found = []
    for journal in _journals(root) if source is None else filter(Path.exists, [_journal(root, source)]):
        landing = msgspec.json.decode(
            journal.read_bytes(), type=Landing, dec_hook=lambda kind, value: kind(value)
        )
        landed = await _resume(landing)
        found.append(landed)
        if landed.outcome != "blocked":
            _end(journal)
    return found


def _journal(root: Path, source: Source) -> Path:
    name = hashlib.sha256(os.fsencode(source.git_dir)).hexdigest()[:16]
    return root / ".dash" / f"landing-{name}"


def _journals(root: Path) -> list[Path]:
    return sorted((root / ".dash").glob("landing-" + "[0-9a-f]" * 16))


def _begin(journal: Path, landing: Landing) -> None:
    journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.write_durably(journal, msgspec.json.encode(landing, enc_hook=str))


def _end(journal: Path) -> None:
    journal.unlink()
    place.sync_folder(journal.parent)


def _files(source: Source) -> git.Place:
    """git on the user's own checkout, which it may write."""
    assert source.tree is not None
    return git.Place(
        source.git_dir, read=source.alternates, write=(source.common_dir, source.tree), work_tree=source.tree
    )


async def _must_be_clean(source: Source) -> None:
    underway = [name for name in _UNDERWAY if (source.git_dir / name).exists()]
    if underway:
        raise CheckoutNotClean(
            f"Something is under way in {source.tree}", underway, hint="Finish or abort it, then land again."
        )
    paths = await changes(source, untracked="no")
    if not paths:
        return
    names = [os.fsdecode(path) for path in paths]
    raise CheckoutNotClean(f"{source.tree} has changes", names, hint="Commit or stash them, then land again.")


async def _must_not_be_filtered(landing: Landing, changed: "list[_Change]") -> None:
    """What a filter (LFS) would have to fill cannot be landed: no filter runs here."""
    asked = b"".join(change.path + b"\0" for change in changed)
    found = await git.lines(_files(landing.source), "check-attr", "-z", "--stdin", "filter", stdin=asked)
    pairs = zip(found[::3], found[2::3], strict=True)
    filtered = [os.fsdecode(path) for path, value in pairs if value not in (b"unspecified", b"unset")]
    if filtered:
        raise CheckoutNotClean(
            "A filter (LFS) has to fill some of the files",
            filtered,
            hint="No filter runs here: merge the branch with your own git.",
        )


async def _dry_run(landing: Landing) -> None:
    """Asks git whether a file that it does not know would be overwritten. Raises CheckoutNotClean."""
    done = await _read_tree(landing, "--dry-run", ok=(0, 1, 128))
    if done.code == 0:
        return
    said = done.stderr.decode(errors="surrogateescape")
    paths = [line.split("'")[1] for line in said.splitlines() if "'" in line and "overwritten" in line]
    if not paths:
        raise GitFailed(f"The checkout cannot be moved: {git.reason(done)}")
    raise _overwritten(landing, paths)


async def _must_not_be_in_the_way(landing: Landing, changed: "list[_Change]") -> None:
    """Ignored files are files of the user's too, which git's own check lets go. Raises CheckoutNotClean."""
    tracked = {change.path for change in changed if change.old is not None}
    if found := await _in_the_way(landing, changed, tracked):
        raise _overwritten(landing, found)


def _overwritten(landing: Landing, paths: list[str]) -> CheckoutNotClean:
    return CheckoutNotClean(
        f"Files of {landing.source.tree} that git does not track would be lost", paths, hint="Move them away."
    )


async def _in_the_way(landing: Landing, changed: "list[_Change]", known: set[bytes]) -> list[str]:
    assert landing.source.tree is not None
    tree = os.fsencode(landing.source.tree)
    paths = [change.path for change in changed if not change.inner]
    found = await threads.run(obstacles.find, tree, paths, known)
    return [os.fsdecode(path) for path in found]


async def _read_tree(landing: Landing, *options: str, ok: tuple[int, ...] = (0,)) -> tool.Finished:
    off = await filters_off(landing.source)
    args = (*off, "read-tree", *options, "-m", "-u", landing.old, landing.new)
    return await git.run(_files(landing.source), *args, ok=ok, deadline_s=_DEADLINE_S)


async def _move(landing: Landing) -> None:
    await _read_tree(landing)
    await refs.update(landing.source, landing.branch, landing.new, landing.old)


async def _resume(landing: Landing) -> Landed:
    source = landing.source
    try:
        # Git locks the branch, and HEAD for its log; only our own can have been killed with both for so long.
        for lock in (source.common_dir / f"{landing.branch}.lock", source.git_dir / "HEAD.lock"):
            await _clear_lock(lock)
        now = await read_ref(source, landing.branch)
        if now == landing.new:
            return Landed(landing, "landed")
        if now != landing.old or await head_branch(source) != landing.branch:
            return Landed(landing, "given up", f"{landing.branch} was moved by somebody else to {now}.")
        await _clear_lock(source.git_dir / "index.lock")
        if await _index_is(landing, landing.new):
            await refs.update(source, landing.branch, landing.new, landing.old)
            return Landed(landing, "landed")
        if not await _index_is(landing, landing.old):
            return Landed(landing, "blocked", f"The index of {source.tree} is neither before nor after.")
        changed = await _changed(landing)
        if theirs := await _foreign(landing, changed):
            return Landed(landing, "blocked", CheckoutNotClean("Changed by you meanwhile", theirs).message)
        await _put_back(landing, changed)
        await _move(landing)
    except (RefMoved, GitFailed) as error:
        return Landed(landing, "blocked", error.message)
    return Landed(landing, "landed")


async def _clear_lock(lock: Path) -> None:
    """Removes the lock that our killed git has left; waits first, for one that a git of the user's holds."""
    for _ in range(_LOOKS):
        if not await threads.run(lock.exists):
            return
        await trio.sleep(LOCK_S_MAX / _LOOKS)
    await threads.run(partial(lock.unlink, missing_ok=True))


async def _index_is(landing: Landing, commit: str) -> bool:
    args = ("diff-index", "--cached", "--quiet", commit, "--")
    return (await git.run(_files(landing.source), *args, ok=(0, 1))).code == 0


class _Change(msgspec.Struct, frozen=True):
    """One path in which the commits differ; an id is None where it is not there."""

    path: bytes
    old: str | None
    new: str | None
    inner: bool = False
    """It was a submodule and stays one, or goes: git leaves its folder alone."""


async def _changed(landing: Landing) -> list[_Change]:
    words = await git.lines(
        landing.source.reading,
        "diff-tree",
        "-r",
        "-z",
        "--no-renames",
        "--no-abbrev",
        landing.old,
        landing.new,
    )
    changed = []
    for about, path in zip(words[::2], words[1::2], strict=True):
        before, after, *ids = about[1:].split(b" ")[:4]
        old, new = (None if id_ == landing.source.zero else id_ for id_ in map(bytes.decode, ids))
        changed.append(_Change(path, old, new, before == _SUBMODULE and after in (_SUBMODULE, _NOTHING)))
    return changed


async def _foreign(landing: Landing, changed: list[_Change]) -> list[str]:
    """The paths whose files are neither of the two versions, nor absent, nor the beginning of the new one.

    And whatever else must go for them.
    """
    tree = landing.source.tree
    assert tree is not None
    found = await _in_the_way(landing, changed, {change.path for change in changed})
    for change in changed:
        content = await threads.run(_read, os.path.join(os.fsencode(tree), change.path))
        if content is None:
            continue
        versions = [await _content(landing, change.path, id_) for id_ in (change.old, change.new) if id_]
        whole = content in versions
        begun = change.new is not None and versions[-1].startswith(content)
        if not whole and not begun:
            found.append(os.fsdecode(change.path))
    return found


def _read(target: bytes) -> bytes | None:
    """What a link or a file holds; None for what is absent, or a folder, which git does not replace."""
    if os.path.islink(target):
        return os.readlink(target)
    return Path(os.fsdecode(target)).read_bytes() if os.path.isfile(target) else None


async def _content(landing: Landing, path: bytes, id_: str) -> bytes:
    """What git writes into a file for a blob, line ends and all."""
    off = await filters_off(landing.source)
    args = (*off, "cat-file", "--filters", f"--path={os.fsdecode(path)}", id_)
    return (await git.run(_files(landing.source), *args)).stdout


async def _put_back(landing: Landing, changed: list[_Change]) -> None:
    """Gives every changed path its old content again; the index is the old one already."""
    files = _files(landing.source)
    assert files.work_tree is not None
    tree = os.fsencode(files.work_tree)
    new_only = [change.path for change in changed if change.old is None]
    # A folder there holds nothing that would be lost; git itself clears it away.
    written = [path for path in new_only if _read(os.path.join(tree, path)) is not None]
    if written:
        await _remove(landing, written)
    asked = b"".join(change.path + b"\0" for change in changed if change.old is not None)
    off = await filters_off(landing.source)
    await git.run(files, *off, "checkout-index", "--force", "--index", "-z", "--stdin", stdin=asked)


async def _remove(landing: Landing, paths: list[bytes]) -> None:
    source = landing.source
    assert source.tree is not None
    job = tool.Tool(
        argv=("xargs", "-0", "rm", "-f", "--"),
        cwd=source.tree,
        env=git.ENVIRONMENT,
        read=(),
        write=(source.tree,),
        stdin=b"".join(b"./" + path + b"\0" for path in paths),
        deadline_s=_DEADLINE_S,
        output_bytes_max=git.REASON_CHARACTERS_MAX,
    )
    done = await tool.run(job)
    if done.code:
        raise GitFailed(f"Removing half-written files: {git.reason(done)}")
