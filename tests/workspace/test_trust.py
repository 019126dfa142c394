"""Paths that are executed or believed."""

import pytest

from dashd.workspace import trust


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Makefile", "build script"),
        ("deep/down/GNUmakefile", "build script"),
        ("rules.mk", "build script"),
        ("web/package.json", "package scripts"),
        (".envrc", "shell settings"),
        (".vscode/tasks.json", "editor settings"),
        ("a/.vscode/x/y", "editor settings"),
        (".github/workflows/ci.yml", "CI"),
        (".github/actions/x/action.yml", "CI"),
        (".gitlab-ci.yml", "CI"),
        (".husky/pre-commit", "git hooks"),
        ("tests/conftest.py", "test settings"),
        ("lib/.git/config", "nested git directory"),
        ("lib/.GIT /hooks/x", "nested git directory"),
        ("lib/git~1/config", "nested git directory"),
        (".gitattributes", "git attributes"),
        (".gitmodules", "submodules"),
        ("venv/x.pth", "runs with every Python"),
        ("CLAUDE.md", "agent settings"),
    ],
)
def test_what_is_executed_or_believed_is_flagged(path: str, reason: str):
    assert trust.reason(path) == reason


@pytest.mark.parametrize(
    "path",
    ["src/app.py", "README.md", "docs/makefile.txt", ".github/SECURITY.md", "package.jsonx", "a\udcff"],
)
def test_most_paths_are_not(path: str):
    assert trust.reason(path) == ""


@pytest.mark.parametrize(
    ("path", "target", "outside"),
    [
        ("a", "/etc/passwd", True),
        ("a", "..", True),
        ("a/b", "../../x", True),
        ("a/b", "x/../../../y", True),
        ("a/b", "../x", False),
        ("a", "b", False),
        ("a", "..x", False),
    ],
)
def test_links_that_leave_the_tree(path: str, target: str, outside: bool):
    assert bool(trust.link_reason(path, target)) is outside
