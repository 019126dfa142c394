"""Which walls the demo says its agents have."""

import json
import subprocess

import pytest

from dashctl import calling
from dashctl.demo import walls


def doctor(monkeypatch, **finding) -> None:
    said = json.dumps({"findings": [{"name": "walls", "fix": "install it", "state": "ok", **finding}]})
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


@pytest.mark.parametrize(("text", "letter"), [("grade B", "B"), ("grade C: no bubblewrap", "C")])
def test_the_grade_is_the_doctor_s(text, letter, monkeypatch):
    doctor(monkeypatch, text=text)
    assert walls.grade({}) == letter
    assert letter in walls.told(letter)
    assert len(walls.told(letter)) < 30


def test_no_walls_at_all_break_off_with_the_remedy(monkeypatch):
    doctor(monkeypatch, state="fail", text="grade 0: the kernel has no Landlock")
    with pytest.raises(calling.Failure, match="no walls can be put around the agents") as failed:
        walls.grade({})
    assert failed.value.error["hint"] == "install it"


def test_a_doctor_that_says_nothing_is_a_failure(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "broken"))
    with pytest.raises(calling.Failure, match="said nothing of walls: broken"):
        walls.grade({})
