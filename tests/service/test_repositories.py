"""A swarm's repository: looked at, refused with words, written down, said in the answer."""

import dataclasses

import pytest

from dashd.domain import repository
from dashd.service import plans, ports, swarms
from dashd.store import swarms as rows
from dashd.wire import errors
from dashd.wire.methods import swarm as wire
from tests.fakes import absent
from tests.service.test_walls import FakeWalls


class FakeRepositories(absent.NoRepositories):
    """Sees one clean repository, /repo, on main."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.seen = ports.RepositorySeen("/repo", "c" * 40, dirty=False, head="main")
        self.tips: dict[str, str] = {}

    async def look(self, repo, base, *, granted=(), folders=()):
        self.asked.append((repo, base, tuple(granted), tuple(folders)))
        return self.seen

    async def tip(self, repo, branch, *, granted=()):
        return self.tips.get(branch)


@pytest.fixture
def repositories():
    return FakeRepositories()


@pytest.fixture
def core(core, repositories):
    return dataclasses.replace(core, repositories=repositories)


async def create(core, caller, **params):
    return await swarms.create(core, caller, wire.CreateSwarm(task="t", argv=["true"], **params))


async def test_it_is_looked_at_once_and_kept(core, caller, repositories, inline_store):
    core = dataclasses.replace(core, walls=FakeWalls())
    made = await create(core, caller, repo="/repo", base="v1", scope=["src", "/repo/docs"], read=["/else"])
    assert repositories.asked == [("/repo", "v1", ("/else",), ("src", "docs"))]
    row = rows.get(inline_store.db, made.id)
    terms = repository.from_json(row.repo)
    assert (terms.path, terms.base, terms.cleanup, terms.granted) == (
        "/repo",
        "c" * 40,
        "on-success",
        ("/else",),
    )
    assert row.cwd == "/repo"
    said = "\n".join(made.notes)
    assert "each agent has a clone of its own at cccccccccccc and can write src, /repo/docs there" in said
    assert "its history too, can be read" in said
    assert f"dash/{made.id}/<agent>" in said
    assert "not included" not in said
    shown = await swarms.get(core, caller, wire.GetSwarm(swarm=made.id))
    assert (shown.repo, shown.base, shown.workspace, shown.cleanup) == (
        "/repo",
        "c" * 40,
        "agent",
        "on-success",
    )


async def test_changes_that_are_not_committed_are_said_not_to_be_included(core, caller, repositories):
    repositories.seen = dataclasses.replace(repositories.seen, dirty=True)
    made = await create(core, caller, repo="/repo", workspace="swarm")
    assert any("not included" in note for note in made.notes)
    assert any(f"dash/{made.id}/{made.id}" in note for note in made.notes)


@pytest.mark.parametrize(
    ("params", "path", "says"),
    [
        ({"base": "main"}, "base", "means nothing without a repository"),
        ({"cleanup": "manual"}, "cleanup", "means nothing without a repository"),
        ({"repo": "relative"}, "repo", "is not an absolute path"),
        ({"repo": "/repo", "cwd": "/tmp"}, "cwd", "is not in /repo"),
        ({"repo": "/repo", "shared": ["a/b"]}, "shared", "is not the name of a top folder"),
    ],
)
async def test_refusals(core, caller, params, path, says):
    with pytest.raises(errors.InvalidParams, match=says) as caught:
        await create(core, caller, **params)
    assert caught.value.path == path


async def test_a_folder_that_is_not_in_the_base_is_refused(core, caller, repositories):
    repositories.seen = dataclasses.replace(repositories.seen, missing=("src",))
    core = dataclasses.replace(core, walls=FakeWalls())
    with pytest.raises(errors.InvalidParams, match=r"src is not in /repo at cccc") as caught:
        await create(core, caller, repo="/repo", scope=["src"])
    assert caught.value.path == "scope"
    with pytest.raises(errors.InvalidParams) as caught:
        await create(core, caller, repo="/repo", cwd="/repo/src")
    assert caught.value.path == "cwd"


@pytest.mark.parametrize(
    ("params", "link", "target", "path", "hint"),
    [
        ({"scope": ["lib/x"]}, "lib", "src", "scope", "name src"),
        ({"scope": ["a/lib"]}, "a/lib", "../src", "scope", "name src"),
        ({"cwd": "/repo/lib"}, "lib", "src/", "cwd", "name src"),
        ({"scope": ["out"]}, "out", "../..", "scope", "name a folder of the repository"),
        ({"scope": ["out"]}, "out", "/etc", "scope", "name a folder of the repository"),
    ],
)
async def test_a_link_in_the_base_is_refused_at_once(
    core, caller, repositories, params, link, target, path, hint
):
    """Else each attempt ends over it, when it is opened."""
    repositories.seen = dataclasses.replace(repositories.seen, links={link: target}, missing=("lib/x",))
    core = dataclasses.replace(core, walls=FakeWalls())
    with pytest.raises(errors.InvalidParams, match=f"^{link} is a link to {target} in /repo") as caught:
        await create(core, caller, repo="/repo", **params)
    assert (caught.value.path, caught.value.hint) == (path, hint)


async def test_a_plan_says_the_same(core, caller):
    plan = await plans.plan(core, caller, wire.PlanSwarm(task="t", argv=["true"], repo="/repo"))
    assert any("clone of its own" in note for note in plan.notes)


async def test_without_the_port_it_is_unsupported(core, caller):
    core = dataclasses.replace(core, repositories=absent.NoRepositories())
    with pytest.raises(errors.Unsupported):
        await create(core, caller, repo="/repo")


async def test_destroying_an_ended_swarm_removes_workspaces_that_were_kept(core, caller, scene):
    from dashd.store import workspaces

    terms = repository.Terms("/repo", "b", cleanup="manual")
    swarm = scene.swarm("x", repo=repository.to_json(terms))
    scene.do(lambda tx: workspaces.begin(tx, f"{swarm}-001", swarm, "b"))
    scene.run("succeeded")
    scene.do(lambda tx: rows.set_output_gone(tx, [swarm]))
    assert scene.do(workspaces.next_wanted) is None
    assert (await swarms.destroy(core, caller, wire.DestroySwarm(swarm=swarm))).changed
    assert scene.do(workspaces.next_wanted).owner == f"{swarm}-001"
