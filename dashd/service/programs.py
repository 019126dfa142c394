"""`program.*`: passes on to whoever knows programs; nothing of them is a row."""

from dashd.wire.methods import program as wire

from .core import Caller, Core


async def install(core: Core, _caller: Caller, params: wire.InstallProgram) -> wire.ProgramInstalled:
    """Returns when it is there, whole; cancelled, or where something fails, nothing is."""
    return await core.programs.install(params.name)


async def list_(core: Core, _caller: Caller, _params: wire.GetPrograms) -> wire.ProgramList:
    """Every program that this build can use, here or not."""
    return wire.ProgramList(programs=await core.programs.listed())


async def check(core: Core, _caller: Caller, params: wire.CheckProgram) -> wire.ProgramChecked:
    """Looks at every file of an installation, and runs the program once."""
    return await core.programs.check(params.name)
