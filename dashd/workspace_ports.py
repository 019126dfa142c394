"""Composition of service and workspaces: `service.ports.Repositories` over `dashd.workspace`."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from dashd import threads
from dashd.runtime.workspaces import Workspaces, spoken
from dashd.service.ports import DiffSeen, FileSeen, RepositorySeen
from dashd.wire import errors
from dashd.workspace import source
from dashd.workspace.diff import Diff, kept
from dashd.workspace.errors import UnknownBase, UnsupportedRepository, WorkspaceError

LOOK_S_MAX = 60.0
"""For what a caller waits for; `git status` of a large tree is the slowest of it."""
T = TypeVar("T")


class RepositoryPort:
    """`service.ports.Repositories`."""

    def __init__(self, workspaces: Workspaces, own: Sequence[Path]) -> None:
        """`own` are folders of dashd's that no repository may hold or lie in."""
        self._workspaces = workspaces
        self._own = [os.path.realpath(path) for path in own]

    async def look(
        self, repo: str, base: str, *, granted: Sequence[str] = (), folders: Sequence[str] = ()
    ) -> RepositorySeen:
        """See the port."""

        async def look() -> RepositorySeen:
            found = await source.inspect(Path(repo), tuple(map(Path, granted)))
            await threads.run(_must_be_ours, found.common_dir)
            at = await source.resolve_base(found, base)
            head = await source.head_branch(found)
            missing = await source.missing(found, at.commit, folders) if folders else []
            links = await source.links(found, at.commit, folders)
            top = str(found.tree or found.git_dir)
            branch = head.removeprefix("refs/heads/")
            stores = tuple(map(str, found.objects))
            bare = found.tree is None
            return RepositorySeen(top, at.commit, at.dirty, branch, tuple(missing), stores, bare, links)

        self._refuse_own(repo)
        if above := await threads.run(_top_above, repo):
            raise errors.InvalidParams(
                f"{repo} is a folder in a repository", hint=f"repo: {above}, and cwd: {repo}", path="repo"
            )
        return await _answered(look)

    async def tip(self, repo: str, branch: str, *, granted: Sequence[str] = ()) -> str | None:
        """See the port."""

        async def tip() -> str | None:
            found = await source.inspect(Path(repo), tuple(map(Path, granted)))
            return await source.read_ref(found, f"refs/heads/{branch}")

        return await _answered(tip)

    async def diff(self, owner: str, patch_bytes_max: int, files_max: int) -> DiffSeen | None:
        """See the port."""

        async def diff() -> DiffSeen | None:
            async with self._workspaces.lock(owner):
                workspace = await self._workspaces.find(owner)
                if workspace is None:
                    return None
                found = await self._workspaces.look(
                    workspace, patch_bytes_max=patch_bytes_max, files_max=files_max
                )
                return _shown(found)

        return await _answered(diff)

    async def diff_kept(
        self,
        repo: str,
        base: str,
        commit: str,
        patch_bytes_max: int,
        files_max: int,
        *,
        salvage: bool,
        granted: Sequence[str] = (),
    ) -> DiffSeen:
        """See the port."""

        async def compare() -> DiffSeen:
            found = await source.inspect(Path(repo), tuple(map(Path, granted)))
            bounds = {"patch_bytes_max": patch_bytes_max, "files_max": files_max}
            return _shown(await kept(found, base, commit, salvage=salvage, **bounds))

        return await _answered(compare)

    def _refuse_own(self, repo: str) -> None:
        for own in self._own:
            if own == repo or own.startswith(repo.rstrip("/") + "/") or repo.startswith(own + "/"):
                raise errors.InvalidParams(
                    f"{repo} holds {own}, which is dashd's own, or lies in it",
                    hint="name another repository, or another DASH_STATE_DIR",
                    path="repo",
                )


async def _answered(work: Callable[[], Awaitable[T]]) -> T:
    """What it gives, in time, with the library's errors as the wire's."""
    try:
        with trio.fail_after(LOOK_S_MAX):
            return await work()
    except trio.TooSlowError:
        raise errors.DeadlinePassed(f"looking at the repository took longer than {LOOK_S_MAX:g} s") from None
    except UnsupportedRepository as error:
        raise errors.Unsupported(error.message, hint=error.hint, path="repo") from None
    except UnknownBase as error:
        raise errors.InvalidParams(error.message, hint=error.hint, path="base") from None
    except WorkspaceError as error:
        raise errors.Unavailable(error.message, hint=error.hint) from None
    except OSError as error:
        raise errors.Unavailable(f"{error.filename}: {error.strerror}") from None


def _must_be_ours(common: Path) -> None:
    """Refs and objects are written there."""
    for folder in (common, common / "refs", common / "objects"):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise UnsupportedRepository(
                f"dashd (uid {os.getuid()}) may not write {folder}, where branches are made.",
                hint="Let it, or run dashd as the owner of the repository.",
            )


def _top_above(repo: str) -> str | None:
    """The repository around a folder that is none itself."""
    here = Path(repo)
    if (here / ".git").exists() or (here / "HEAD").exists():
        return None
    return next((str(each) for each in here.parents if (each / ".git").exists()), None)


def _shown(found: Diff) -> DiffSeen:
    files = [
        FileSeen(
            spoken(each.path),
            each.status,
            each.lines_added,
            each.lines_removed,
            spoken(each.from_path),
            each.flags,
        )
        for each in found.files
    ]
    return DiffSeen(
        found.base,
        files,
        found.more_files,
        tuple(spoken(each) for each in found.nested),
        found.patch.decode("utf-8", "backslashreplace"),
        found.patch_cut,
    )
