"""The user's repository: what kind it is, where its parts lie, whether Dash can work on it.

Plain files are read here on the host, and nothing is executed: a repository may come from anywhere. Whatever
would make a jail see more than this repository (a `.git` file or an alternate that points elsewhere) is
refused, because a clone of a stranger could otherwise open the user's other repositories to an agent.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

from dashd.workspace import git
from dashd.workspace.errors import UnknownBase, UnsupportedRepository

FILE_BYTES_MAX = 1 << 20
ObjectFormat = Literal["sha1", "sha256"]


@dataclass(frozen=True)
class Source:
    """A repository; `git_dir` holds HEAD and index, `common_dir` all the rest (they differ in a worktree)."""

    tree: Path | None
    git_dir: Path
    common_dir: Path
    alternates: tuple[Path, ...] = ()
    object_format: ObjectFormat = "sha1"
    shallow: bool = False

    @property
    def objects(self) -> tuple[Path, ...]:
        """The object stores that a clone borrows from; an agent's jail must show them, read-only."""
        return (self.common_dir / "objects", *self.alternates)

    @property
    def reading(self) -> git.Place:
        """git on the repository, without its files, changing nothing."""
        return git.Place(self.git_dir, read=(self.common_dir, *self.alternates))

    @property
    def writing(self) -> git.Place:
        """git on the repository, without its files, for refs and objects."""
        return git.Place(self.git_dir, read=self.alternates, write=(self.common_dir,))

    @property
    def zero(self) -> str:
        """What git calls a ref that does not exist."""
        return "0" * (40 if self.object_format == "sha1" else 64)


class Base(NamedTuple):
    """Where work starts; `dirty` says that the user's tree has changes which are not part of it."""

    commit: str
    dirty: bool


async def inspect(repo: Path, granted: tuple[Path, ...] = ()) -> Source:
    """Looks at the repository in `repo`; `granted` are further folders it may borrow objects from.

    Raises UnsupportedRepository.
    """
    source = _locate(repo)
    alternates = _alternates(source.common_dir / "objects", granted)
    source = Source(source.tree, source.git_dir, source.common_dir, alternates)
    config = await _configuration(source)
    _refuse_partial(config)
    found = config.get("extensions.objectformat", "sha1")
    if found not in ("sha1", "sha256"):
        raise UnsupportedRepository(
            f"{source.common_dir} uses the object format {found!r}, which is not known here."
        )
    return Source(
        source.tree,
        source.git_dir,
        source.common_dir,
        alternates,
        cast("ObjectFormat", found),
        _is_shallow(source),
    )


async def resolve_base(source: Source, base: str = "HEAD") -> Base:
    """The commit that `base` names right now, and whether the user's tree differs from its HEAD."""
    finished = await git.run(
        source.reading,
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{base}^{{commit}}",
        ok=(0, 1, 128),
    )
    if finished.code:
        raise UnknownBase(
            f"{base!r} names no commit of {source.tree or source.git_dir}.",
            hint="Commit something first, or name a branch, tag or commit with --base.",
        )
    return Base(finished.stdout.decode().strip(), bool(await changes(source)))


async def changes(source: Source, *, untracked: str = "normal") -> list[bytes]:
    """The paths in which the user's files differ from HEAD or index, untracked too; nothing is written."""
    if source.tree is None:
        return []
    place = git.Place(
        source.git_dir,
        read=(source.common_dir, source.tree, *source.alternates),
        work_tree=source.tree,
    )
    options = ("-z", "--no-renames", f"--untracked-files={untracked}", "--ignore-submodules=dirty")
    found = await git.lines(place, *await filters_off(source), "status", "--porcelain=v1", *options)
    return [record[3:] for record in found]


async def filters_off(source: Source) -> list[str]:
    """Options for git on the user's files, so that no filter of the repository's runs, not even in a jail.

    What a filter (LFS) has filled is then seen as unchanged where its time and size are those in the index.
    """
    found = await git.lines(source.reading, "config", "--list", "--includes", "--name-only", "-z")
    names = {
        name.rpartition(b".")[0].decode(errors="surrogateescape") for name in found if name[:7] == b"filter."
    }
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    settings = [
        f"{name}.{key}={value}" for name in sorted(names) if "=" not in name for key, value in off.items()
    ]
    return [word for setting in settings for word in ("-c", setting)]


