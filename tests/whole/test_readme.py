"""The README is the manual: each ```sh block is run in a private environment, its tables held to the code.

`dashctl`, `dashd`, `dash-mcp` and `./run` are this checkout's. A dashd is up before a block begins, as the
README says; `./run test` runs a single file there, for it would otherwise run itself.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dashctl import calling, daemon_process
from dashctl.demo import leftovers
from dashd import config
from dashd.wire import methods
from tests.whole.test_by_hand import has_openbsd_nc

TOP = Path(__file__).parents[2]
TEXT = (TOP / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [text for language, text in BLOCKS if language == "sh"]
RUN = f"""#!/bin/sh
word=$1; shift
case $word in
    test) cd "{TOP}" && exec "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_clock.py ;;
    demo) exec dashctl demo "$@" ;;
    *) exec "$word" "$@" ;;
esac
"""


@pytest.fixture
def place(tmp_path_factory):
    """A folder that is a small git repository, and an environment in which nothing is the user's."""
    folder = tmp_path_factory.mktemp("r")
    work, bin_ = folder / "work", folder / "bin"
    work.mkdir()
    bin_.mkdir()
    for name, module in {"dashctl": "dashctl", "dashd": "dashd", "dash-mcp": "mcp_server"}.items():
        program(bin_ / name, f'#!/bin/sh\nexec "$PYTHON" -P -m {module} "$@"\n')
    program(work / "run", RUN)
    for name in ("one", "two", "three"):
        (work / f"{name}.py").write_text(f'"""{name}."""\n')
    subprocess.run(["git", "init", "--quiet"], cwd=work, check=True)
    subprocess.run(["git", "add", "."], cwd=work, check=True)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DASH_", "GIT_", "XDG_"))
    }
    own = {"HOME": str(folder), "TMPDIR": str(folder), "PYTHON": sys.executable, "DASH_PROXY_PORT": "0"}
    environ = daemon_process.environ_of(kept | own | {"PATH": f"{bin_}:{os.environ['PATH']}"})
    yield work, environ
    run("dashctl down --yes", work, environ)
    leftovers.end(folder, wait_s=1)


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def run(block, work, environ):
    return subprocess.run(
        ["sh", "-euc", block],
        cwd=work,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.mark.slow
@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.split("\n")[0][:40])
def test_every_command_runs(place, block):
    if "nc -N -U" in block and not has_openbsd_nc():
        pytest.skip("needs OpenBSD's nc: apt-get install netcat-openbsd")
    if "curl " in block and not shutil.which("curl"):
        pytest.skip("needs curl: apt-get install curl")
    started = run("dashctl up", *place)
    assert started.returncode == 0, started
    done = run(block, *place)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert '"error":' not in done.stdout.replace('"error":null', "")
    if "curl " in block:
        assert done.stdout.count("stand-in") >= 6
    if "./run demo" in block:
        shown = next(text for language, text in BLOCKS if text.startswith("Dash demo"))
        assert outline(done.stdout)[: len(outline(shown))] == outline(shown)
        assert max(map(len, done.stdout.splitlines())) <= 80


def outline(text):
    """What the demo prints, without what differs from run to run."""
    text = re.sub(r"(\b(?:swarm|agent|budget) |\()[0-9a-z]{6}\b", r"\1ID", text)
    text = re.sub(r", \d+ had ended|(?<=[a-z])s\b|\*", "", text)
    text = re.sub(r"[\d.,]*\d", "N", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_there_are_commands_and_every_block_has_a_language():
    assert len(COMMANDS) >= 6
    assert {language for language, _ in BLOCKS} <= {"sh", "text", "json", "toml"}
    assert TEXT.count("```") == 2 * len(BLOCKS)


def test_the_first_screen_has_the_two_commands():
    assert BLOCKS[0] == ("sh", "./run demo\n./run test\n")
    assert TEXT.index(BLOCKS[0][1]) < TEXT.index("\n## ")


def test_examples_of_files_can_be_read(tmp_path):
    for language, text in BLOCKS:
        if language == "json":
            assert json.loads(text)
        elif language == "toml":
            (tmp_path / "dash.toml").write_text(text)
            assert tomllib.loads(text)
            loaded = config.load({"HOME": str(tmp_path)}, {}, project=tmp_path / "dash.toml")
            assert loaded.daemon.agents_max == 20


def test_the_table_of_methods_is_complete():
    rows = dict(re.findall(r"^\| (\w+) \| ([a-z_ ]+) \|$", TEXT, re.MULTILINE))
    nouns = {name.partition(".")[0] for name in methods.METHODS}
    listed = {f"{noun}.{verb}" for noun in nouns for verb in rows.get(noun, "").split()}
    assert listed == set(methods.METHODS)


def test_the_table_of_settings_is_complete_and_its_variables_are_read():
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(DASH_\w+)` \|", TEXT, re.MULTILINE)
    assert [key for key, _ in rows] == config.keys()
    values = {"daemon.log_level": "error", "proxy.bodies": "meta", "proxy.bodies_bytes_max": "777"}
    values |= {"jail.grade_min": "C", "jail.required": "false", "programs.openclaw_autostart": "false"}
    for key, variable in rows:
        shown = config.show(config.load({"HOME": "/nobody", variable: values.get(key, "7")}, {}))
        assert {found: origin for found, _, origin in shown}[key] == "environment"


def test_the_exit_codes_are_those_of_dashctl():
    (listed,) = re.findall(r"^Exit codes: (.*?)\. Errors", TEXT, re.DOTALL | re.MULTILINE)
    known = {0, calling.EXIT_FAILED, calling.EXIT_USAGE, calling.EXIT_TIMEOUT, calling.EXIT_UNREACHABLE}
    known |= {calling.EXIT_INTERRUPTED, config.BadConfig.exit_code, *calling.EXIT_BY_CATEGORY.values()}
    assert {int(number) for number in re.findall(r"(?:^|,\s)(\d+) ", listed)} == known


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (TOP / link).exists()] == []


def test_it_is_as_wide_as_the_code():
    prose = [line for line in TEXT.splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > 120] == []
