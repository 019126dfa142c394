"""Lists are read page by page, to the end or to a limit."""

import json

import pytest

from dashd.wire.methods import swarm
from tests.fakes import daemon as fake

TOTAL = 250


@pytest.fixture
def paged(dashd):
    def page(params: swarm.ListSwarms) -> swarm.SwarmList:
        start = int(params.cursor or 0)
        end = min(start + params.limit, TOTAL)
        items = [fake.a_brief(id=f"s{number:03}") for number in range(start, end)]
        return swarm.SwarmList(items=items, next_cursor="" if end == TOTAL else str(end), total=TOTAL)

    dashd.on("swarm.list", page)
    return dashd


def test_everything_is_shown_without_a_limit(paged, ctl):
    rows = json.loads(ctl("swarm", "list", "--json").out)
    assert [row["id"] for row in rows] == [f"s{number:03}" for number in range(TOTAL)]
    assert [params.get("cursor") for params in paged.asked("swarm.list")] == [None, "100", "200"]


@pytest.mark.parametrize("limit", [1, 100, 101, 250, 300])
def test_a_limit_is_kept_and_said(paged, ctl, limit: int):
    ran = ctl("swarm", "list", "-q", "--limit", str(limit))
    assert len(ran.out.splitlines()) == min(limit, TOTAL)
    assert ("of 250" in ran.err) is (limit < TOTAL)


def test_nothing_is_said_on_stderr_and_is_an_empty_array(dashd, ctl):
    dashd.on("swarm.list", swarm.SwarmList(items=[], next_cursor="", total=0))
    assert "dashctl swarm create" in ctl("swarm", "list").err
    assert ctl("swarm", "list").out == ""
    assert ctl("swarm", "list", "--json").out == "[]\n"
