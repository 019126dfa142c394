"""Sums of pytest's summary lines."""

import pytest

from tests import tally


@pytest.mark.parametrize(
    ("output", "counts", "seconds"),
    [
        ("x\n===== 2 passed in 1.50s =====\n", {"passed": 2}, 1.5),
        ("1 failed, 2 passed in 61.00s (0:01:01)", {"failed": 1, "passed": 2}, 61.0),
        (
            "\x1b[32m== \x1b[1m3 passed\x1b[0m, 2 warnings in 0.10s ==\x1b[0m",
            {"passed": 3, "warning": 2},
            0.1,
        ),
        ("== 1 passed in 1.00s ==\n== 4 errors in 2.00s ==\nrun: more\n", {"error": 4}, 2.0),
        ("===== no tests ran in 0.01s =====", {}, 0.01),
    ],
)
def test_the_last_summary_is_read(output: str, counts: dict[str, int], seconds: float) -> None:
    found = tally.read(output)
    assert found is not None
    assert (dict(found.counts), found.seconds) == (counts, seconds)


@pytest.mark.parametrize("output", ["", "Killed\n", "it took 3 passed in vain", "2 passed"])
def test_what_is_no_summary_is_none(output: str) -> None:
    assert tally.read(output) is None


def test_a_sum_is_a_summary_again_and_counts_what_came_to_none() -> None:
    parts = [tally.read("1 failed, 9 passed in 59.50s"), tally.read("5 passed, 2 skipped in 1.00s"), None]
    found = tally.total(parts)
    assert found.line().strip("= ") == "1 failed, 14 passed, 2 skipped, 1 error in 60.50s (0:01:00)"
    assert len(found.line()) == tally.WIDTH
    assert tally.read(found.line()) == found
    assert found.failed


def test_nothing_is_said_to_be_nothing() -> None:
    assert tally.total([], 0.0).line().strip("= ") == "no tests ran in 0.00s"


def test_as_a_program_it_adds_up_files(tmp_path, capsys) -> None:
    for name, text in (("a", "== 2 passed in 1.00s ==\n"), ("b", "== 1 passed in 2.00s ==\n"), ("c", "")):
        (tmp_path / name).write_text(text)
    assert tally.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "= 3 passed in 3.00s =" in capsys.readouterr().out
    assert tally.main([str(tmp_path / "a"), str(tmp_path / "c")]) == 1
    assert "= 2 passed, 1 error in 1.00s =" in capsys.readouterr().out
