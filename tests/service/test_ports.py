"""The outside questions: one contract, held by the fakes of these tests and by `agent_ports`."""

import inspect

import pytest

from dashd import agent_ports
from dashd.drivers import Programs
from dashd.service import ports
from dashd.wire import errors
from tests.fakes.ports import FakeDrivers, FakeSpools, driver_abilities

REAL = agent_ports.DriverPort(Programs(), {})


@pytest.mark.parametrize(
    ("port", "filled"),
    [
        (ports.Drivers, FakeDrivers),
        (ports.Drivers, agent_ports.DriverPort),
        (ports.Spools, FakeSpools),
        (ports.Spools, agent_ports.SpoolPort),
    ],
)
def test_every_question_has_an_answer_of_the_same_shape(port: type, filled: type) -> None:
    questions = [name for name in vars(port) if not name.startswith("_")]
    assert questions
    for name in questions:
        asked, answered = getattr(port, name), getattr(filled, name)
        assert inspect.iscoroutinefunction(asked) == inspect.iscoroutinefunction(answered), name
        assert list(inspect.signature(asked).parameters) == list(inspect.signature(answered).parameters), name


@pytest.mark.parametrize("drivers", [FakeDrivers(), REAL], ids=["fake", "real"])
async def test_drivers(drivers: ports.Drivers, tmp_path) -> None:
    assert (await drivers.choose(None, has_argv=True))[0] == "command"
    assert (await drivers.choose(None, has_argv=False))[0] in ("command", "embedded")
    assert await drivers.choose("command", has_argv=True) == ("command", "it was asked for")
    with pytest.raises(errors.Unsupported, match="no driver 'nothing'") as caught:
        await drivers.choose("nothing", has_argv=False)
    assert caught.value.hint.startswith("drivers: command")
    assert caught.value.path == "driver"
    assert drivers.abilities("command") == driver_abilities("hard", message=False)
    assert drivers.remarks("command", ["true", "{item}"]) == []
    assert await drivers.check("command", ["true"], str(tmp_path)) == (["true"], str(tmp_path))
