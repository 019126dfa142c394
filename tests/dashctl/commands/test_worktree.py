"""`dashctl worktree …` against a scripted dashd."""

from dashd.wire.methods import worktree as wire


def a_tree(**changes):
    made = {
        "id": "s-001", "swarm": "s", "state": "removed", "path": "/w", "branch": "dash/s/s-001", "base": "b",
        "commit": "c", "files": 2, "flagged": [], "salvage": None, "problem": "",
        "created_at": "2026-11-20T10:00:00.000Z", "removed_at": None, "due_at": None,
    }  # fmt: skip
    return wire.Worktree(**(made | changes))


def test_list(dashd, ctl):
    rows = [a_tree(), a_tree(id="s-002", problem="full"), a_tree(id="s-003", flagged=["Makefile"])]
    dashd.on("worktree.list", wire.WorktreeList(items=rows, next_cursor=""))
    out = ctl("worktree", "list", "--swarm", "s", "--state", "ready").out
    assert "full" in out
    assert "look first at Makefile" in out
    assert dashd.asked("worktree.list") == [{"swarm": "s", "states": ["ready"]}]
    due = a_tree(due_at="2026-11-20T10:00:00.000Z")
    dashd.on("worktree.list", wire.WorktreeList(items=[due], next_cursor=""))
    assert "goes at" in ctl("worktree", "list").out
    dashd.on("worktree.list", wire.WorktreeList(items=[], next_cursor=""))
    assert "--repo" in ctl("worktree", "list").out


def test_changes_say_what_came_of_them(dashd, ctl):
    dashd.on("worktree.cleanup", wire.Worktrees(items=[a_tree()], cursor=1))
    assert (
        ctl("worktree", "cleanup", "s-001").out
        == "Worktree 's-001' is removed; all of it is in dash/s/s-001\n"
    )
    kept = a_tree(state="ready", salvage="d", problem="1 entry is not saved")
    dashd.on("worktree.cleanup", wire.Worktrees(items=[kept], cursor=1))
    ran = ctl("worktree", "cleanup", "--swarm", "s", "--give-up")
    assert (ran.code, "refs/dash/salvage/s-001" in ran.out, "! 1 entry" in ran.out) == (1, True, True)
    assert dashd.asked("worktree.cleanup") == [{"worktree": "s-001"}, {"swarm": "s", "give_up": True}]
    assert "whole" not in ran.out
    gone = a_tree(salvage="d", problem="given up, and lost: big")
    dashd.on("worktree.cleanup", wire.Worktrees(items=[gone], cursor=1))
    ran = ctl("worktree", "cleanup", "s-001", "--give-up")
    assert (ran.code, "whole" in ran.out, "given up, and lost: big" in ran.out) == (0, False, True)
    assert ctl("worktree", "cleanup").code == 2
    dashd.on("worktree.salvage", wire.Worktrees(items=[a_tree(state="ready", salvage="d")], cursor=1))
    ran = ctl("worktree", "salvage", "s-001")
    assert (ran.code, "saved whole as refs/dash/salvage/s-001" in ran.out) == (0, True)
    dashd.on("worktree.create", wire.Worktrees(items=[a_tree(state="ready", commit=None)], cursor=1))
    assert ctl("worktree", "create", "s-001").out == "Worktree 's-001' is ready\n"
    assert '"cursor": 1' in ctl("worktree", "create", "s-001", "--json").out
