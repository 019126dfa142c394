"""Holds the tree to the rules of tests/tidy, and each rule to a small tree that breaks it.

A rule without such a tree fails here too, so no rule can be one that never says anything.
"""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests import tidy
from tests.tidy import calls, layers, shape

RULES: list[tidy.Rule] = [
    layers.import_table,
    layers.no_arrow_up,
    layers.third_parties,
    layers.child_programs_stand_alone,
    layers.dashctl_loads_light,
    calls.one_clock,
    calls.no_hidden_chance,
    calls.no_shell,
    calls.no_asyncio,
    calls.no_print,
    calls.one_way_to_print,
    calls.no_broad_except,
    calls.one_way_to_a_thread,
    calls.one_kind_of_time,
    shape.file_length,
    shape.function_length,
    shape.folder_depth,
    shape.top_level,
    shape.module_docstring,
    shape.mirrored_tests,
    shape.limit_names,
    shape.plain_names,
    shape.no_registries,
    shape.no_machine_paths,
    shape.readme_is_run,
]

# Rule, path, text, and a word of the message that it must give.
BROKEN: list[tuple[tidy.Rule, str, str, str]] = [
    (layers.import_table, "dashd/rpc/x.py", "from dashd.store import writer", "dashd.store.writer"),
    (layers.import_table, "dashd/rpc/x.py", "from dashd import store", "dashd.store"),
    (layers.import_table, "dashd/rpc/x.py", "from ..store import writer", "dashd.store.writer"),
    (layers.import_table, "dashd/rpc/x.py", "def f():\n    import dashd.domain", "dashd.domain"),
    (
        layers.import_table,
        "dashd/store/x.py",
        "if TYPE_CHECKING:\n    from dashd.wire import framing",
        "framing",
    ),
    (layers.import_table, "dashd/wire/x.py", "importlib.import_module('dashd.client')", "dashd.client"),
    (layers.import_table, "dashd/jail/x.py", "import dashd.domain.task", "dashd.domain.task"),
    (layers.import_table, "dashd/client_blocking.py", "import dashd.wire", "dashd.wire"),
    (layers.import_table, "dashctl/x.py", "from dashd import config", "dashd.config"),
    (layers.import_table, "mcp_server/x.py", "import dashctl", "dashctl"),
    (layers.import_table, "dashd/service/x.py", "from dashd import app", "dashd.app"),
    (layers.import_table, "dashd/novelty/x.py", "", "no row"),
    (layers.no_arrow_up, "dashd/store/x.py", "from dashd import runtime", "floor 2"),
    (layers.no_arrow_up, "dashd/runtime/x.py", "import dashd.app", "dashd.app"),
    (layers.third_parties, "dashd/runtime/x.py", "import apsw", "store"),
    (layers.third_parties, "dashd/wire/x.py", "import trio", "wire never imports trio"),
    (layers.third_parties, "dashd/domain/x.py", "from os import path", "domain never imports os"),
    (layers.third_parties, "dashd/rpc/x.py", "import requests", "no package"),
    (layers.child_programs_stand_alone, "dashd/jail/holder.py", "import trio", "standard library"),
    (layers.dashctl_loads_light, "dashctl/render.py", "from dashd.wire import errors", "inside the function"),
    (calls.one_clock, "dashd/store/x.py", "import time\nnow = time.time()", "time.time"),
    (calls.one_clock, "dashd/store/x.py", "import time as t\nnow = t.time_ns", "time.time_ns"),
    (calls.one_clock, "dashd/store/x.py", "from time import time", "time.time"),
    (calls.one_clock, "dashctl/x.py", "from datetime import datetime as d\nd.now(UTC)", "datetime.now"),
    (calls.one_clock, "dashd/x.py", "import datetime\ndatetime.datetime.utcnow()", "utcnow"),
    (calls.no_hidden_chance, "dashd/domain/x.py", "import random", "random"),
    (calls.no_hidden_chance, "dashd/domain/x.py", "from secrets import token_hex", "secrets"),
    (calls.no_hidden_chance, "dashd/domain/x.py", "import os\nos.urandom(8)", "os.urandom"),
    (calls.no_shell, "dashd/drivers/x.py", "trio.run_process(line, shell=True)", "argv"),
    (calls.no_shell, "tests/x.py", "import os\nos.system('ls')", "argv"),
    (calls.no_asyncio, "dashctl/x.py", "def f():\n    import asyncio", "trio"),
    (calls.no_asyncio, "dashd/x.py", "from asyncio import sleep", "trio"),
    (calls.no_print, "dashd/x.py", "print('hello')", "log it"),
    (calls.one_way_to_print, "dashctl/x.py", "print(name)", "terminal.Output"),
    (calls.one_way_to_print, "dashd/x.py", "import sys\nsys.stderr.write(f'{x}')", "wire.safe"),
    (calls.one_way_to_print, "mcp_server/x.py", "import sys\nsys.stderr.write('a' + x)", "wire.safe"),
    (calls.no_broad_except, "dashd/x.py", "try:\n    f()\nexcept Exception:\n    raise", "except Exception"),
    (
        calls.no_broad_except,
        "dashd/x.py",
        "try:\n    f()\nexcept (OSError, Exception):\n    g()",
        "except Exc",
    ),
    (calls.no_broad_except, "dashd/x.py", "try:\n    f()\nexcept* Exception:\n    g()", "except Exception"),
    (calls.no_broad_except, "dashd/x.py", "try:\n    f()\nexcept:\n    g()", "bare `raise`"),
    (
        calls.no_broad_except,
        "dashd/rpc/connection.py",
        "try:\n    f()\nexcept BaseException:\n    g()",
        "cancel",
    ),
    (calls.no_broad_except, "dashd/x.py", "try:\n    f()\nexcept BaseException:\n    os._exit(1)", "cancel"),
    (calls.no_broad_except, "dashd/x.py", "with contextlib.suppress(Exception):\n    f()", "suppresses"),
    (
        calls.one_way_to_a_thread,
        "dashd/jail/x.py",
        "import trio\ntrio.to_thread.run_sync(f)",
        "threads.run",
    ),
    (
        calls.one_way_to_a_thread,
        "dashd/x.py",
        "from trio import to_thread as t\nt.run_sync(f)",
        "threads.run",
    ),
    (calls.one_way_to_a_thread, "dashd/x.py", "import trio\ntrio.Path(a)", "threads.run"),
    (
        calls.one_kind_of_time,
        "tests/x.py",
        "async def test_a(autojump_clock):\n    trio.run_process(a)",
        "clock",
    ),
    (
        calls.one_kind_of_time,
        "tests/x.py",
        "def test_a(daemon_process):\n    trio.run(f, MockClock())",
        "clock",
    ),
    (shape.file_length, "dashd/x.py", "a = 1\n" * 451, "451 lines"),
    (shape.function_length, "dashd/x.py", "async def f():\n" + "    a = 1\n" * 70, "71 lines"),
    (shape.folder_depth, "dashd/a/b/c/x.py", "", "move it up"),
    (shape.top_level, "docs/x.md", "", "docs"),
    (shape.top_level, "setup.py", "", "setup.py"),
    (shape.module_docstring, "dashd/x.py", "a = 1", "no docstring"),
    (shape.module_docstring, "dashd/a/__init__.py", "", "empty"),
    (shape.mirrored_tests, "dashd/wire/methods/x.py", "", "tests/wire/methods/test_x.py"),
    (shape.mirrored_tests, "dashctl/x.py", "", "tests/dashctl/test_x.py"),
    (shape.mirrored_tests, "dashd/app.py", "", "tests/test_app.py"),
    (shape.limit_names, "dashd/x.py", "MAX_FRAME = 4 * 1024", "MAX_FRAME"),
    (shape.limit_names, "dashd/x.py", "QUEUE_LIMIT: Final = 64", "QUEUE_LIMIT"),
    (shape.plain_names, "dashd/store/utils.py", "", "utils"),
    (shape.plain_names, "tests/store/test_query_helpers.py", "", "helpers"),
    (shape.no_registries, "run", "pip install --index" + "-url x", "people's own"),
    (shape.no_registries, "README.md", "see https://pypi" + ".org/project/x", "people's own"),
    (shape.no_machine_paths, "README.md", "cd " + "/home/" + "carol/dash", "carol"),
    (shape.no_machine_paths, "tests/x.py", f"open('{tidy.TOP}/run')", str(tidy.TOP)),
    (shape.readme_is_run, "README.md", "```sh\n./run demo\n```", "test_readme.py"),
]

