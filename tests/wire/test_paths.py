"""Daemon and clients find the same place."""

import pytest

from dashd.wire import paths


@pytest.mark.parametrize(
    ("environ", "socket", "state"),
    [
        ({"HOME": "/h"}, "/h/.local/state/dash/run/dashd.sock", "/h/.local/state/dash"),
        (
            {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/7"},
            "/run/user/7/dash/dashd.sock",
            "/h/.local/state/dash",
        ),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/dash/run/dashd.sock", "/s/dash"),
        ({"HOME": "/h", "XDG_RUNTIME_DIR": "/r", "DASH_STATE_DIR": "/d"}, "/d/run/dashd.sock", "/d"),
        ({"HOME": "/h", "DASH_STATE_DIR": "/d", "DASH_SOCKET": "/x/y.sock"}, "/x/y.sock", "/d"),
    ],
)
def test_where(environ, socket, state):
    assert paths.socket_path(environ) == socket
    assert paths.state_dir(environ) == state


def test_relative_and_home_paths_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    assert paths.socket_path({"DASH_SOCKET": "a.sock"}) == str(tmp_path / "a.sock")
    assert paths.state_dir({"DASH_STATE_DIR": "~/d"}) == "/h/d"


def test_a_path_that_is_too_long_says_so_with_the_remedy():
    assert paths.too_long("/" + "x" * (paths.SOCKET_PATH_BYTES_MAX - 1)) is None
    wrong, remedy = paths.too_long("/" + "ä" * 60)
    assert "has 121 bytes" in wrong
    assert f"allows {paths.SOCKET_PATH_BYTES_MAX}" in wrong
    assert remedy.startswith("export DASH_SOCKET=/tmp/dash-")
