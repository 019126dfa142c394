"""Repositories that would run something on the host if anybody there ran git in them.

Each has a trap that a plain `git status` or `git add` on the host does spring (the control), and then goes
through everything that Dash does. The canary lies outside of every jail.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dashd.workspace import bundle, diff, land, merge, removal, restore, salvage
from dashd.workspace.errors import GitFailed, WorkspaceError
from dashd.workspace.place import Workspace
from tests.workspace.world import AT_MS, World, picture

TARGET = "refs/heads/dash/s1/result"
Trap = Callable[[World, Path], None]


def config(*settings: str) -> Trap:
    """Settings in the repository's own configuration; `{script}` is the program that touches the canary."""

    def set_it(world: World, at: Path) -> None:
        script = world.hostile_script()
        for setting in settings:
            name, _, value = setting.partition("=")
            world.git("config", name, value.format(script=script), cwd=at)

    return set_it


def hooks(world: World, at: Path) -> None:
    script = world.hostile_script().read_bytes()
    for hook in (
        "pre-commit",
        "post-commit",
        "post-checkout",
        "reference-transaction",
        "post-index-change",
        "pre-rebase",
        "post-rewrite",
        "post-merge",
        "pre-auto-gc",
        "update",
        "post-update",
        "pre-receive",
        "fsmonitor-watchman",
    ):
        world.put(f".git/hooks/{hook}", script, within=at, mode=0o755)


def included(world: World, at: Path) -> None:
    script = world.hostile_script()
    world.put(
        "more.cfg", f"[core]\n\tfsmonitor = {script}\n\tpager = {script}\n".encode(), within=world.folder
    )
    world.git("config", "include.path", str(world.folder / "more.cfg"), cwd=at)


def worktree_elsewhere(world: World, at: Path) -> None:
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    world.git("config", "core.worktree", str(elsewhere), cwd=at)


def nested(world: World, at: Path) -> None:
    """A repository in the repository, with traps of its own; status looks into it."""
    inner = at / "lib/inner"
    inner.mkdir(parents=True)
    world.git("init", "--quiet", cwd=inner)
    world.put("f", b"x", within=inner)
    world.commit("inside", cwd=inner)
    config("core.fsmonitor={script}", "filter.inner.clean={script}")(world, inner)
    world.put(".gitattributes", b"* filter=evil\n", within=inner)
    hooks(world, inner)
    world.canary.unlink(missing_ok=True)


FILTER = ("filter.evil.clean={script}", "filter.evil.smudge={script}", "filter.evil.required=true")
TRAPS: dict[str, Trap] = {
    "fsmonitor": config("core.fsmonitor={script}"),
    "filters": config(*FILTER),
    "process filter": config("filter.evil.process={script}"),
    "textconv": config("diff.evil.textconv={script}", "diff.evil.command={script}"),
    "external diff": config("diff.external={script}"),
    "merge driver": config("merge.evil.driver={script}", "merge.default=evil"),
    "programs": config(
        "core.sshCommand={script}", "core.pager={script}", "core.editor={script}", "sequence.editor={script}",
        "core.askPass={script}", "gpg.program={script}", "commit.gpgSign=true", "credential.helper={script}",
        "core.alternateRefsCommand={script}", "core.gitProxy={script}", "uploadpack.packObjectsHook={script}",
        "alias.status=!{script}", "alias.bundle=!{script}", "trailer.x.command={script}",
    ),
    "hooks": hooks,
    "hooks elsewhere": config("core.hooksPath=.hooks"),
    "include": included,
    "work tree elsewhere": worktree_elsewhere,
    "nested": nested,
}  # fmt: skip


def attributes(world: World, at: Path) -> None:
    """Sends every file through whatever the trap has set up."""
    world.put(".gitattributes", b"*.py filter=evil diff=evil merge=evil\nREADME filter=evil\n", within=at)
    world.put(".hooks/pre-commit", world.hostile_script().read_bytes(), within=at, mode=0o755)


def spring(world: World, at: Path) -> bool:
    """Whether git on the host, as a person would run it there, springs the trap."""
    world.git("status", cwd=at, check=False)
    world.git("diff", "HEAD", cwd=at, check=False)
    world.git("add", "--all", cwd=at, check=False)
    world.git("commit", "-m", "x", cwd=at, check=False)
    sprung = world.canary.exists()
    world.canary.unlink(missing_ok=True)
    return sprung