# Rule, and a tree near a broken one that keeps it.
KEPT: list[tuple[tidy.Rule, dict[str, str]]] = [
    (
        layers.import_table,
        {"dashd/store/x.py": "from dashd.wire.errors import StoreFull\nfrom . import writer"},
    ),
    (layers.import_table, {"dashd/app.py": "from dashd import rpc, store"}),
    (layers.import_table, {"dashd/store/__init__.py": "from .writer import Writer"}),
    (layers.no_arrow_up, {"dashd/runtime/x.py": "from dashd.store import writer"}),
    (layers.third_parties, {"dashd/store/x.py": "import apsw, trio, os"}),
    (
        layers.child_programs_stand_alone,
        {"dashd/jail/holder.py": "import dashd.jail.spool", "dashd/x.py": "import trio"},
    ),
    (layers.dashctl_loads_light, {"dashctl/x.py": "def f():\n    from dashd.wire import errors"}),
    (
        calls.one_clock,
        {"dashd/clock.py": "import time\ntime.time()", "dashd/x.py": "import time\ntime.monotonic()"},
    ),
    (
        calls.no_hidden_chance,
        {"dashd/clock.py": "import secrets", "dashctl/x.py": "import uuid\nkey = uuid.uuid4()"},
    ),
    (calls.no_shell, {"dashd/x.py": "trio.run_process(argv, shell=False)"}),
    (calls.no_asyncio, {"dashctl/console/x.py": "import asyncio"}),
    (calls.no_print, {"dashctl/x.py": "print('a table')"}),
    (calls.no_broad_except, {"dashd/x.py": "try:\n    f()\nexcept BaseException:\n    g()\n    raise"}),
    (calls.no_broad_except, {"dashd/rpc/dispatch.py": "try:\n    f()\nexcept Exception:\n    g()"}),
    (
        calls.no_broad_except,
        {"dashd/jail/holder.py": "try:\n    f()\nexcept BaseException:\n    os._exit(1)"},
    ),
    (
        calls.one_way_to_a_thread,
        {
            "dashd/threads.py": "import trio\ntrio.to_thread.run_sync(f)",
            "dashd/x.py": "from dashd import threads\nthreads.run(f)",
            "mcp_server/x.py": "import trio\ntrio.to_thread.run_sync(f)",
        },
    ),
    (
        calls.one_kind_of_time,
        {"tests/x.py": "def test_a(autojump_clock): f()\ndef test_b(): trio.run_process(a)"},
    ),
    (shape.file_length, {"dashd/x.py": "a = 1\n" * 450}),
    (shape.function_length, {"dashd/x.py": "def f():\n" + "    a = 1\n" * 69}),
    (shape.folder_depth, {"dashd/wire/methods/x.py": ""}),
    (shape.module_docstring, {"tests/a/__init__.py": "", "dashd/x.py": '"""Says it."""'}),
    (shape.mirrored_tests, {"dashd/a/x.py": "", "tests/a/test_x.py": "async def test_it(): ..."}),
    (shape.mirrored_tests, {"dashd/x.py": "", "tests/dashd/test_x.py": "def test_it(): ..."}),
    (shape.limit_names, {"dashd/x.py": "FRAME_BYTES_MAX = 4 << 20\nLIMIT_TEXT = 'x'"}),
    (shape.no_machine_paths, {"README.md": f"ls {tidy.TOP}-2 /home/you/x"}),
    (shape.readme_is_run, {"README.md": "```sh\n./run\n```", "tests/whole/test_readme.py": ""}),
]


