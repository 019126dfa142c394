"""Node's compile cache of the real Pi: made behind its back, shown to the next one, written by nobody."""

import json
import os

import pytest
import trio

from tests.fakes.provider import Act
from tests.live.scenes import DONE, acts, result, scene

pytestmark = pytest.mark.live

LOOK = 'env | grep -c NODE_COMPILE; d=$(ls -d {cache}); ls $d | head -1; touch $d/x $d/*/x; rm -r "$d"/*'


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """An empty one: here it is to be made, and other files' may be of other installations."""
    return tmp_path_factory.mktemp("compiled")


async def test_an_agent_reads_it_and_writes_nothing(start_daemon, tmp_path) -> None:
    daemon = start_daemon()
    place = daemon.state / "compiled"
    command = LOOK.format(cache=f"{place}/pi-*")
    look = Act(text="I look.", tool=("bash", {"command": command}))
    async with scene(daemon, tmp_path, acts(DONE, look, DONE)) as on:
        await on.ended(await on.swarm())
        with trio.fail_after(120):
            while not (found := list(place.glob("pi-*"))):  # noqa: ASYNC110  # a folder rings no bell
                await trio.sleep(0.1)
        (cache,) = found
        kept = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
        assert len(kept) > 5
        report = await on.ended(await on.swarm())
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        told = json.dumps(on.provider.bodies[-1]["messages"])
        assert "0\\n" in told  # what it starts is not told of it
        assert os.listdir(cache)[0] in told
        assert "Read-only file system" in told
        assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == kept
        assert "compile cache" not in daemon.log()
