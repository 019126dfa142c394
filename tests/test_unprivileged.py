"""Started by root: refused without a name to go on as, and never root once it serves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashd import config, unprivileged
from dashd.wire import errors

TOP = Path(__file__).parents[1]
SOMEBODY = 60707


def loaded(tmp_path: Path, **environ: str) -> config.Config:
    return config.load({"HOME": str(tmp_path), "DASH_STATE_DIR": str(tmp_path / "state"), **environ}, {})


def test_where_nobody_is_root_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    unprivileged.leave_root(loaded(tmp_path, DASH_RUN_AS="7"), {})
    assert not (tmp_path / "state").exists()


def test_root_without_a_name_to_go_on_as_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(config.BadConfig, match="does not run as root") as refused:
        unprivileged.leave_root(loaded(tmp_path), {})
    assert "DASH_RUN_AS" in refused.value.hint


def test_root_itself_is_no_such_name(tmp_path):
    with pytest.raises(config.BadConfig):
        loaded(tmp_path, DASH_RUN_AS="0")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is shut to root")
def test_the_first_folder_that_shuts_one_out_is_named(tmp_path):
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    assert unprivileged.first_shut(deep) is None
    assert unprivileged.first_shut(deep / "not" / "there") is None
    os.chmod(tmp_path / "a", 0)
    try:
        assert unprivileged.first_shut(deep) == str(tmp_path / "a")
        assert unprivileged.first_shut(tmp_path / "link") == str(tmp_path / "a")
    finally:
        os.chmod(tmp_path / "a", 0o700)


def dashd(tmp_path: Path, **environ: str) -> tuple[int, str, str]:
    """Runs `dashd run` until READY or its end, as root: (uid it serves as or -1, its line, stderr)."""
    reader, writer = os.pipe()
    state = str(tmp_path / "state")
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), "DASH_STATE_DIR": state, "HOME": "/root"}
    argv = [sys.executable, "-m", "dashd", "run", "--ready-fd", str(writer)]
    process = subprocess.Popen(
        argv, env=kept | environ, pass_fds=[writer], stderr=subprocess.PIPE, text=True, cwd="/"
    )
    os.close(writer)
    with os.fdopen(reader) as ready:
        line = ready.readline()
    uid = -1
    if line.startswith("READY"):
        with open(f"/proc/{process.pid}/status") as status:
            uid = int(next(each for each in status if each.startswith("Uid:")).split()[1])
        process.terminate()
    stderr = process.communicate(timeout=30)[1]
    return uid, line, stderr


@pytest.fixture
def reachable():
    """A folder that others can enter, which pytest's own is not."""
    import shutil
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="dash-root-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.root
def test_started_by_root_it_serves_as_somebody_else(reachable):
    (reachable / "state").mkdir()
    (reachable / "state" / "left").write_text("by root")
    uid, line, stderr = dashd(reachable, DASH_RUN_AS=str(SOMEBODY))
    assert (uid, line.split()[0]) == (SOMEBODY, "READY"), stderr
    for path in (reachable / "state", reachable / "state" / "left", reachable / "state" / "dash.db"):
        assert os.stat(path).st_uid == SOMEBODY


@pytest.mark.root
def test_a_folder_that_shuts_it_out_is_named_and_nothing_is_touched(reachable):
    (reachable / "shut").mkdir(mode=0o700)
    state = reachable / "shut" / "state"
    uid, line, _ = dashd(reachable, DASH_RUN_AS=str(SOMEBODY), DASH_STATE_DIR=str(state))
    assert uid == -1
    assert f"cannot enter {reachable}/shut, which is on the way to the state folder" in line
    assert not state.exists()


@pytest.mark.root
def test_as_root_alone_it_does_not_start(reachable):
    uid, line, stderr = dashd(reachable)
    assert uid == -1
    assert line.startswith("FAILED dashd does not run as root")
    assert "DASH_RUN_AS" in stderr


@pytest.mark.root
def test_what_root_may_not_become_is_an_error(monkeypatch):
    monkeypatch.setattr(unprivileged, "become", lambda _: 1 / 0)
    with pytest.raises(errors.Forbidden, match="may not become"):
        unprivileged.as_user(SOMEBODY, lambda: None)
