"""Every bench runs, at a tiny size, and yields well-formed figures; what they say is not looked at here."""

import json
import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.bench import measure
from tests.bench.__main__ import SUBJECTS
from tests.bench.bed import Bed
from tests.bench.measure import Effort

TINY = Effort(rounds=1, part=0.005, still_s=0.05, peers=False)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    made = Bed(tmp_path_factory.mktemp("bench"), TINY, one_dashd=True)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_yields_figures(name: str, bed: Bed) -> None:
    figures = list(SUBJECTS[name](bed))
    assert figures
    for figure in figures:
        line = json.loads(figure.line())
        assert {"name", "value", "unit", "baseline", "ratio", "goal", "met"} <= set(line)
        assert line["name"].startswith(name + ".")
        assert (line["value"] is None) == bool(line.get("why"))
        assert line["met"] in ((True, False) if line["goal"] and line["value"] is not None else (None,))


def test_a_figure_is_judged_by_its_goal() -> None:
    rounds = [(2.0, 1.0), (30.0, 10.0), (5.0, 1.0)]
    made = measure.compared("x", "us", "ratio <= 3", rounds)
    assert (made.value, made.baseline, made.ratio, made.met) == (5.0, 1.0, 3.0, True)
    assert measure.compared("x", "us", "ratio <= 2.9", rounds).met is False
    assert measure.figure("x", 20.0, "ms", goal="value < 20").met is False
    assert measure.figure("x", 0.0, "events", goal="value == 0").met is True
    assert measure.figure("x", 1.0, "us", goal="").met is None
    assert measure.missing("x", "us", "ratio <= 1", "no peer").met is None


def test_a_round_in_which_nothing_was_counted_is_no_figure() -> None:
    made = measure.compared("x", "us", "ratio <= 1", [(0.0, 1.0), (4.0, 2.0), (1.0, 0.0)])
    assert (made.value, made.baseline, made.ratio, made.met) == (4.0, 2.0, 2.0, False)
    none = measure.compared("x", "us", "ratio <= 1", [(0.0, 1.0), (1.0, 0.0)])
    assert (none.value, none.met) == (None, None)
    assert "too little" in none.why


def test_rounds_run_every_variant_and_the_first_is_thrown_away() -> None:
    calls: list[str] = []

    def variant(name: str) -> int:
        calls.append(name)
        return len(calls)

    found = measure.interleave(3, {name: partial(variant, name) for name in "ab"})
    assert len(found) == 3
    assert sorted(calls) == ["a"] * 4 + ["b"] * 4
    assert all(value > 2 for each in found for value in each.values())


def test_wakeups_are_counted_by_thread() -> None:
    assert measure.woken({"1": 5, "2": 7}, {"1": 5, "2": 7}) == 0
    assert measure.woken({"1": 5, "2": 7}, {"1": 8, "3": 2}) == 3 + 1 + 2


def test_the_cpu_of_another_process_is_seen() -> None:
    before = measure.cpu_us(os.getpid())
    sum(range(100_000))
    assert measure.cpu_us(os.getpid()) > before
    assert all(count > 0 for count in measure.wakeups(os.getpid()).values())
    assert measure.rss_kib(os.getpid()) > measure.private_kib(os.getpid()) > 0
