"""The demo with the real programs: the same story, every figure of it, and nothing left behind."""

import json
import os
import subprocess
import sys

import pytest

from dashctl import daemon_process
from dashctl.demo import leftovers

pytestmark = pytest.mark.live

AGENTS = {"pi": 20, "openclaw": 4}
"""OpenClaw takes ten seconds of a core to start; `./run demo --driver openclaw` has all twenty."""


@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("driver", ["pi", "openclaw"])
def test_the_story_comes_true(driver, request, tmp_path_factory):
    programs = request.getfixturevalue(f"{driver}_environ")
    folder = tmp_path_factory.mktemp("d")  # a folder of the test's name leaves no room for a socket in it
    own = {"TMPDIR": str(folder), **programs}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dashctl",
            "demo",
            "--driver",
            driver,
            "--agents",
            str(AGENTS[driver]),
            "--json",
        ],
        env=daemon_process.environ_of(os.environ | own),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    figures = json.loads(done.stdout)
    agents = AGENTS[driver]
    told = {name: figures[name] for name in ("completed", "failed", "lost", "duplicated", "restarts")}
    assert told == {"completed": agents - 1, "failed": 1, "lost": 0, "duplicated": 0, "restarts": 1}
    assert (figures["overshoot_usd"], figures["stopped_by_budget"]) == (0.0, 1)
    assert list(folder.iterdir()) == []
    assert leftovers.find(folder) == []
