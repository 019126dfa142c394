"""A jail made ready: what is opened, what is told to whom, and that nothing of it is in sight."""

import os

import pytest

from dashd.jail import agent_jail, launch
from dashd.jail.agent_jail import AgentJail, BadFolder
from tests.jail import inside


def test_what_was_opened_is_closed_even_after_a_failure(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    binds = [[str(tmp_path), str(tmp_path), "", True], ["/gone", "/gone", "", False]]
    jail = AgentJail(
        {"bwrap": "bwrap", "options": [], "binds": binds, "finish": [], "stage": ["p"], "policy": {}}
    )
    with pytest.raises(BadFolder):
        jail.prepare(["x"], ["x"], {})
    jail.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_options_are_in_memory_and_not_in_argv(tmp_path):
    binds = [[str(tmp_path), str(tmp_path), "", False]]
    plan = {"bwrap": "/b", "options": ["--x"], "binds": binds, "finish": ["--y"], "stage": ["p"]}
    jail = AgentJail({**plan, "policy": {}})
    jail.prepare(["agent", "--token=s3cret"], ["agent"], {"KEY": "s3cret"})
    try:
        assert "s3cret" not in " ".join(jail.command(9))
        options = os.pread(jail._options, 4096, 0).split(b"\0")
        assert options == [
            b"--seccomp",
            str(jail.fds[-2]).encode(),
            b"--x",
            b"--ro-bind",
            f"/proc/self/fd/{jail.fds[0]}".encode(),
            os.fsencode(tmp_path),
            b"--y",
            b"",
        ]
    finally:
        jail.close()


def test_the_stage_comes_compiled(tmp_path, monkeypatch):
    """It is not looked for inside, where nothing that was compiled could be kept."""
    monkeypatch.setattr(launch, "_STAGE", launch._STAGE.replace(launch.CODE, "/nowhere"))
    ended = inside.enter("B", tmp_path, "echo began")
    assert (ended.output, ended.news[-1]) == ("began\n", b"ready")


@pytest.mark.parametrize("grade", inside.GRADES)
def test_a_python_that_cannot_read_what_was_compiled_compiles_it(grade, tmp_path, monkeypatch):
    agent_jail._stage_modules.cache_clear()
    monkeypatch.setattr(agent_jail._frozen_importlib_external, "MAGIC_NUMBER", b"abc\n")
    try:
        ended = inside.enter(grade, tmp_path, "echo began")
    finally:
        agent_jail._stage_modules.cache_clear()
    assert (ended.output, ended.news[-1]) == ("began\n", b"ready")
