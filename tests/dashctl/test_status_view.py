"""`dashctl status` for a person."""

import msgspec

from dashctl import status_view
from tests.dashctl import answers
from tests.fakes import daemon as fake


def test_it_says_how_it_is_first_and_warns(output):
    out = output()
    found = answers.status(state="degraded", warnings=["the disk is\x1b[2J full"], adopted=3)
    status_view.show(out, msgspec.to_builtins(found), [msgspec.to_builtins(fake.a_brief())])
    lines = out._stdout.getvalue().splitlines()
    assert lines[0] == "dashd 0.1.0 is degraded (pid 1, up 1m 15s, start 3)"
    assert lines[1] == "warning: the disk is full"
    assert "agents    20 running (at most 100 at once, 3 taken over at this start)" in lines
    assert lines[-1].split() == ["7k2m9q", "active", "3/20", "20", "lint"]


def test_a_name_that_only_repeats_the_id_is_not_shown():
    assert status_view.name_of({"id": "x", "name": "swarm-x"}) == ""
    assert status_view.name_of({"id": "x", "name": "lint"}) == " lint"
