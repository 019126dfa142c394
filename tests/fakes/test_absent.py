"""What stands in the place of a part that is left out keeps the contract of the part."""

import inspect
from typing import get_type_hints

import pytest

from dashd.service.core import Core
from tests.fakes import absent

PAIRS = [(get_type_hints(Core)[name], stand_in) for name, stand_in in absent.PORTS.items()]


def test_each_is_here() -> None:
    classes = {
        name for name, found in vars(absent).items() if inspect.isclass(found) and name.startswith("No")
    }
    assert classes == {stand_in.__name__ for stand_in in absent.PORTS.values()}


def test_a_core_has_no_other_parts() -> None:
    ports = {name for name, found in get_type_hints(Core).items() if getattr(found, "_is_protocol", False)}
    assert ports - {"drivers", "spools"} == set(absent.PORTS)


@pytest.mark.parametrize(("port", "stand_in"), PAIRS)
def test_it_answers_all_that_its_port_is_asked(port: type, stand_in: type) -> None:
    questions = [name for name, found in vars(port).items() if inspect.isfunction(found) and name[0] != "_"]
    assert questions
    for name in questions:
        asked, answered = getattr(port, name), getattr(stand_in, name)
        assert inspect.iscoroutinefunction(asked) == inspect.iscoroutinefunction(answered), name
        assert _shape(asked) == _shape(answered), name


def _shape(question: object) -> list[object]:
    """What may be passed: in which place, or by which name, and what is passed where nothing is."""
    parameters = inspect.signature(question).parameters.values()  # type: ignore[arg-type]
    return [
        (each.kind, each.default, each.name if each.kind is each.KEYWORD_ONLY else "") for each in parameters
    ]


@pytest.mark.parametrize(("port", "stand_in"), PAIRS)
def test_it_has_all_that_its_port_has(port: type, stand_in: type) -> None:
    assert [name for name in inspect.get_annotations(port) if not hasattr(stand_in(), name)] == []
