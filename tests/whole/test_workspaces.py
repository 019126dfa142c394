"""Agents on a repository, behind walls, in a real dashd: what they commit comes back, and nothing is lost."""

import os
import shlex
import subprocess

import pytest

from dashd import crash_points
from dashd.client_blocking import CallFailed, Unreachable
from tests.jail import inside
from tests.whole.daemons import DaemonProcess
from tests.workspace.world import World

pytestmark = pytest.mark.slow
END_S_MAX = 90.0
ENDED = ["swarm.completed", "swarm.failed", "swarm.destroyed"]


@pytest.fixture
def world(tmp_path):
    """A user's repository, and a canary that must not appear."""
    made = World(tmp_path.resolve())
    made.make_repo()
    yield made
    assert not made.canary.exists(), "something of the repository was executed on the host"


@pytest.fixture
def dashd(tmp_path):
    """A daemon whose agents have walls."""
    inside.of_grade("B")
    (tmp_path / "dash").mkdir()
    made = DaemonProcess(tmp_path / "dash", DASH_JAIL_REQUIRED="true")
    try:
        made.start()
        yield made
    finally:
        made.end()


def create(dashd: DaemonProcess, world: World, script: str, *items: str, **params) -> dict:
    """A swarm on the repository whose agents run a shell script; `$1` is the item."""
    argv = ["sh", "-c", script, "sh", "{item}"]
    more = {"items": list(items), "agents": len(items)} if items else {}
    return dashd.call("swarm.create", task="t", argv=argv, repo=str(world.repo), **more, **params)


def wait(dashd: DaemonProcess, swarm: str, *kinds: str, count: int = 1) -> list[dict]:
    """Returns once so many events of these kinds have come."""
    found: list[dict] = []
    since = 0
    while len(found) < count:
        got = dashd.call("event.wait", since=since, swarm=swarm, kinds=kinds, timeout_s=END_S_MAX / 3)
        assert not got["timed_out"], (kinds, found, dashd.log()[-3000:])
        found += got["events"]
        since = got["cursor"]
    return found


def run(dashd: DaemonProcess, world: World, script: str, *items: str, **params) -> dict:
    """Creates the swarm and waits for its end: its report."""
    made = create(dashd, world, script, *items, **params)
    wait(dashd, made["id"], *ENDED)
    return dashd.call("swarm.report", swarm=made["id"], detail="full")


def test_a_commit_comes_back(dashd, world):
    before = world.ref("main")
    script = (
        "git config user.name >&2; echo new > made; git add made; git commit -qm mine; git log --format=%s"
    )
    report = run(dashd, world, script)
    assert not report["failures"], report["failures"]
    assert report["results"][0]["result"].split("\n")[:2] == ["mine", "first"]
    (files,) = report["files"]
    assert files["branch"] == f"dash/{report['id']}/{report['id']}-001"
    assert files["commit"] == world.ref(files["branch"])
    assert [(each["path"], each["status"]) for each in files["files"]] == [("made", "added")]
    assert world.git("log", "--format=%s", files["branch"]) == "mine\nfirst"
    assert world.ref("main") == before
    wait(dashd, report["id"], "worktree.removed")
    assert world.git("status", "--porcelain") == ""
    assert list((dashd.state / "workspaces").glob("repo-dash-*")) == []


