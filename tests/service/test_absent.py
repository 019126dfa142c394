"""What stands in the place of a part that is left out keeps the contract of the part."""

import inspect

import pytest

from dashd.service import absent, place_ports, ports

PAIRS = [
    (ports.Programs, absent.NoPrograms),
    (ports.Walls, absent.NoWalls),
    (ports.Repositories, absent.NoRepositories),
    (ports.Keys, absent.NoKeys),
    (ports.Providers, absent.NoProviders),
    (place_ports.Gateways, absent.NoGateways),
    (place_ports.Instances, absent.NoInstances),
    (ports.Outside, absent.NoOutside),
    (ports.Models, absent.NoModels),
    (ports.Sessions, absent.NoSessions),
]


def test_each_is_here() -> None:
    classes = {
        name for name, found in vars(absent).items() if inspect.isclass(found) and name.startswith("No")
    }
    assert classes == {stand_in.__name__ for _, stand_in in PAIRS}


@pytest.mark.parametrize(("port", "stand_in"), PAIRS)
def test_it_answers_all_that_its_port_is_asked(port: type, stand_in: type) -> None:
    questions = [name for name, found in vars(port).items() if inspect.isfunction(found) and name[0] != "_"]
    assert questions
    for name in questions:
        asked, answered = getattr(port, name), getattr(stand_in, name)
        assert inspect.iscoroutinefunction(asked) == inspect.iscoroutinefunction(answered), name
        assert len(inspect.signature(asked).parameters) == len(inspect.signature(answered).parameters), name
