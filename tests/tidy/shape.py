"""How big things get, where they live, what they are called, and what their text may not name."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy import PACKAGES, TOP, Tree, modules

FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70
FOLDERS_MAX = 3

PROMISED = {
    "pyproject.toml",
    "dashd",
    "dashctl",
    "mcp_server",
    "schema",
    "tests",
    "systemd",
    "launchd",
    "README.md",
}
BESIDE = {"run", "LICENSE", "CHANGELOG.md", "requirements.lock", ".ci", ".github", ".gitignore"}
VAGUE = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "handler"})

# Written in pieces, so that this file does not name what it forbids.
REGISTRIES = re.compile(
    "|".join(
        re.escape(host + end)
        for host, end in [
            ("pypi", ".org"),
            ("pythonhosted", ".org"),
            ("registry.npmjs", ".org"),
            ("registry.yarnpkg", ".com"),
            ("--index", "-url"),
            ("--extra-index", "-url"),
            ("--find", "-links"),
        ]
    )
)
HOME = re.compile(r"(?<![\w.])/(?:home|Users)/(?!(?:you|user|me|alice|bob|agent)\b)[A-Za-z][\w.-]*")


def file_length(tree: Tree) -> Iterator[str]:
    """A file is read in one sitting."""
    for module in modules(tree, *PACKAGES, "tests"):
        lines = len(module.text.splitlines())
        if lines > FILE_LINES_MAX:
            yield f"{module.path}: {lines} lines, over {FILE_LINES_MAX}; split it by what its parts know"


def function_length(tree: Tree) -> Iterator[str]:
    """A function fits on one screen."""
    for module in modules(tree, *PACKAGES, "tests"):
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield (
                        f"{module.at(node)}: {node.name} has {lines} lines, over {FUNCTION_LINES_MAX}; "
                        "name its steps and call them"
                    )


def folder_depth(tree: Tree) -> Iterator[str]:
    """Three levels of folders say where a thing is; a fourth hides it."""
    for path in sorted(tree):
        if len(PurePosixPath(path).parts) - 1 > FOLDERS_MAX:
            yield f"{path}: more than {FOLDERS_MAX} levels of folders; move it up"


def top_level(tree: Tree) -> Iterator[str]:
    """The top level is fixed by design.md section 4."""
    for entry in sorted({path.split("/")[0] for path in tree} - PROMISED - BESIDE):
        yield f"{entry}: not in the design's top level; move it into a folder, or name it in .gitignore"


def module_docstring(tree: Tree) -> Iterator[str]:
    """A module says what lives in it before anything else."""
    for module in modules(tree, *PACKAGES, "tests"):
        if module.text.strip() and not ast.get_docstring(module.syntax):
            yield f"{module.path}: no docstring; say in one to five sentences what lives here"
        elif module.is_package and module.path.split("/")[0] in PACKAGES and not module.text.strip():
            yield f"{module.path}: empty; its docstring is the folder's page of the design"


def mirrored_tests(tree: Tree) -> Iterator[str]:
    """The tests of a module are found by its name."""
    for module in modules(tree, *PACKAGES):
        path = PurePosixPath(module.path)
        if path.name in ("__init__.py", "__main__.py"):
            continue
        folder = path.parent.relative_to("dashd") if path.parts[0] == "dashd" else path.parent
        places = [PurePosixPath("tests") / folder / f"test_{path.name}"]
        if path.parent.name == "dashd":
            places.append(PurePosixPath("tests/dashd") / f"test_{path.name}")
        if not any(re.search(r"^ *(async )?def test", tree.get(str(p), ""), re.MULTILINE) for p in places):
            yield f"{module.path}: no test in {places[0]}; write it there, where its name leads"


def limit_names(tree: Tree) -> Iterator[str]:
    """A number that bounds something is called <WHAT>_<UNIT>_MAX."""
    wrong = re.compile(r"^_?(MAX|MAXIMUM|LIMIT)_|_(LIMIT|MAXIMUM|CAP|CEILING)$", re.IGNORECASE)
    for module in modules(tree, *PACKAGES):
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.Assign | ast.AnnAssign) and _is_number(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name) and target.id.isupper() and wrong.search(target.id):
                        yield f"{module.at(node)}: {target.id}; the bound comes last: <WHAT>_<UNIT>_MAX"


def _is_number(node: ast.expr | None) -> bool:
    """Whether it is made of number literals alone, such as `4 * 1024 * 1024`."""
    kinds = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    parts = list(ast.walk(node)) if node else []
    numbers = [part for part in parts if isinstance(part, ast.Constant)]
    return (
        bool(numbers) and all(isinstance(p, kinds) for p in parts) and all(_number(n.value) for n in numbers)
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain_names(tree: Tree) -> Iterator[str]:
    """A file is called after what it holds."""
    for module in modules(tree, *PACKAGES, "tests"):
        for part in module.name.split("."):
            if VAGUE & set(part.removeprefix("test_").split("_")):
                yield f"{module.path}: '{part}' names no thing; call it after what it knows"


def no_registries(tree: Tree) -> Iterator[str]:
    """Any mirror serves: nothing names where packages are downloaded from."""
    for path, number, line in _lines(tree):
        if found := REGISTRIES.search(line):
            yield f"{path}:{number}: names {found[0]}; leave it out, people's own pip and npm settings decide"


def no_machine_paths(tree: Tree, top: str = str(TOP)) -> Iterator[str]:
    """Nothing names a folder that only one machine has."""
    here = re.compile(rf"(?<![\w.]){re.escape(top)}(?![\w-])")
    for path, number, line in _lines(tree):
        if found := HOME.search(line) or here.search(line):
            yield f"{path}:{number}: names {found[0]}; work from __file__, $HOME, $XDG_* or tmp_path instead"


def _lines(tree: Tree) -> Iterator[tuple[str, int, str]]:
    for path, text in sorted(tree.items()):
        for number, line in enumerate(text.splitlines(), 1):
            yield path, number, line


def readme_is_run(tree: Tree) -> Iterator[str]:
    """A command in the README is a promise, so a test runs each."""
    if (
        re.search(r"^```sh$", tree.get("README.md", ""), re.MULTILINE)
        and "tests/whole/test_readme.py" not in tree
    ):
        yield "README.md: has ```sh blocks, and no tests/whole/test_readme.py runs them; write it"
