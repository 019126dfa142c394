"""Holds a state machine to its drawing: every arrow by its letter, and nothing beside the arrows."""

import itertools

import pytest

from dashd.domain.machine import Machine
from dashd.wire import errors

Arrow = tuple[str, str, str]
"""Letter, state it leaves, state it enters."""


def check(machine: Machine, states: str, arrows: list[Arrow]) -> None:
    """`arrows` are all there are between `states`; any other step is refused with what would be possible."""
    assert {letter for letter, _, _ in arrows} == set(machine.arrows)
    drawn = {(source, target) for _, source, target in arrows}
    for letter, source, target in arrows:
        sources, entered = machine.arrows[letter]
        assert source in sources, letter
        assert target == entered, letter
        machine.check(source, target)
    for source, target in itertools.product(states.split(), repeat=2):
        if (source, target) not in drawn:
            with pytest.raises(errors.IllegalTransition, match=f"{source} cannot become {target}") as caught:
                machine.check(source, target)
            for left, entered in drawn:
                assert (left != source) or entered in caught.value.hint


def every(letter: str, sources: str, target: str) -> list[Arrow]:
    """One letter that leaves several states."""
    return [(letter, source, target) for source in sources.split()]