def test_two_agents_are_merged_and_landed(dashd, world):
    """One commits, the other only edits; both come back, are put together behind a gate, and are landed."""
    script = "echo $1 > $1.txt; [ $1 = a ] && { git add a.txt; git commit -qm 'by a'; }; true"
    report = run(dashd, world, script, "a", "b")
    assert not report["failures"], report["failures"]
    assert [[each["path"] for each in tree["files"]] for tree in report["files"]] == [["a.txt"], ["b.txt"]]
    b = report["files"][1]["branch"]
    assert world.git("log", "-1", "--format=%an", b) == "Dash"
    assert f"{report['id']}-t" in world.git("log", "-1", "--format=%b", b)

    gates = [["sh", "-c", "test -e a.txt && ! test -e /root/x"]]
    queued = dashd.call("merge.enqueue", swarm=report["id"], gates=gates)
    assert [each["state"] for each in queued["items"]] == ["queued", "queued"]
    wait(dashd, report["id"], "merge.merged", count=2)
    result = f"dash/{report['id']}/result"
    assert world.git("ls-tree", "--name-only", result).split() == ["README", "a.txt", "b.txt", "src"]
    again = dashd.call("merge.enqueue", swarm=report["id"])
    assert (again["items"], len(again["notes"])) == ([], 1)

    before = world.ref("main")
    landed = dashd.call("swarm.land", swarm=report["id"])
    assert (landed["state"], landed["onto"], landed["before"]) == ("landed", "main", before)
    assert world.ref("main") == world.ref(result) == landed["commit"]
    assert (world.repo / "b.txt").read_text() == "b\n"
    assert world.git("status", "--porcelain") == ""
    (event,) = wait(dashd, report["id"], "swarm.landed")
    assert event["data"]["target"] == "main"
    assert "swarm.landed" in [row["action"] for row in dashd.call("audit.list", limit=50)["rows"]]


def test_a_conflict_names_its_files_and_drops_nothing(dashd, world):
    report = run(dashd, world, "echo $1 > README; git commit -qam $1; cp README only-$1", "a", "b")
    dashd.call("merge.enqueue", swarm=report["id"])
    (merged,) = wait(dashd, report["id"], "merge.merged")
    (conflict,) = wait(dashd, report["id"], "merge.conflict")
    (told,) = wait(dashd, report["id"], "escalation.raised")
    assert conflict["data"]["files"] == told["data"]["files"] == ["README"]
    assert conflict["agent"] == f"{report['id']}-002"
    tip = world.ref(f"dash/{report['id']}/result")
    assert tip == merged["data"]["result"]
    assert world.git("show", f"{tip}:README") == "a"
    assert world.git("show", f"{report['files'][1]['branch']}:only-b") == "b"
    assert world.git("status", "--porcelain") == ""
    found = dashd.call("merge.list", swarm=report["id"], states=["conflict"])["items"]
    assert [each["files"] for each in found] == [["README"]]
    attention = dashd.call("event.wait", since=0, swarm=report["id"], attention=True, timeout_s=9)
    assert "escalation.raised" in [each["kind"] for each in attention["events"]]
    assert found[0]["suggestion"] == told["data"]["suggestion"]
    dashd.call("swarm.land", swarm=report["id"])
    by_hand = shlex.split(found[0]["suggestion"].rpartition("by hand: ")[2].partition(", ")[2])
    assert by_hand[:2] == ["git", "-C"]
    who = {"GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me@x", "GIT_COMMITTER_NAME": "me"}
    env = {**os.environ, **who, "GIT_COMMITTER_EMAIL": "me@x"}
    tried = subprocess.run(by_hand, capture_output=True, text=True, check=False, env=env)
    assert "Merge conflict in README" in tried.stdout


def test_a_failed_gate_changes_nothing(dashd, world):
    report = run(dashd, world, "echo broken > bad.txt")
    dashd.call("merge.enqueue", swarm=report["id"], gates=[["sh", "-c", "cat bad.txt; exit 3"]])
    (failed,) = wait(dashd, report["id"], "merge.failed")
    assert "ended with 3" in failed["data"]["why"]
    assert "broken" in failed["data"]["why"]
    assert world.ref(f"dash/{report['id']}/result") == ""


def test_a_dirty_checkout_is_not_landed_on(dashd, world):
    report = run(dashd, world, "echo new > README")
    dashd.call("merge.enqueue", swarm=report["id"])
    wait(dashd, report["id"], "merge.merged")
    world.put("README", b"mine\n")
    before = world.ref("main")
    with pytest.raises(CallFailed, match="README") as refused:
        dashd.call("swarm.land", swarm=report["id"])
    assert refused.value.details == {"paths": ["README"]}
    assert (world.ref("main"), (world.repo / "README").read_text()) == (before, "mine\n")
    world.git("checkout", "--quiet", "README")
    assert dashd.call("swarm.land", swarm=report["id"], onto="main")["state"] == "landed"
    assert (world.repo / "README").read_text() == "new\n"


