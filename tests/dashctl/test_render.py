"""Tables fit their terminal, by width and not by length; without one nothing is cut."""

import pytest

from dashctl import render, width

COLUMNS = (
    render.Column("ID", "id"),
    render.Column("STATE", "state"),
    render.Column("N", "n", right=True, drop=1),
    render.Column("ITEM", "item", least=10, drop=2),
    render.Column("NOTE", "note", least=10, drop=3),
)
ROWS = [
    {"id": "a-1", "state": "running", "n": 7, "item": "日本語" * 12, "note": "x" * 60},
    {"id": "a-22", "state": "failed", "n": 120, "item": "b.py", "note": "\x1b[2Jboo"},
]


def shown(out) -> list[str]:
    return out._stdout.getvalue().splitlines()


@pytest.mark.parametrize("columns", [20, 40, 80, 160])
def test_every_line_fits(output, columns: int):
    out = output(columns, color="never")
    render.table(out, COLUMNS, ROWS)
    assert all(width.of(line) <= columns for line in shown(out))
    assert [line.split()[0] for line in shown(out)] == ["ID", "a-1", "a-22"]


def test_narrow_drops_what_matters_least(output):
    wide, narrow = output(160, color="never"), output(30, color="never")
    render.table(wide, COLUMNS, ROWS)
    render.table(narrow, COLUMNS, ROWS)
    assert shown(wide)[0].split() == ["ID", "STATE", "N", "ITEM", "NOTE"]
    assert shown(narrow)[0].split() == ["ID", "STATE", "N", "ITEM"]


def test_columns_line_up_although_characters_are_wide(output):
    out = output()
    rows = [{"id": "日本", "state": "s"}, {"id": "abcdef", "state": "t"}]
    render.table(out, COLUMNS[:2], rows)
    assert {width.of(line[: line.rfind(" ")]) for line in shown(out)} == {7}


def test_without_a_terminal_nothing_is_cut_and_no_column_is_missing(output):
    out = output()
    render.table(out, COLUMNS, [{**row, "n": None} for row in ROWS])
    assert "x" * 60 in shown(out)[1]
    assert "N" in shown(out)[0].split()
    assert "\x1b" not in "".join(shown(out))


def test_a_terminal_sees_no_column_that_is_empty(output):
    out = output(160, color="never")
    render.table(out, COLUMNS, [{**row, "n": None} for row in ROWS])
    assert "N" not in shown(out)[0].split()


def test_colour_is_around_the_word_alone(output):
    out = output(80)
    render.table(out, COLUMNS[:2], ROWS)
    assert "\x1b[32mrunning\x1b[0m" in shown(out)[1]
    assert "\x1b[31mfailed\x1b[0m" in shown(out)[2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.416, "0.42 s"),
        (5.0, "5 s"),
        (12.34, "12.3 s"),
        (60, "1m"),
        (200, "3m 20s"),
        (7500, "2h 5m"),
        (90_000, "1d 1h"),
    ],
)
def test_durations(seconds: float, text: str):
    assert render.duration(seconds) == text


def test_facts_keep_to_their_column(output):
    out = output(30, color="never")
    render.facts(out, [("name", "a value of many words, 日本語"), ("none", ""), ("longer", "x")])
    assert shown(out) == ["name    a value of many words,", "        日本語", "longer  x"]


def test_what_an_event_offers_is_what_can_be_typed():
    data = {
        "options": ["budget.extend a 1: go on"],
        "suggestions": ["swarm.scale a 2: x"],
        "text": "a.b",
    }
    assert render.values(data) == (
        'options=["dashctl budget extend a 1: go on"] suggestions=["dashctl swarm scale a 2: x"] text=a.b'
    )


def test_counts_and_values():
    assert render.counts({"running": 3, "dead": 0, "total": 3}) == "3 running"
    assert render.counts({}) == "none"
    assert render.values({"a": 1, "b": "two words", "c": None, "d": {"x": [1]}, "e": True}) == (
        'a=1 b="two words" d={"x":[1]} e=true'
    )
    assert render.instant("no date") == "no date"
    assert render.instant(None) == ""
