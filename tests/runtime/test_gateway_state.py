"""Where gateways keep their sessions: one folder a swarm, shown in their jails and nobody else's."""

import stat

import pytest

from dashd.jail.launcher import LaunchFailed
from dashd.runtime import gateway_state
from dashd.runtime.jails import asked_of, written_folders
from tests.fakes.scene import swarm_row


async def test_every_gateway_of_a_swarm_has_the_same_folder_and_counts_it(bed) -> None:
    found = gateway_state.folder(bed.world, "7k2m9q")
    assert found != gateway_state.folder(bed.world, "7k2m9r")
    await gateway_state.begin(bed.world, "7k2m9q")
    (found / "kept").touch()
    await gateway_state.begin(bed.world, "7k2m9q")
    assert (found / "kept").exists()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert found.parent == bed.world.folder("7k2m9q-g1")  # with which it is removed
    asked = asked_of(swarm_row(walls="required"))
    shown = gateway_state.shown(bed.world, "7k2m9q", asked)
    assert set(written_folders(shown)) - set(written_folders(asked)) == {str(found)}


async def test_without_a_folder_it_cannot_start(bed) -> None:
    bed.world.launches.mkdir(parents=True, exist_ok=True)
    bed.world.folder("7k2m9q-g1").touch()
    with pytest.raises(LaunchFailed, match="no folder for its sessions"):
        await gateway_state.begin(bed.world, "7k2m9q")
