"""Two installations of the real Pi on one machine: which version each is, and which of them works."""

import os
import shutil

import pytest
import trio

from dashd.drivers.programs import pinned
from tests.live.scenes import DONE, acts, result, scene
from tests.live.test_pi import bash

pytestmark = pytest.mark.live


@pytest.fixture
def another(programs, pi_environ, tmp_path_factory) -> str:
    """A copy of it, in a folder of its own."""
    found = programs.find("pi")
    folder = tmp_path_factory.mktemp("n").resolve() / "pi"
    shutil.copytree(found.folder, folder, symlinks=True)
    return str(folder / os.path.relpath(found.path, found.folder))


async def test_another_installation_says_its_version_and_does_the_work(
    start_daemon, tmp_path, another, pi_environ
) -> None:
    # Its title hides what it was started with; its jail shows the program that it is, and no other one.
    found = pi_environ["DASH_PROGRAMS_PI"]
    script = acts(bash(f"for each in {another} {found}; do test -e $each && echo $each; done > seen"), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        await on.dash.call("instance.add", name="next", program=another)
        for name in ("next", "local"):
            with trio.fail_after(90):
                found = await on.dash.call("instance.health", name=name)
            assert (found["ok"], found["version"]) == (True, pinned()["pi"].version), found
        await on.dash.call("instance.drain", name="local")
        swarm = await on.swarm()
        assert result(await on.ended(swarm))["summary"] == "all done"
        assert (tmp_path / "seen").read_text() == f"{another}\n"
        (placed,) = await on.dash.events(swarm, "task.assigned")
        assert placed["data"]["place"] == "next"
        await on.balanced(swarm)
