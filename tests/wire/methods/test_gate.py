"""The parameters of `gate.*`."""

import msgspec
import pytest

from dashd.wire import methods


def decode(text):
    return msgspec.json.decode(text, type=methods.METHODS["gate.set"].params)


def test_a_gate_asks_the_operator_and_denies_in_an_hour():
    made = decode(b'{"name":"g","kind":"money"}')
    assert (made.verdict, made.who, made.two_person, made.deadline_s, made.at_deadline) == (
        "ask", "operator", False, 3_600.0, "deny",
    )  # fmt: skip


@pytest.mark.parametrize(
    "more", ['"kind":"time"', '"kind":"money","deadline_s":0', '"kind":"tool","who":"agent"']
)
def test_what_is_no_gate(more):
    with pytest.raises(msgspec.ValidationError):
        decode(f'{{"name":"g",{more}}}'.encode())
