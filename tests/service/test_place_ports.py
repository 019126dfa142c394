"""The questions about places: one contract, held by what answers them in a daemon."""

import inspect

import pytest

from dashd import gateway_ports, instance_ports
from dashd.service import place_ports


@pytest.mark.parametrize(
    ("port", "filled"),
    [
        (place_ports.Gateways, gateway_ports.GatewayPort),
        (place_ports.Instances, instance_ports.InstancePort),
    ],
)
def test_every_question_has_an_answer_of_the_same_shape(port: type, filled: type) -> None:
    questions = [name for name in vars(port) if not name.startswith("_") and callable(getattr(port, name))]
    assert questions
    for name in questions:
        if name == "why":  # what it is given when it is made
            continue
        asked, answered = getattr(port, name), getattr(filled, name)
        assert inspect.iscoroutinefunction(asked) == inspect.iscoroutinefunction(answered), name
        assert list(inspect.signature(asked).parameters) == list(inspect.signature(answered).parameters), name
