"""The attack matrix: each column against the table, in both directions; each layer left out flips something.

The control, without a jail, shows that the attacks themselves work: what fails there is no proof of a wall.
"""

import contextlib
import os
import platform
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.jail.attacks import expected, walls
from tests.jail.attacks.columns import COLUMNS, PYTHON, Column, Launch
from tests.jail.attacks.dash_columns import DASH_COLUMNS
from tests.jail.attacks.scene import Refused, Result, Scene, kill_everything, swap_the_scope

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the attacks know the system calls of x86_64"),
    pytest.mark.skipif(not os.path.exists(PYTHON), reason=f"the attacker is run by {PYTHON}"),
]
AT_ONCE = 2
CONTROL_SHARE = 0.75  # of all attacks
ON_THEIR_OWN: dict[str, Callable[[Column, frozenset[str]], Result]] = {
    "kill_everything": kill_everything,
    "scope_swap": swap_the_scope,
}
LAUNCHERS: dict[str, Column] = {**COLUMNS, **DASH_COLUMNS}
Seen = dict[str, str]
# Without a user namespace a limit on processes counts all of the user's; as root each scene has its own user.
COUNTED = threading.Lock() if os.geteuid() else contextlib.nullcontext()


def run(column: str, without: frozenset[str], *choice: str) -> Seen:
    """One launch of the attacker, and those attacks that need a launch to themselves."""
    alone = [name for name in ON_THEIR_OWN if not choice or name in choice]
    chosen = [name for name in choice if name not in alone]
    seen: dict[str, Result] = {}
    counts = not choice or "fork_bomb" in choice or "stage" in column
    if chosen or not choice:
        with COUNTED if counts else contextlib.nullcontext(), Scene() as scene:
            seen = scene.attack(LAUNCHERS[column], without, *chosen)
    for name in alone:
        if name != "kill_everything" or walls.namespaces():
            seen[name] = ON_THEIR_OWN[name](LAUNCHERS[column], without)
    return {name: result.works for name, result in seen.items()}


@pytest.fixture(scope="module")
def at_work() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def matrix(at_work) -> dict[str, Future[Seen]]:
    """What works in each column, by its letter."""
    columns = expected.COLUMNS.items()
    return {
        letter: at_work.submit(run, *column) for letter, column in columns if not walls.missing(column[0])
    }


def in_column(letter: str) -> Seen:
    """What the table says of a column."""
    grade = letter.removeprefix("dash-")
    answer = {grade: "yes", grade.lower(): "own"}
    table = {
        name: next((answer[mark] for mark in marks if mark in answer), "no")
        for name, (_, marks) in expected.EXPECTED.items()
    }
    return table | expected.DIFFERS.get(letter, {})


def differences(letter: str, seen: Seen, control: Seen) -> list[str]:
    """What is not as the table has it, and is not this kernel's doing."""
    table = in_column(letter)
    gone = {name for name in expected.MAY_FAIL_UNJAILED if control.get(name) != "yes"}
    here = {**seen, **dict.fromkeys(gone & set(table) - set(seen), "no")}
    return [
        f"{name} (row {expected.EXPECTED[name][0]}): {table[name]} by the table, {here.get(name)} here"
        for name in table
        if here.get(name) != table[name] and not (name in gone and here.get(name) == "no")
    ] + [f"{name} is not in the table" for name in seen if name not in table]


@pytest.mark.parametrize("letter", [pytest.param(letter, id=letter) for letter in expected.COLUMNS])
def test_a_column_is_as_the_table_says(letter: str, matrix) -> None:
    if reason := walls.missing(expected.COLUMNS[letter][0]):
        pytest.skip(reason)
    control = matrix["N"].result()
    surprise = set() if letter != "N" else {name for name in control if control[name] == "yes"}
    optional = surprise & expected.MAY_FAIL_UNJAILED  # another kernel allows more to everybody
    broken = differences(letter, matrix[letter].result(), control)
    assert [line for line in broken if line.split()[0] not in optional] == []


def test_the_control_shows_that_the_attacks_work(matrix) -> None:
    control = matrix["N"].result()
    working = [name for name, works in control.items() if works == "yes"]
    assert len(working) >= CONTROL_SHARE * len(expected.EXPECTED), sorted(set(control) - set(working))


def test_every_row_of_the_threat_table_has_an_attack() -> None:
    assert set(range(1, 69)) <= {row for row, _ in expected.EXPECTED.values()}


def test_what_grade_b_leaves_open_has_an_answer() -> None:
    works = {name for name, answer in in_column("B").items() if answer != "no"}
    assert works == set(expected.OPEN_BY_NATURE)


# --- each layer earns its place ---


def drop_id(drop: tuple[str, frozenset[str], frozenset[str]]) -> str:
    return f"{drop[0]}-{'-'.join(sorted(drop[1]))}"


LETTERS = {name: letter for letter, (name, without) in expected.COLUMNS.items() if not without}
TAKE_LONG = frozenset({"fork_bomb", "memory_shared", "memory_private", "memory_many", *ON_THEIR_OWN})


def drop_choice(column: str, flips: frozenset[str]) -> list[str]:
    """What is to be let in, and what has worked before; of the long ones only the former."""
    worked = {name for name, works in in_column(LETTERS[column]).items() if works != "no"}
    return sorted(flips | (worked - TAKE_LONG))


@pytest.fixture(scope="module")
def dropped(at_work) -> dict[str, Future[Seen]]:
    return {
        drop_id((column, without, flips)): at_work.submit(run, column, without, *drop_choice(column, flips))
        for column, without, flips in expected.DROPS
        if not walls.missing(column)
    }


@pytest.mark.parametrize("drop", expected.DROPS, ids=drop_id)
def test_a_layer_left_out_is_an_attack_let_in(drop, dropped, matrix) -> None:
    column, _, flips = drop
    if reason := walls.missing(column):
        pytest.skip(reason)
    control, seen = matrix["N"].result(), dropped[drop_id(drop)].result()
    table = in_column(LETTERS[column])
    let_in = {name for name in seen if seen[name] not in ("no", table[name])}
    wanted = {name for name in flips if name not in expected.MAY_FAIL_UNJAILED or control.get(name) == "yes"}
    if not wanted:
        pytest.skip(f"{', '.join(sorted(flips))}: not even without a jail, on this machine")
    assert wanted <= let_in
    still = {name for name in seen if table[name] != "no" and control[name] == "yes"}
    assert [name for name in still if seen[name] == "no"] == []


@pytest.mark.parametrize(("column", "without"), expected.REFUSED)
def test_without_what_it_stands_on_a_layer_refuses_the_start(column: str, without: str) -> None:
    if reason := walls.missing(column):
        pytest.skip(reason)
    with Scene() as scene, pytest.raises(Refused, match="refused"):
        scene.attack(LAUNCHERS[column], frozenset(without.split()))


def test_every_layer_is_dropped_somewhere() -> None:
    for name in ("both", "stage", "dash-both", "dash-stage"):
        dropped = {layer for column, layers, _ in expected.DROPS if column == name for layer in layers}
        assert LAUNCHERS[name].layers - dropped <= set(expected.SHOWN_ELSEWHERE)


def test_a_layer_that_a_launcher_does_not_have_is_an_error() -> None:
    for column in LAUNCHERS.values():
        with pytest.raises(ValueError, match="no layer moat"):
            column.command(Launch(Path("/")), ["true"], frozenset({"moat"}))
