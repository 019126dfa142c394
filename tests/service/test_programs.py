"""Programs as the API gives them; the rest is in tests/test_program_ports.py."""

import dataclasses

import pytest

from dashd.service import HANDLERS
from dashd.store import audit
from dashd.wire import errors
from dashd.wire.methods.program import ProgramInstalled
from tests.fakes.absent import NoPrograms


class OneProgram(NoPrograms):
    async def install(self, name: str) -> ProgramInstalled:
        return ProgramInstalled(name=name, version="1", path="/p", changed=True, took_s=0.1)


async def test_what_the_port_refuses_is_refused(call) -> None:
    assert (await call("program.list")).programs == []
    for method in ("program.install", "program.check"):
        with pytest.raises(errors.Unsupported):
            await call(method, name="pi")


async def test_an_installation_is_on_record(core, caller, scene) -> None:
    from dashd.wire.methods.program import InstallProgram

    core = dataclasses.replace(core, programs=OneProgram())
    done = await HANDLERS["program.install"](core, caller, InstallProgram(name="pi"))
    assert done.path == "/p"
    (row,) = audit.page(scene.db, 2**62, 5, action="program.install", actor="", subject="")
    assert row.subject == "pi"