async def read_ref(source: Source, ref: str) -> str | None:
    """The id that a full ref name holds, read from the repository itself."""
    finished = await git.run(
        source.reading, "rev-parse", "--verify", "--quiet", "--end-of-options", ref, ok=(0, 1)
    )
    return finished.stdout.decode().strip() or None


async def head_branch(source: Source) -> str:
    """The branch that this checkout is on; empty if it is on none, or if there is no checkout."""
    if source.tree is None:
        return ""
    done = await git.run(source.reading, "symbolic-ref", "--quiet", "HEAD", ok=(0, 1))
    return done.stdout.decode(errors="surrogateescape").strip()


async def missing(source: Source, commit: str, paths: Sequence[str]) -> list[str]:
    """Which of these paths are not in the commit."""
    asked = "".join(f"{commit}:{path}\n" for path in paths).encode()
    found = await git.run(source.reading, "cat-file", "--batch-check", stdin=asked)
    lines = found.stdout.splitlines()
    return [path for path, line in zip(paths, lines, strict=True) if line.endswith(b" missing")]


async def links(source: Source, commit: str, paths: Sequence[str]) -> dict[str, str]:
    """Which of these paths are symbolic links in the commit, or behind one: the link's path -> its target.

    A committed link is the agents' to write, and no folder is opened behind one.
    """
    around = {each for path in paths for each in _steps(path)}
    if not around:
        return {}
    listed = await git.lines(source.reading, "ls-tree", "-z", "--full-tree", commit, "--", *sorted(around))
    found = {os.fsdecode(entry.partition(b"\t")[2]) for entry in listed if entry.startswith(b"120000 ")}
    return {
        path: await git.text(source.reading, "cat-file", "blob", f"{commit}:{path}")
        for path in sorted(found & around)
    }


def _steps(path: str) -> list[str]:
    """The folders on the way to a path, and the path."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _sayable(repo: Path) -> None:
    """A path travels in files of git's and of ours, which have lines and are UTF-8."""
    if not repo.is_dir():
        raise UnsupportedRepository(f"{str(repo)!a} is not a folder.")
    try:
        os.fsencode(repo).decode()
    except UnicodeDecodeError:
        raise UnsupportedRepository(f"The path {str(repo)!a} is not UTF-8.") from None
    if "\n" in str(repo) or '"' in str(repo):
        raise UnsupportedRepository(f"The path {str(repo)!r} has a line break or a quote in it.")


def _is_shallow(source: Source) -> bool:
    return (source.common_dir / "shallow").exists()


def _locate(repo: Path) -> Source:
    repo = Path(os.path.realpath(repo))
    _sayable(repo)
    dot_git = repo / ".git"
    kind = _kind(dot_git)
    if kind == "folder":
        _must_be_plain(dot_git)
        return Source(repo, dot_git, dot_git)
    if kind == "file":
        return _pointed(repo, dot_git)
    if kind == "link":
        raise UnsupportedRepository(
            f"{dot_git} is a symbolic link.", hint="Name the repository that it points to."
        )
    if all(_kind(repo / name) == "folder" for name in ("objects", "refs")) and _kind(repo / "HEAD") == "file":
        _must_be_plain(repo)
        return Source(None, repo, repo)
    raise UnsupportedRepository(
        f"{repo} is not a git repository.", hint="Run `git init` in it, or name another."
    )


