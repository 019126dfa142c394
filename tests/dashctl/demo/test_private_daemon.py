"""The demo's own dashd, for real: it comes, is killed, comes again and is gone at the end."""

import os

import pytest
import trio

from dashctl import calling
from dashctl.demo import private_daemon
from dashd import client_blocking

pytestmark = pytest.mark.slow


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_serves_is_killed_and_serves_again(tmp_path):
    with trio.fail_after(60):
        async with private_daemon.serving(tmp_path, os.environ) as daemon:
            first = daemon.pid
            await daemon.kill()
            assert not alive(first)
            await daemon.start()
            with client_blocking.Client(daemon.socket) as dash:
                assert dash.call("daemon.ping")["pid"] == daemon.pid != first
            assert (await daemon.ask("daemon.status"))["warnings"] == []
            with pytest.raises(calling.Failure, match=r"swarm.get failed: .*nobody"):
                await daemon.ask("swarm.get", swarm="nobody")
            second = daemon.pid
        assert not alive(second)


async def test_with_a_stage_it_says_so(tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir()
    with trio.fail_after(60):
        async with private_daemon.serving(tmp_path, os.environ, stage=stage) as daemon:
            (warning,) = (await daemon.ask("daemon.status"))["warnings"]
            assert str(stage) in warning


async def test_one_that_cannot_start_says_why(tmp_path):
    (tmp_path / "state").write_text("not a folder")
    with trio.fail_after(30), pytest.raises(calling.Failure, match="did not start"):
        async with private_daemon.serving(tmp_path, os.environ):
            raise AssertionError("it cannot serve")


async def test_a_socket_path_that_no_kernel_takes_is_refused_before_anything_starts(tmp_path):
    folder = tmp_path / ("x" * 100)
    with pytest.raises(calling.Failure, match="too long for a socket"):
        async with private_daemon.serving(folder, os.environ):
            raise AssertionError("it cannot serve")
    assert not folder.exists()


def test_the_users_settings_are_kept_away_from_it(tmp_path):
    environ = private_daemon.private(
        {"DASH_SOCKET": "/mine", "DASH_MAX_AGENTS": "1", "XDG_CONFIG_HOME": "/mine", "LANG": "C"}, tmp_path
    )
    assert {name for name in environ if name.startswith("DASH_")} == {"DASH_JAIL_GRADE_MIN"}
    assert environ["LANG"] == "C"
    assert environ["XDG_CONFIG_HOME"] == str(tmp_path / "config")
