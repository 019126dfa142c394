"""Where an added Pi may lie, and what is found here: real files."""

import os
from types import SimpleNamespace

import pytest

from dashd.agent_ports import WallsPort
from dashd.domain.scaling import ScalingPolicy
from dashd.drivers.programs import Programs
from dashd.instance_ports import InstancePort
from dashd.jail.launch import Outside
from dashd.runtime.instance_seats import Division
from dashd.runtime.jails import Jails
from dashd.store.bells import Bells
from dashd.wire import errors

WORLD = SimpleNamespace(store=SimpleNamespace(bells=Bells()))
"""The probes are not asked here; tests/runtime/test_instance_probes.py does."""


@pytest.fixture
def files(tmp_path):
    made = tmp_path.resolve()
    for name in ("opt/node_modules/pi/cli.js", "opt/node", "state/programs/pi-1.0/node_modules/pi/cli.js"):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (made / "bin").mkdir()
    (made / "bin" / "pi").symlink_to(made / "opt/node_modules/pi/cli.js")
    (made / "state" / "stray.js").write_text("")
    return made


@pytest.fixture
def port(files):
    walls = WallsPort(Jails("0", Outside(), {}), required=True, own=[files / "state"])
    configured = {"node": str(files / "opt/node"), "pi": str(files / "opt/node_modules/pi/cli.js")}
    programs = Programs(files / "state/programs", configured)
    return InstancePort(WORLD, programs, walls, Division(ScalingPolicy(0, 0), 1, 1))


async def test_a_link_is_followed(port, files):
    assert await port.place(str(files / "bin/pi")) == str(files / "opt/node_modules/pi/cli.js")


async def test_a_version_that_dash_has_installed_may_be_added(port, files):
    there = str(files / "state/programs/pi-1.0/node_modules/pi/cli.js")
    assert await port.place(there) == there


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opt/absent.js", "is not there"),
        ("opt", "is no file"),
        ("state/stray.js", "which is Dash's own"),
    ],
)
async def test_others_may_not(port, files, name, said):
    with pytest.raises(errors.InvalidParams, match=said) as refused:
        await port.place(str(files / name))
    assert refused.value.path == "program"


async def test_a_path_is_a_whole_one(port):
    with pytest.raises(errors.InvalidParams, match="not an absolute path"):
        await port.place("cli.js")


async def test_what_is_here_and_what_is_missing(port, files):
    assert await port.here() == str(files / "opt/node_modules/pi/cli.js")
    os.unlink(files / "opt/node_modules/pi/cli.js")
    assert await port.here() is None