async def test_the_control_springs_most_traps(world: World):
    """Otherwise the tests below would show nothing."""
    sprung = []
    for name, trap in TRAPS.items():
        at = world.folder / name
        world.git("clone", "--quiet", str(world.repo), str(at))
        attributes(world, at)
        trap(world, at)
        world.put("src/app.py", b"print(2)\n", within=at)
        if spring(world, at):
            sprung.append(name)
    assert set(TRAPS) - set(sprung) <= {"merge driver", "work tree elsewhere", "nested", "programs"}, sprung


async def all_of_it(world: World, made: Workspace) -> None:
    """Everything Dash does with a workspace; what git refuses is refused, and that is an answer too."""
    source = made.source
    before = picture(made.path)
    found = await diff.diff(made)
    assert found.files
    try:
        commit = (await bundle.bring_back(made)).commit
    except GitFailed:
        commit = made.base
    await merge.merge(
        world.root, source, key="m1", commit=commit, target=TARGET, start=made.base, at_ms=AT_MS
    )
    assert picture(made.path) == before
    saved = await salvage.salvage(made, at_ms=AT_MS)
    await restore.restore(source, saved.commit, world.folder / "out")
    assert picture(world.folder / "out") == before
    await removal.remove(made)
    assert not world.canary.exists()


# Together where they do not spoil each other: a filter that fails stops git before anything else is tried.
GROUPS = {
    "filters": ("filters", "hooks"),
    "work tree": ("work tree elsewhere", "include"),
    "the others": tuple(name for name in TRAPS if name not in ("filters", "work tree elsewhere", "include")),
}


def set_traps(world: World, at: Path, group: str) -> None:
    for name in GROUPS[group]:
        TRAPS[name](world, at)
    world.canary.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
async def test_traps_set_by_an_agent(world: World, group: str):
    made = await world.workspace()
    attributes(world, made.path)
    world.commit("attributes", cwd=made.path)
    set_traps(world, made.path, group)
    world.put("src/app.py", b"print(2)\n", within=made.path)
    await all_of_it(world, made)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
async def test_traps_in_the_repository_of_the_user(world: World, group: str):
    """A repository that came from elsewhere, configuration and all."""
    attributes(world, world.repo)
    world.commit("attributes")
    set_traps(world, world.repo, group)
    made = await world.workspace()
    world.put("src/app.py", b"print(2)\n", within=made.path)
    commit = world.commit("work", cwd=made.path)
    await all_of_it(world, made)
    with contextlib.suppress(WorkspaceError):  # a checkout that a filter makes look changed is refused
        await land.land(world.root, await world.source(), branch="refs/heads/main", commit=commit)
    await land.recover(world.root)
    assert not world.canary.exists()


@pytest.mark.slow
async def test_a_git_directory_that_points_elsewhere(world: World):
    """The agent swaps its `.git` for one that names the user's repository, or a link to it."""
    for n, kind in enumerate(("file", "link", "commondir", "alternates", "objects")):
        made = await world.workspace(f"a{n}")
        secret = world.ref("HEAD")
        if kind in ("file", "link"):
            made.git_dir.rename(made.path / "was.git")
        if kind == "file":
            made.git_dir.write_text(f"gitdir: {world.repo}/.git\n")
        elif kind == "link":
            made.git_dir.symlink_to(world.repo / ".git")
        elif kind == "commondir":
            (made.git_dir / "commondir").write_text(f"{world.repo}/.git\n")
        elif kind == "alternates":
            (made.git_dir / "objects/info/alternates").write_text("/etc\n/root/.ssh\n")
        else:
            os.rename(made.git_dir / "objects", made.path / "was.objects")
            (made.git_dir / "objects").symlink_to(world.repo / ".git/objects")
        state = world.git("for-each-ref").splitlines()
        with contextlib.suppress(GitFailed):
            found = await bundle.bring_back(made)
            assert (kind, found.commit) == ("objects", made.base), "an agent may read all objects anyway"
        assert world.ref("HEAD") == secret
        more = [line for line in world.git("for-each-ref").splitlines() if line not in state]
        assert more in ([], [f"{made.base} commit\t{made.branch}"])
        await diff.diff(made)
        await salvage.salvage(made, at_ms=AT_MS)
        await removal.remove(made)
        assert (world.repo / ".git/HEAD").exists()


async def test_names_that_look_like_options(world: World):
    made = await world.workspace()
    for name in ("--upload-pack=x", "-c", "--output=x", ":(exclude)*", ":/", "HEAD", "refs"):
        world.put(name, b"x", within=made.path)
    found = await diff.diff(made)
    assert len(found.files) == 7
    world.commit("work", cwd=made.path)
    await bundle.bring_back(made)
    await salvage.salvage(made, at_ms=AT_MS)
    await removal.remove(made)