@pytest.fixture(scope="module")
def tree() -> dict[str, str]:
    return tidy.read_tree(tidy.TOP)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps(rule: tidy.Rule, tree: dict[str, str]) -> None:
    broken = list(rule(tree))
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(("rule", "path", "text", "word"), BROKEN)
def test_a_rule_sees_what_breaks_it(rule: tidy.Rule, path: str, text: str, word: str) -> None:
    messages = list(rule({path: text}))
    assert messages
    assert all(message.startswith(path.split("/")[0]) for message in messages)
    assert any(word in message for message in messages), messages


@pytest.mark.parametrize(("rule", "small_tree"), KEPT)
def test_a_rule_lets_pass_what_keeps_it(rule: tidy.Rule, small_tree: dict[str, str]) -> None:
    assert list(rule(small_tree)) == []


def test_every_rule_is_run_and_has_a_tree_that_breaks_it() -> None:
    written = {
        value
        for where in (layers, calls, shape)
        for value in vars(where).values()
        if getattr(value, "__module__", "") == where.__name__
        and value.__annotations__.get("tree") is tidy.Tree
        and not value.__name__.startswith("_")
    }
    assert {rule for rule, *_ in BROKEN} == set(RULES) == written


def test_a_child_program_answers_for_what_it_imports() -> None:
    small_tree = {
        "dashd/jail/__init__.py": "",
        "dashd/jail/holder.py": "from dashd.jail import spool",
        "dashd/jail/spool.py": "import trio",
    }
    (message,) = layers.child_programs_stand_alone(small_tree)
    assert message.startswith("dashd/jail/spool.py:1: imports trio;")


def test_the_table_itself_has_no_arrow_up() -> None:
    height = {name: floor for floor, names in enumerate(layers.FLOORS) for name in names}
    assert set(height) == set(layers.TABLE)
    for own, may in layers.TABLE.items():
        assert all(height[layers.unit(target)] <= height[own] for target in may if target != "dashd"), own


def test_the_tree_is_read_with_git_and_without(tmp_path: Path) -> None:
    for path in ("dashd/x.py", ".ci/run", ".venv/y.py", ".gitignore"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("/.venv/\n")
    (tmp_path / "dashd/image").write_bytes(b"\xff\xfe")
    kept = {"dashd/x.py": "/.venv/\n", ".ci/run": "/.venv/\n", ".gitignore": "/.venv/\n", "dashd/image": ""}
    assert tidy.read_tree(tmp_path) == kept
    if git := shutil.which("git"):
        subprocess.run([git, "init", "--quiet", tmp_path], check=True)
        assert tidy.read_tree(tmp_path) == kept


def test_the_lock_covers_every_dependency_with_versions_and_hashes_alone() -> None:
    lines = (tidy.TOP / "requirements.lock").read_text().splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    assert all("==" in line or line.strip().startswith("--hash=sha256:") for line in entries)
    locked = {line.split("==")[0] for line in entries if "==" in line}
    project = tomllib.loads((tidy.TOP / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"], "hatchling", "editables"]
    assert {requirement.replace("<", ">").split(">")[0] for requirement in wanted} <= locked
