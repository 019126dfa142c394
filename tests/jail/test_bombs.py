"""Bombs beside ten honest agents: the honest ones finish, and a bomb gets no further than it may.

A swarm is what runs agents side by side: here a stand-in over a launcher under attack. It has no watchdog, so
that it says itself which bombs it does not stop. Dash's own becomes one by the same `beside`.
"""

import contextlib
import json
import selectors
import subprocess
import time
from typing import NamedTuple, Protocol

import pytest

from tests.jail.attacks import walls
from tests.jail.attacks.columns import COLUMNS, LIMITS, PYTHON, Column
from tests.jail.attacks.dash_columns import DASH_COLUMNS
from tests.jail.attacks.ground import Ground

pytestmark = pytest.mark.slow
HONEST = 10
LIMIT_S = 60
OUTPUT_BYTES = 1 << 20
BOMBS = ("forks", "memory", "disk", "files", "output")
ENOUGH = 1.1  # of what is allowed; counting is not exact to the last one


class Outcome(NamedTuple):
    """How far each bomb got, as a multiple of what it may; what the honest agents have answered."""

    bombs: dict[str, float]
    honest: list[str]


class Swarm(Protocol):
    """Runs agents. `open_bombs` are those that it does not stop."""

    name: str
    open_bombs: frozenset[str]

    def beside(self) -> Outcome: ...


class SmallSwarm:
    """A stand-in: each agent a launch on a ground of its own, its output read and bounded here."""

    open_bombs = frozenset({"memory", "disk"})

    def __init__(self, column: Column) -> None:
        self.column, self.name = column, column.name

    def start(self, stack: contextlib.ExitStack, *arguments: str) -> subprocess.Popen:
        ground = stack.enter_context(Ground())
        argv = [PYTHON, "-I", "-S", str(ground.code / "beside.py"), *arguments]
        return stack.enter_context(ground.started(self.column, ground.launch(), argv))

    def beside(self) -> Outcome:
        """The honest ones start when the bombs are as large as they get, and the bombs end last."""
        limits = json.dumps({**LIMITS._asdict(), "output_bytes": OUTPUT_BYTES})
        with contextlib.ExitStack() as stack:
            bombs = {name: self.start(stack, name, limits) for name in BOMBS}
            reached = {name: how_far(process) for name, process in bombs.items()}
            honest = [self.start(stack, "honest", limits) for _ in range(HONEST)]
            answers = [process.communicate(timeout=LIMIT_S)[0].decode().strip() for process in honest]
        return Outcome(reached, answers)


def how_far(process: subprocess.Popen) -> float:
    """What the bomb says of itself; a flood says nothing and is cut off at the limit."""
    deadline, said = time.monotonic() + LIMIT_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0, deadline - time.monotonic())):
            piece = process.stdout.read1(65536)
            said += piece
            if len(said) >= OUTPUT_BYTES:
                process.kill()
                return len(said) / OUTPUT_BYTES
            if not piece or (said.endswith(b"\n") and not said.startswith(b"y")):
                break
    return float(said)


SWARMS = [SmallSwarm(COLUMNS["both"]), SmallSwarm(DASH_COLUMNS["dash-both"])]


@pytest.fixture(scope="module", params=SWARMS, ids=lambda swarm: swarm.name)
def swarm(request) -> Swarm:
    if reason := walls.missing(request.param.name):
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def outcome(swarm: Swarm) -> Outcome:
    return swarm.beside()


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_gets_no_further_than_it_may(bomb: str, swarm: Swarm, outcome: Outcome) -> None:
    """In both directions: what a swarm says that it leaves open must be open."""
    assert (outcome.bombs[bomb] > ENOUGH) == (bomb in swarm.open_bombs), outcome.bombs


def test_the_honest_agents_finish(outcome: Outcome) -> None:
    assert len(outcome.honest) == HONEST
    assert len(set(outcome.honest)) == 1
    assert len(outcome.honest[0]) == 64


def test_without_walls_every_bomb_goes_off() -> None:
    """All but the flood: who reads the output stops that one, whatever the walls."""
    reached = SmallSwarm(COLUMNS["none"]).beside().bombs
    assert {name for name, far in reached.items() if far > ENOUGH} == set(BOMBS) - {"output"}
