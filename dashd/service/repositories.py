"""A swarm's repository, read from its parameters: looked at once, when the swarm is created or planned."""

import os
from collections.abc import Sequence

import msgspec

from dashd import threads
from dashd.domain import folders, repository
from dashd.domain.repository import Terms
from dashd.wire import errors
from dashd.wire.methods import swarm as wire

from .core import Core
from .ports import RepositorySeen

ONLY_WITH_REPO = ("base", "workspace", "cleanup", "shared", "isolated")


class Place(msgspec.Struct, frozen=True):
    """Where a swarm's agents work: `cwd` as its row keeps it, `root` what its scope is relative to."""

    cwd: str | None
    root: str | None
    terms: Terms | None = None
    notes: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    """Where the repository keeps its objects."""

    @property
    def json(self) -> str | None:
        """For the row."""
        return repository.to_json(self.terms) if self.terms else None


async def prepare(core: Core, params: wire.PlanSwarm) -> Place:
    """Raises InvalidParams and Unsupported for a repository, or a base, that cannot be worked on."""
    if params.repo is msgspec.UNSET:
        for name in ONLY_WITH_REPO:
            if getattr(params, name) is not msgspec.UNSET:
                raise errors.InvalidParams(
                    f"{name} means nothing without a repository", hint="give repo too", path=name
                )
        return Place(params.cwd or None, params.cwd or None)
    repo = await _real(params.repo, "repo")
    cwd = repo if params.cwd is msgspec.UNSET else await _real(params.cwd, "cwd")
    if folders.relative(cwd, repo).startswith("/"):
        raise errors.InvalidParams(
            f"{params.cwd} is not in {repo}: with a repository, agents work in clones of it",
            hint="leave out cwd, or name a folder of the repository",
            path="cwd",
        )
    scope = () if params.scope is msgspec.UNSET else tuple(params.scope)
    granted = () if params.read is msgspec.UNSET else tuple(params.read)
    wanted = [folders.parse(each, root=repo) for each in scope]
    looked_for = [each for each in [folders.relative(cwd, repo), *wanted] if each[0] not in "/."]
    seen = await core.repositories.look(repo, params.base or "HEAD", granted=granted, folders=looked_for)
    for link, target in seen.links.items():
        raise _behind_a_link(link, target, seen.path, "scope" if _is_of(link, wanted) else "cwd")
    if seen.missing:
        raise errors.InvalidParams(
            f"{seen.missing[0]} is not in {seen.path} at {seen.commit[:12]}",
            hint="commit it first, or name a folder that is",
            path="cwd" if seen.missing[0] not in wanted else "scope",
        )
    terms = _terms(core, params, seen, granted)
    return Place(cwd, seen.path, terms, tuple(_notes(params, seen, terms)), seen.stores)


def _behind_a_link(link: str, target: str, repo: str, path: str) -> errors.InvalidParams:
    """No folder is opened behind a link, which agents could turn elsewhere."""
    leads = os.path.normpath(os.path.join(os.path.dirname(link), target))
    outside = os.path.isabs(leads) or leads.split("/")[0] == ".."
    hint = "name a folder of the repository" if outside else f"name {leads}"
    return errors.InvalidParams(f"{link} is a link to {target} in {repo}", hint=hint, path=path)


def _is_of(link: str, wanted: Sequence[str]) -> bool:
    return any(each == link or each.startswith(link + "/") for each in wanted)


async def _real(folder: str, path: str) -> str:
    """As the file system knows it. Raises InvalidParams."""
    if not os.path.isabs(folder):
        raise errors.InvalidParams(f"{folder!r} is not an absolute path", hint="give one", path=path)
    return await threads.run(os.path.realpath, folder)


def _terms(core: Core, params: wire.PlanSwarm, seen: RepositorySeen, granted: tuple[str, ...]) -> Terms:
    given = {
        name: tuple(value)
        for name in ("shared", "isolated")
        if (value := getattr(params, name)) is not msgspec.UNSET
    }
    for name, names in given.items():
        for each in names:
            if "/" in each or each in (".", "..", ".git"):
                raise errors.InvalidParams(
                    f"{each!r} is not the name of a top folder", hint="such as node_modules", path=name
                )
    return Terms(
        path=seen.path,
        base=seen.commit,
        workspace=params.workspace or "agent",
        cleanup=params.cleanup or "on-success",
        cleanup_after_s=core.cleanup_after_s,
        granted=granted,
        **given,
    )


def _notes(params: wire.PlanSwarm, seen: RepositorySeen, terms: Terms) -> list[str]:
    write = "all of it" if params.scope is msgspec.UNSET else ", ".join(params.scope)
    whose = (
        "each agent has a clone of its own" if terms.workspace == "agent" else "all agents share one clone"
    )
    found = [
        f"{whose} at {seen.commit[:12]} and can write {write} there;"
        f" all that is committed in {seen.path}, its history too, can be read",
        "what succeeds comes back as branch dash/<swarm>/"
        + ("<agent>" if terms.workspace == "agent" else "<swarm>"),
    ]
    if seen.dirty:
        found.append(f"{seen.path} has changes that are not committed; they are not included")
    return found
