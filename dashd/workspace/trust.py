"""Paths that are executed, or believed, by whoever opens the tree they lie in; pure.

A jail keeps an agent from doing harm, until somebody runs `make` in what it wrote. So a change to such a path
is shown as one. The list names the common ones; it is a help for the eye, and no wall.
"""

import os

from dashd.workspace import names

_FOLDERS = {
    ".githooks": "git hooks",
    ".husky": "git hooks",
    "hooks": "hooks",
    ".vscode": "editor settings",
    ".idea": "editor settings",
    ".devcontainer": "container settings",
    ".circleci": "CI",
    ".buildkite": "CI",
    ".cargo": "build settings",
    ".mvn": "build settings",
    ".claude": "agent settings",
    ".codex": "agent settings",
    ".cursor": "agent settings",
    ".pi": "agent settings",
}
_FILES = {
    ".gitattributes": "git attributes",
    ".gitmodules": "submodules",
    ".gitconfig": "git settings",
    ".lfsconfig": "git settings",
    ".pre-commit-config.yaml": "git hooks",
    "lefthook.yml": "git hooks",
    "makefile": "build script",
    "gnumakefile": "build script",
    "cmakelists.txt": "build script",
    "justfile": "build script",
    "taskfile.yml": "build script",
    "rakefile": "build script",
    "build.rs": "build script",
    "build.gradle": "build script",
    "build.gradle.kts": "build script",
    "settings.gradle": "build script",
    "gradlew": "build script",
    "mvnw": "build script",
    "pom.xml": "build script",
    "package.json": "package scripts",
    ".npmrc": "package settings",
    ".yarnrc": "package settings",
    ".yarnrc.yml": "package settings",
    ".pnp.cjs": "package settings",
    ".pnpmfile.cjs": "package settings",
    "composer.json": "package scripts",
    "gemfile": "package scripts",
    "setup.py": "package scripts",
    "setup.cfg": "package settings",
    "pyproject.toml": "package settings",
    "conftest.py": "test settings",
    "tox.ini": "test settings",
    "noxfile.py": "test settings",
    "sitecustomize.py": "runs with every Python",
    "usercustomize.py": "runs with every Python",
    ".envrc": "shell settings",
    ".env": "shell settings",
    ".bashrc": "shell settings",
    ".profile": "shell settings",
    ".zshrc": "shell settings",
    "mise.toml": "shell settings",
    ".mise.toml": "shell settings",
    ".tool-versions": "shell settings",
    ".exrc": "editor settings",
    ".vimrc": "editor settings",
    ".nvim.lua": "editor settings",
    ".dir-locals.el": "editor settings",
    ".editorconfig": "editor settings",
    "dockerfile": "container settings",
    "docker-compose.yml": "container settings",
    "docker-compose.yaml": "container settings",
    "compose.yaml": "container settings",
    "compose.yml": "container settings",
    "jenkinsfile": "CI",
    ".gitlab-ci.yml": "CI",
    ".travis.yml": "CI",
    ".drone.yml": "CI",
    "azure-pipelines.yml": "CI",
    "bitbucket-pipelines.yml": "CI",
    "codeowners": "who must approve",
    "claude.md": "agent settings",
    "agents.md": "agent settings",
    "gemini.md": "agent settings",
    ".cursorrules": "agent settings",
    ".mcp.json": "agent settings",
}
_ENDINGS = {
    ".mk": "build script",
    ".pth": "runs with every Python",
    ".csproj": "build script",
    ".targets": "build script",
    ".props": "build script",
    ".code-workspace": "editor settings",
    ".service": "a service",
    ".desktop": "a program to start",
}


def reason(path: str) -> str:
    """Why a path (from the top, as `os.fsdecode` gives it) is executed or believed; empty for most."""
    *folders, name = path.casefold().split("/")
    for part in path.split("/"):
        if names.encode(os.fsencode(part)) != os.fsencode(part) and not part.startswith("dash-kept"):
            return "nested git directory"
    if folders[:2] in ([".github", "workflows"], [".github", "actions"]):
        return "CI"
    for folder in folders:
        if folder in _FOLDERS:
            return _FOLDERS[folder]
    ending = next((why for end, why in _ENDINGS.items() if name.endswith(end)), "")
    return _FILES.get(name, ending)


def link_reason(path: str, target: str) -> str:
    """Why a symbolic link at `path` leads outside of the tree; empty if it stays inside."""
    if target.startswith("/"):
        return "link to outside"
    inside = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return "link to outside" if inside == ".." or inside.startswith("../") else ""
