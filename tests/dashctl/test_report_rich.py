"""On a terminal the tables of a report wrap inside their columns."""

import pytest

from dashctl import report_rich, width
from tests.dashctl.test_report import EVIL, a_report


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_every_line_fits_the_terminal(output, columns: int):
    out = output(columns, color="never")
    report_rich.show(out, a_report())
    lines = out._stdout.getvalue().splitlines()
    assert max(map(width.of, lines)) <= columns
    assert sum("日本語" in line for line in lines) >= 240 // columns


def test_what_an_agent_wrote_is_neither_a_sequence_nor_markup(output):
    out = output(120)
    report_rich.show(out, a_report())
    text = out._stdout.getvalue()
    assert "\x1b[31mexit code 1" in text
    assert "[red]x[/red]" in text
    assert EVIL not in text
