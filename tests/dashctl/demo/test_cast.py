"""Who plays in the demo, and what is said where a program is not here."""

import json
import os
import subprocess

import pytest

from dashctl import calling
from dashctl.demo import cast


def doctor(monkeypatch, said: str) -> None:
    done = subprocess.CompletedProcess([], 0, said, "broken")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


def here(*names: str) -> str:
    return json.dumps({"programs": [{"name": name, "path": f"/p/{name}"} for name in names]})


def test_dash_s_own_agent_needs_nobody_s_word(monkeypatch):
    doctor(monkeypatch, "")
    assert cast.of("embedded", {}, 20) == cast.Cast()


def test_a_real_one_is_given_its_paths_and_nothing_else(monkeypatch):
    doctor(monkeypatch, here("node", "pi", "openclaw"))
    part = cast.of("pi", {"DASH_MAX_AGENTS": "1"}, 20)
    assert part.driver == "pi"
    assert part.environ == {"DASH_PROGRAMS_NODE": "/p/node", "DASH_PROGRAMS_PI": "/p/pi"}


@pytest.mark.parametrize(
    ("gib", "agents", "hint"), [(22, 20, None), (21, 20, "--agents 19 fits here"), (5, 4, "--driver pi may")]
)
def test_all_of_them_run_at_once_or_it_says_how_many_can(monkeypatch, gib, agents, hint):
    doctor(monkeypatch, here("node", "openclaw"))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": gib << 18, "SC_PAGE_SIZE": 4096}.__getitem__)
    if hint is None:
        assert cast.of("openclaw", {}, agents).environ["DASH_PROGRAMS_OPENCLAW_SESSIONS_MAX"] == str(agents)
        return
    with pytest.raises(calling.Failure, match=f"{agents} agents of driver openclaw take") as failed:
        cast.of("openclaw", {}, agents)
    assert hint in failed.value.error["hint"]


@pytest.mark.parametrize(("names", "missing"), [((), "node"), (("node",), "openclaw")])
def test_what_is_missing_is_named_with_the_way_to_get_it(monkeypatch, names, missing):
    doctor(monkeypatch, here(*names))
    with pytest.raises(calling.Failure, match=f"driver openclaw needs {missing}, which is not") as failed:
        cast.of("openclaw", {}, 20)
    assert failed.value.error["hint"].startswith("dashctl program install openclaw")


def test_a_doctor_that_says_nothing_is_a_failure(monkeypatch):
    doctor(monkeypatch, "")
    with pytest.raises(calling.Failure, match="said nothing of programs: broken"):
        cast.of("pi", {}, 20)