def test_a_branch_that_has_moved_on_has_the_result_put_on_top_of_it(dashd, world):
    report = run(dashd, world, "echo new > new; test ! -e mine")
    dashd.call("merge.enqueue", swarm=report["id"], gates=[["sh", "-c", "echo ran; test -e new"]])
    wait(dashd, report["id"], "merge.merged")
    world.put("mine", b"mine\n")
    mine = world.commit("mine")
    with pytest.raises(CallFailed, match="main has commits that") as refused:
        dashd.call("swarm.land", swarm=report["id"])
    assert f"swarm.land {report['id']} --onto main --rebase" in refused.value.hint
    assert world.ref("main") == mine
    landed = dashd.call("swarm.land", swarm=report["id"], rebase=True)
    assert (landed["state"], landed["before"]) == ("landed", mine)
    assert world.ref("main") == world.ref(f"dash/{report['id']}/result") == landed["commit"]
    assert world.git("log", "-2", "--format=%an %s").splitlines()[1] == "user mine"
    assert ((world.repo / "new").read_text(), (world.repo / "mine").read_text()) == ("new\n", "mine\n")
    assert world.git("status", "--porcelain") == ""
    row = dashd.call("merge.list", swarm=report["id"])["items"][0]
    assert (row["worktree"], row["gates"]) == ("refs/heads/main", [["sh", "-c", "echo ran; test -e new"]])

    # With a conflict nothing moves, and the files are named.
    report = run(dashd, world, "echo theirs > new")
    dashd.call("merge.enqueue", swarm=report["id"])
    wait(dashd, report["id"], "merge.merged")
    world.put("new", b"mine\n")
    mine = world.commit("mine again")
    with pytest.raises(CallFailed, match="conflict") as refused:
        dashd.call("swarm.land", swarm=report["id"], rebase=True)
    assert refused.value.details == {"paths": ["new"]}
    assert (world.ref("main"), world.git("status", "--porcelain")) == (mine, "")


def test_an_agent_that_is_added_gets_a_clone_like_the_others(dashd, world):
    made = create(dashd, world, "pwd; echo $1 > $1", "a", "b")
    dashd.call("swarm.pause", swarm=made["id"])
    added = dashd.call("agent.spawn", swarm=made["id"], task="more", item="c")
    dashd.call("swarm.resume", swarm=made["id"])
    wait(dashd, made["id"], *ENDED)
    report = dashd.call("swarm.report", swarm=made["id"], detail="full")
    assert not report["failures"], report["failures"]
    trees = {tree["worktree"]: tree for tree in report["files"]}
    assert len(trees) == 3
    assert [each["path"] for each in trees[added["id"]]["files"]] == ["c"]
    assert world.git("show", f"{trees[added['id']]['branch']}:c") == "c"
    assert world.git("status", "--porcelain") == ""


def test_a_landing_waits_for_a_yes(dashd, world):
    report = run(dashd, world, "echo new > new")
    dashd.call("merge.enqueue", swarm=report["id"])
    wait(dashd, report["id"], "merge.merged")
    dashd.call("gate.set", name="trunk", kind="landing", pattern="main", two_person=True)
    asked = dashd.call("swarm.land", swarm=report["id"])
    assert (asked["state"], asked["approval"]) == ("waiting", "ap1")
    before = world.ref("main")
    dashd.call("approval.resolve", approvals=["ap1"], decision="deny", note="not today")
    dashd.call("gate.remove", name="trunk")
    assert world.ref("main") == before
    assert dashd.call("swarm.land", swarm=report["id"])["before"] == before


