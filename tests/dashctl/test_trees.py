"""Repositories at the console: from flags to parameters, and from answers to words."""

import argparse

import pytest

from dashctl import trees
from dashd.wire.methods import worktree as wire
from dashd.wire.methods.swarm import CreateSwarm


def parsed(*words: str) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cwd")
    trees.arguments(parser)
    return trees.parameters(parser.parse_args(words))


def given(*words: str) -> dict:
    return {name: value for name, value in parsed(*words).items() if value is not None}


@pytest.fixture
def repo(tmp_path, monkeypatch):
    (tmp_path / "repo/.git").mkdir(parents=True)
    (tmp_path / "repo/src/a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repo")
    return tmp_path / "repo"


def test_without_one_agents_work_here(repo):
    assert given() == {"cwd": str(repo)}
    assert given("--cwd", "src") == {"cwd": str(repo / "src")}
    assert parsed().keys() <= set(CreateSwarm.__struct_fields__)


def test_a_folder_in_a_repository_means_both(repo, monkeypatch):
    assert given("--repo", ".") == {"repo": str(repo)}
    assert given("--repo", ".", "--cwd", "src") == {"repo": str(repo), "cwd": str(repo / "src")}
    monkeypatch.chdir(repo / "src/a")
    assert given("--repo", ".") == {"repo": str(repo), "cwd": str(repo / "src/a")}
    assert given("--repo", "/proc")["repo"] == "/proc"  # dashd says what is wrong with it


def test_all_of_it_is_passed_on(repo):
    words = [
        "--base",
        "v1",
        "--workspace",
        "swarm",
        "--cleanup",
        "manual",
        "--shared",
        "a",
        "--shared",
        "b",
        "--isolated",
        "a",
    ]
    assert given("--repo", ".", *words) == {
        "repo": str(repo), "base": "v1", "workspace": "swarm", "cleanup": "manual", "shared": ["a", "b"],
        "isolated": ["a"],
    }  # fmt: skip


def test_facts():
    found = {"repo": "/r", "base": "c" * 40, "workspace": "agent", "cleanup": "manual"}
    assert trees.facts(found) == [("repo", "/r at cccccccccccc: each agent has a clone, cleanup manual")]
    assert trees.facts({"repo": None}) == []


def test_what_came_back(output):
    out = output()
    trees.show_files(out, [])
    tree = {
        "worktree": "s-001", "branch": "dash/s/s-001", "commit": "c" * 40, "state": "ready", "more_files": 2,
        "files": [
            {"path": "Make\x1bfile", "status": "added", "flags": ["build script"]},
            {"path": "a", "status": "modified", "flags": []},
        ],
        "salvage": "d" * 40, "problem": "1 entry is too large",
    }  # fmt: skip
    trees.show_files(out, [tree, {**tree, "commit": None, "files": [], "more_files": 0, "salvage": None}])
    said = out._stdout.getvalue()
    assert "dash/s/s-001  4 files  (clone ready)" in said
    assert "runs or is believed: build script" in said
    assert "and 2 more" in said
    assert "saved: refs/dash/salvage/s-001" in said
    assert "! 1 entry is too large" in said
    assert "nothing yet" in said
    assert "\x1b" not in said
    trees.show_files(out, [{**tree, "problem": ""}])
    assert "saved whole: refs/dash/salvage/s-001" in out._stdout.getvalue()


def test_landings(dashd, ctl):
    landed = wire.SwarmLanded(id="s", state="landed", onto="main", commit="c" * 40, before="b" * 40)
    dashd.on("swarm.land", landed)
    ran = ctl("swarm", "land", "s", "--onto", "main")
    assert ran.out == "main moved from bbbbbbbbbbbb to cccccccccccc\n"
    ctl("swarm", "land", "s", "--rebase")
    assert dashd.asked("swarm.land") == [{"swarm": "s", "onto": "main"}, {"swarm": "s", "rebase": True}]
    for changes, says in (
        ({"before": "c" * 40}, "already"),
        ({"state": "waiting", "approval": "ap1"}, "approval resolve ap1"),
        ({"state": "queued"}, "It is queued"),
    ):
        dashd.on("swarm.land", wire.SwarmLanded(**{**_fields(landed), **changes}))
        assert says in ctl("swarm", "land", "s").out


def test_diffs(dashd, ctl):
    file = wire.FileDiff(
        path="Makefile", status="added", lines_added=1, lines_removed=0, flags=["build script"]
    )
    binary = wire.FileDiff(path="x", status="modified", lines_added=None, lines_removed=None)
    found = wire.AgentDiff(
        agent="s-001", worktree="s-001", base="b", files=[file, binary], more_files=1, nested=["inner"],
        patch="diff\n+x\n", patch_cut=True,
    )  # fmt: skip
    dashd.on("agent.diff", found)
    ran = ctl("agent", "diff", "s-001")
    for words in ("added  Makefile  +1 -0  build script", "x  binary", "inner", "and 1 more", "+x"):
        assert words in ran.out
    assert "cut" in ran.err
    dashd.on(
        "agent.diff",
        wire.AgentDiff(**{**_fields(found), "files": [], "nested": [], "patch": "", "more_files": 0}),
    )
    assert ctl("agent", "diff", "s-001", "--stat").out == "Nothing has changed.\n"
    assert dashd.asked("agent.diff")[-1] == {"agent": "s-001", "patch_bytes": 0}


def _fields(struct) -> dict:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