def _kind(path: Path) -> str:
    """`folder`, `file`, `link`, `other`, or nothing at all."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    for test, kind in ((stat.S_ISDIR, "folder"), (stat.S_ISREG, "file"), (stat.S_ISLNK, "link")):
        if test(mode):
            return kind
    return "other"


def _must_be_plain(common: Path) -> None:
    """All parts are real folders in it: a link could make a jail see or write something else."""
    for name in ("objects", "refs"):
        if _kind(common / name) != "folder":
            raise UnsupportedRepository(f"{common / name} is not a plain folder.")
    if (common / "commondir").exists():
        raise UnsupportedRepository(f"{common} keeps its objects elsewhere (commondir).")


def _pointed(repo: Path, dot_git: Path) -> Source:
    """A linked worktree or a submodule: `.git` is a file that points to the git directory."""
    first = _read(dot_git)
    if not first.startswith("gitdir: "):
        raise UnsupportedRepository(f"{dot_git} does not say where the git directory is.")
    git_dir = Path(os.path.realpath(repo / first.removeprefix("gitdir: ")))
    if (git_dir / "commondir").exists():
        return _linked(repo, dot_git, git_dir)
    _must_be_plain(git_dir)
    worktree = _worktree_of(git_dir)
    if worktree is None or Path(os.path.realpath(git_dir / worktree)) != repo:
        raise _not_mutual(dot_git, git_dir)
    return Source(repo, git_dir, git_dir)


def _linked(repo: Path, dot_git: Path, git_dir: Path) -> Source:
    common = Path(os.path.realpath(git_dir / _read(git_dir / "commondir")))
    back = Path(os.path.realpath(git_dir / _read(git_dir / "gitdir")))
    if back != dot_git or git_dir.parent != common / "worktrees":
        raise _not_mutual(dot_git, git_dir)
    _must_be_plain(common)
    return Source(repo, git_dir, common)


def _not_mutual(dot_git: Path, git_dir: Path) -> UnsupportedRepository:
    return UnsupportedRepository(
        f"{dot_git} points to {git_dir}, which does not point back.",
        hint="If you moved the worktree, run `git worktree repair` in it.",
    )


def _worktree_of(git_dir: Path) -> str | None:
    """`core.worktree` as git writes it for a submodule; whoever writes it otherwise is not believed."""
    section = ""
    for line in _text(git_dir / "config").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.lower()
        name, equals, value = line.partition("=")
        if section == "[core]" and equals and name.strip().lower() == "worktree":
            return value.strip()
    return None


def _alternates(objects: Path, granted: tuple[Path, ...], depth: int = 5) -> tuple[Path, ...]:
    """The object stores that `objects` borrows from, all within what was granted."""
    listed = objects / "info" / "alternates"
    if _kind(listed) == "" or depth == 0:
        return ()
    found: list[Path] = []
    for line in _text(listed).splitlines():
        if not line or line.startswith("#"):
            continue
        store = Path(os.path.realpath(objects / line))
        if not any(store.is_relative_to(os.path.realpath(folder)) for folder in granted):
            raise UnsupportedRepository(
                f"{objects.parent} borrows objects from {store}, which agents would then be able to read.",
                hint=f"Allow it with --read {store}, or end it: git repack -a -d && rm {listed}",
            )
        found += [store, *_alternates(store, granted, depth - 1)]
    return tuple(dict.fromkeys(found))


def _read(path: Path) -> str:
    return _text(path).rstrip("\n")


def _text(path: Path) -> str:
    """A small plain file of the repository. Raises UnsupportedRepository where it is not one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UnsupportedRepository(f"{path} is not a plain file.")
            return file.read(FILE_BYTES_MAX).decode(errors="surrogateescape")
    except OSError as error:
        raise UnsupportedRepository(f"Reading {path}: {error.strerror}.") from error


async def _configuration(source: Source) -> dict[str, str]:
    """The repository's own settings; names in lower case, the last value of each."""
    found = await git.lines(source.reading, "config", "--local", "--list", "-z")
    pairs = (record.decode(errors="replace").partition("\n") for record in found)
    return {name.lower(): value for name, _, value in pairs}


def _refuse_partial(config: dict[str, str]) -> None:
    promised = [name for name in config if name.startswith("remote.") and name.endswith(".promisor")]
    if promised or "extensions.partialclone" in config:
        raise UnsupportedRepository(
            "It is a partial clone: what is not here cannot be fetched, because jails have no network.",
            hint="Make it complete: git fetch --refetch --no-filter",
        )