def test_a_failed_agent_keeps_its_tree_and_destroying_saves_it_first(dashd, world):
    script = "echo precious > untracked; echo half > README; mkdir d; mkfifo d/p; exit 1"
    report = run(dashd, world, script, limits={"retries": 0})
    agent = f"{report['id']}-001"
    (tree,) = dashd.call("worktree.list", swarm=report["id"])["items"]
    assert (tree["state"], tree["commit"]) == ("ready", None)
    diff = dashd.call("agent.diff", agent=agent)
    assert [(each["path"], each["status"]) for each in diff["files"]] == [
        ("README", "modified"),
        ("untracked", "added"),
    ]
    assert "+half" in diff["patch"]
    dashd.call("swarm.destroy", swarm=report["id"])
    (gone,) = wait(dashd, report["id"], "worktree.removed")
    kinds = [
        e["kind"]
        for e in dashd.call("event.list", swarm=report["id"], kinds=["worktree.*"], since=0)["events"]
    ]
    assert kinds == ["worktree.created", "worktree.salvaged", "worktree.removed"]
    saved = f"refs/dash/salvage/{agent}"
    assert world.ref(saved) == gone["data"]["salvage"]
    assert world.git("show", f"{saved}:untracked") == "precious"
    assert world.git("show", f"{saved}:README") == "half"
    assert not (dashd.state / "workspaces" / f"repo-dash-{agent}").exists()


def test_a_retry_finds_its_tree_without_stale_locks(dashd, world):
    script = (
        "git add -A; n=$(ls tries* | wc -l); echo > tries$n; [ $n = 1 ] || { touch .git/index.lock; exit 1; }"
    )
    report = run(dashd, world, script, limits={"retries": 2})
    assert not report["failures"], report["failures"]
    assert report["attempts"]["total"] == 2
    (tree,) = report["files"]
    assert [each["path"] for each in tree["files"]] == ["tries0", "tries1"]


def test_a_scope_holds_in_the_tree_and_in_commits(dashd, world):
    world.put("docs/a", b"x\n")
    world.commit("docs")
    fine = "echo 2 > src/app.py; echo no > README 2>/dev/null; cat docs/a; git commit -qam ok"
    report = run(dashd, world, fine, scope=["src"])
    assert not report["failures"], report["failures"]
    assert [each["path"] for each in report["files"][0]["files"]] == ["src/app.py"]
    sly = (
        "git read-tree --empty; b=$(echo sly | git hash-object -w --stdin);"
        " git update-index --add --cacheinfo 100644,$b,README; git commit -qm sly;"
        " git update-index --skip-worktree README"
    )
    report = run(dashd, world, sly, scope=["src"], limits={"retries": 0})
    assert "Scope violation" in report["failures"][0]["cause"]
    assert world.ref(report["files"][0]["branch"]) == ""


def test_a_hostile_repository_does_nothing_on_the_host(dashd, world):
    evil = world.hostile_script()
    world.put(".gitattributes", b"* filter=x diff=x merge=x\n")
    world.commit("attributes")
    for name, value in (
        ("core.fsmonitor", str(evil)),
        ("core.hooksPath", str(evil.parent)),
        ("filter.x.clean", str(evil)),
        ("filter.x.smudge", str(evil)),
        ("diff.x.textconv", str(evil)),
        ("merge.x.driver", f"{evil} %A"),
        ("core.sshCommand", str(evil)),
    ):
        world.git("config", name, value)
    for hook in ("pre-commit", "post-checkout", "post-merge", "reference-transaction", "update"):
        world.put(f".git/hooks/{hook}", evil.read_bytes(), mode=0o755)
    again = "; ".join(
        f"git config {name} {evil}" for name in ("core.fsmonitor", "filter.x.clean", "diff.external")
    )
    script = (
        f"{again}; cp -r .git inner; echo $1 > $1; mkdir -p .git/hooks; cp {evil} .git/hooks/pre-commit; true"
    )
    report = run(dashd, world, script, "a", "b", cleanup="immediate")
    assert not report["failures"], report["failures"]
    dashd.call("merge.enqueue", swarm=report["id"])
    wait(dashd, report["id"], "merge.merged", "merge.conflict", "merge.failed", count=2)
    wait(dashd, report["id"], "worktree.removed", count=2)
    assert not world.canary.exists()


