"""`dashd doctor`: what it finds wrong, and that it says how to mend it."""

import dataclasses
import fcntl
import json
import os
import resource
import shutil
from pathlib import Path

import pytest

from dashd import config, doctor
from dashd.config import Config
from dashd.drivers import programs
from dashd.jail import launch, probe
from dashd.wire import tenant


@pytest.fixture
def healthy(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A state folder with a sound database and a living daemon's lock, on a machine with good walls."""
    monkeypatch.setattr(probe, "probe", lambda _: launch.Walls("B", "/usr/bin/bwrap", 7))
    state_dir = tmp_path / "state"
    (state_dir / "run").mkdir(parents=True)
    shutil.copy(empty_database, state_dir / "dash.db")
    (state_dir / "run/dashd.sock").touch()
    return _config(state_dir)


def _config(state_dir: Path, **environ: str) -> Config:
    around = {"HOME": str(state_dir / "home"), "DASH_STATE_DIR": str(state_dir), **environ}
    return config.load(around, {})


def _look(found: Config) -> dict[str, doctor.Finding]:
    findings = [check(found) for check in doctor._CHECKS]
    assert all(each.fix for each in findings if each.state != "ok"), findings
    assert not any(each.fix for each in findings if each.state == "ok"), findings
    return {each.name: each for each in findings}


def test_a_healthy_machine(healthy: Config, capsys: pytest.CaptureFixture[str]) -> None:
    with (healthy.daemon.socket.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert {each.state for each in _look(healthy).values()} == {"ok"}
        assert doctor.run(healthy, [], as_json=False) == 0
    printed = capsys.readouterr().out
    assert printed.count("ok    ") == 8
    assert "fix:" not in printed


def test_one_json_object(healthy: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(healthy, [], as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [set(each) for each in shown["findings"]] == [{"name", "state", "text", "fix"}] * 8
    assert shown["programs"] == []


def test_agent_programs_are_named_with_their_paths(
    healthy: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    pi = programs.Found("pi", "/p/cli.js", "/p", "configured")
    doctor.run(healthy, [pi], as_json=False)
    doctor.run(healthy, [pi], as_json=True)
    told, shown = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert "agent programs: pi (configured)" in told
    assert json.loads(shown)["programs"] == [{"name": "pi", "path": "/p/cli.js"}]
    doctor.run(healthy, [], as_json=False)
    assert "dashctl program install pi" in capsys.readouterr().out


def test_a_machine_that_has_never_run_dash(tmp_path: Path) -> None:
    found = _look(_config(tmp_path / "never/made"))
    assert (found["state folder"].state, found["database"].state) == ("ok", "ok")
    assert (found["socket"].state, found["socket"].fix) == ("warn", "dashctl up")


def test_a_socket_left_over(healthy: Config) -> None:
    (healthy.daemon.socket.parent / "lock").touch()
    found = _look(healthy)["socket"]
    assert (found.state, "left over" in found.text) == ("warn", True)


def test_a_daemon_that_cannot_be_reached_here(healthy: Config, tmp_path: Path) -> None:
    lock = os.open(tenant.lock_path(str(healthy.daemon.state_dir)), os.O_RDWR | os.O_CREAT)
    assert tenant.take(lock)
    tenant.note(lock, 7, str(tmp_path / "other.sock"))
    found = _look(healthy)["socket"]
    assert (found.state, found.fix) == ("fail", "dashctl restart")
    assert "dashd (pid 7) runs, but its socket" in found.text
    (tmp_path / "other.sock").touch()
    found = _look(healthy)["socket"]
    assert (found.state, f"pid 7) serves {tmp_path}/other.sock" in found.text) == ("warn", True)
    tenant.note(lock, 7, str(healthy.daemon.socket))
    assert "dashd (pid 7)" not in _look(healthy)["socket"].text
    os.close(lock)


def test_a_state_folder_in_which_others_may_write(healthy: Config) -> None:
    healthy.daemon.state_dir.chmod(0o777)
    found = _look(healthy)["state folder"]
    assert (found.state, found.fix) == ("fail", f"chmod 700 {healthy.daemon.state_dir}")


def test_a_socket_path_that_is_too_long(tmp_path: Path) -> None:
    found = _look(_config(tmp_path / ("x" * 110)))["socket"]
    assert (found.state, "the system allows" in found.text) == ("fail", True)
    assert found.fix.startswith("export DASH_SOCKET=")


def test_a_path_that_cannot_even_be_looked_at(tmp_path: Path) -> None:
    found = _look(_config(tmp_path, DASH_DB_PATH="/" + "x" * 300, DASH_SOCKET="/tmp/nowhere.sock"))
    assert found["database"].state == "ok"
    found = _look(_config(tmp_path / ("x" * 300)))
    assert found["state folder"].state == "ok"


@pytest.mark.parametrize("damage", ["garbage", "cut", "flipped"])
def test_a_damaged_database(healthy: Config, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = healthy.daemon.database
    content = bytearray(path.read_bytes())
    if damage == "garbage":
        content = bytearray(b"not a database at all" * 500)
    elif damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[4096:20_000] = b"\xff" * (20_000 - 4096)
    path.write_bytes(content)
    found = _look(healthy)["database"]
    assert found.state == "fail"
    assert str(path) in found.text
    assert "backup" in found.fix
    assert doctor.run(healthy, [], as_json=False) == 1
    assert "fix: restore" in capsys.readouterr().out


def test_a_name_that_means_something_in_a_uri(tmp_path: Path, empty_database: Path) -> None:
    path = Path(shutil.copy(empty_database, tmp_path / "odd?name#x%20.db"))
    found = _look(_config(tmp_path, DASH_DB_PATH=str(path)))["database"]
    assert (found.state, "quick_check ok" in found.text) == ("ok", True)


def test_it_leaves_a_database_as_it_is(healthy: Config) -> None:
    before = healthy.daemon.database.read_bytes()
    _look(healthy)
    assert healthy.daemon.database.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert _look(_config(tmp_path))["state folder"].state == "fail"


def test_a_disk_that_is_nearly_full(healthy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = _look(healthy)["state folder"]
    assert (found.state, "100 MiB left" in found.text) == ("warn", True)


def test_too_few_open_files(healthy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 512))
    found = _look(healthy)["open files"]
    assert (found.state, found.fix) == ("warn", "ulimit -Hn 1024")


def test_a_low_soft_limit_is_raised_by_dashd_itself(healthy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    found = _look(healthy)["open files"]
    assert (found.state, found.text) == ("ok", "limit 4096")


def test_what_is_configured_and_what_is_not_used(tmp_path: Path) -> None:
    found = _look(_config(tmp_path))["configuration"]
    assert found.text == "daemon.state_dir (environment)"
    found = _look(_config(tmp_path, DASH_REDIS_URL="x"))["configuration"]
    assert (found.state, found.text) == ("warn", "DASH_REDIS_URL is not used")


def test_a_failure_is_an_exit_code(healthy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_config: Config) -> doctor.Finding:
        return doctor.Finding("x", "fail", "is wrong", "mend it")

    monkeypatch.setattr(doctor, "_CHECKS", (broken,))
    assert doctor.run(healthy, [], as_json=True) == 1
    assert dataclasses.asdict(broken(healthy))["fix"] == "mend it"


def test_a_database_that_cannot_be_opened_says_why(healthy: Config) -> None:
    healthy.daemon.database.unlink()
    healthy.daemon.database.mkdir()
    found = _look(healthy)["database"]
    assert (found.state, str(healthy.daemon.database) in found.text) == ("fail", True)


@pytest.mark.parametrize(
    ("grade", "least", "state", "text"),
    [
        ("A", "B", "ok", "grade A"),
        ("B", "B", "ok", "grade B: no cgroup"),
        ("B", "A", "fail", "grade B: no cgroup; agents need grade A"),
        ("C", "C", "warn", "grade C: no bubblewrap"),
        ("C", "B", "fail", "grade C: no bubblewrap; agents need grade B"),
        ("0", "C", "fail", "grade 0: no bubblewrap; agents need grade C"),
    ],
)
def test_walls_are_told_with_what_would_make_them_better(grade, least, state, text, healthy, monkeypatch):
    why = {"A": "", "B": "no cgroup"}.get(grade, "no bubblewrap")
    monkeypatch.setattr(probe, "probe", lambda _: launch.Walls(grade, why=why, fix=why and "install it"))
    found = _look(_config(healthy.daemon.state_dir, DASH_JAIL_GRADE_MIN=least))["walls"]
    assert (found.state, found.text) == (state, text)
    assert found.fix == ("" if state == "ok" else "install it")


def test_folders_that_cannot_be_mounted_in_folders_are_a_warning(healthy, monkeypatch):
    walls = launch.Walls("B", why="some are refused", fix="allow it", nesting="")
    monkeypatch.setattr(probe, "probe", lambda _: walls)
    found = _look(_config(healthy.daemon.state_dir))["walls"]
    assert (found.state, found.text, found.fix) == ("warn", "grade B: some are refused", "allow it")


def test_walls_that_nobody_asks_for_are_a_warning(healthy):
    assert _look(_config(healthy.daemon.state_dir, DASH_JAIL_REQUIRED="false"))["walls"].state == "warn"