def test_what_is_shared_can_be_read_and_not_written(dashd, world):
    world.put("node_modules/lib.js", b"lib\n")
    world.put(".gitignore", b"node_modules\n")
    world.commit("ignore")
    script = (
        "cat node_modules/lib.js; touch node_modules/x 2>/dev/null || echo refused; git status --porcelain"
    )
    said = run(dashd, world, script)["results"][0]["result"]
    assert said.split() == ["lib", "refused"]
    assert not (world.repo / "node_modules/x").exists()
    said = run(
        dashd,
        world,
        "ls node_modules 2>&1; mkdir -p node_modules; touch node_modules/x && echo mine",
        isolated=["node_modules"],
    )
    assert said["results"][0]["result"].split()[-1] == "mine"


def test_one_clone_for_all(dashd, world):
    report = run(dashd, world, "echo $1 > $1", "a", "b", "c", workspace="swarm")
    (tree,) = report["files"]
    assert tree["worktree"] == report["id"]
    assert [each["path"] for each in tree["files"]] == ["a", "b", "c"]


POINTS = [point for point in crash_points.OWN if point.startswith(("workspace.", "merge.", "landing."))]


@pytest.mark.parametrize("point", POINTS)
def test_a_death_anywhere_loses_nothing_and_does_nothing_twice(tmp_path, world, point):
    """dashd is killed at the point; the next one goes on, and all ends as it would have."""
    inside.of_grade("B")
    (tmp_path / "dash").mkdir()
    dashd = DaemonProcess(tmp_path / "dash", DASH_JAIL_REQUIRED="true")
    try:
        dashd.start("--crash-at", point)
        script = "echo $1 > $1; [ $1 = b ] && exit 0; git add a; git commit -qm a; echo ignored > left"
        swarm = survive(
            dashd, lambda: create(dashd, world, script, "a", "b", cleanup="immediate", idempotency_key="k")
        )
        survive(dashd, lambda: wait(dashd, swarm["id"], *ENDED))
        report = survive(dashd, lambda: dashd.call("swarm.report", swarm=swarm["id"]))
        assert report["tasks"].get("completed") == 2, report
        assert report["attempts"]["total"] == 2
        survive(dashd, lambda: wait(dashd, swarm["id"], "worktree.removed", count=2))
        survive(dashd, lambda: dashd.call("merge.enqueue", swarm=swarm["id"], idempotency_key="m"))
        survive(dashd, lambda: wait(dashd, swarm["id"], "merge.merged", count=2))
        survive(dashd, lambda: dashd.call("swarm.land", swarm=swarm["id"]))
        survive(dashd, lambda: wait(dashd, swarm["id"], "swarm.landed"))
        kinds = [e["kind"] for e in dashd.call("event.list", swarm=swarm["id"], since=0, limit=100)["events"]]
    finally:
        dashd.end()
    for kind, count in (("worktree.created", 2), ("worktree.removed", 2), ("merge.merged", 2)):
        assert kinds.count(kind) == count, kinds
    assert world.git("log", "--format=%s", "main").splitlines()[-1] == "first"
    assert world.git("ls-tree", "--name-only", "main").split() == ["README", "a", "b", "left", "src"]
    assert len(world.git("log", "--format=%s", "main").splitlines()) == 4
    assert world.git("status", "--porcelain") == ""
    assert list((dashd.state / "workspaces").glob("*/*")) == []


def survive(dashd: DaemonProcess, call):
    """What the call gives; where dashd dies meanwhile it is started again, and the call made once more."""
    try:
        return call()
    except (Unreachable, CallFailed):
        assert dashd.process is not None
        if dashd.process.wait(30) != -9:
            raise
        dashd.start()
        return call()
