"""The self-test: everything it looks at, found open where it is open."""

import os
import socket

import pytest

from dashd.jail import launch, selftest
from tests.jail import inside

CLOSED = {"files": [], "sockets": [], "ports": [], "isolated": False}


def found(**expected) -> str:
    """What this process, which is in no jail, finds."""
    control = os.dup(0)
    try:
        return "; ".join(selftest.openings(CLOSED | expected, control))
    finally:
        os.close(control)


def test_outside_everything_is_found_open(tmp_path):
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as door, inside.outside_port() as port:
        door.bind(str(tmp_path / "door"))
        door.listen(1)
        number = port.getsockname()[1]
        said = found(files=[f"{tmp_path}/file"], sockets=[f"{tmp_path}/door"], ports=[number], isolated=True)
    for opening in (
        f"{tmp_path}/file can be read",
        f"{tmp_path}/file can be written",
        f"{tmp_path}/door can be connected to",
        f"port {number} outside can be connected to",
        "NoNewPrivs is",
        "Seccomp is",
        "processes are in sight",
    ):
        assert opening in said


def test_what_is_not_there_is_closed(tmp_path):
    said = found(files=[f"{tmp_path}/none"], sockets=[f"{tmp_path}/none"], ports=[1])
    assert "none" not in said
    assert "port" not in said


@pytest.mark.parametrize(
    ("layer", "opening"),
    [("unshare-pid", "processes are in sight"), ("unshare-net", "network interfaces are in sight")],
)
def test_a_namespace_that_is_missing_is_seen_from_inside(layer, opening, tmp_path, monkeypatch):
    planned = launch.plan
    monkeypatch.setattr(
        launch,
        "plan",
        lambda *arguments, **options: (
            plan := planned(*arguments, **options),
            plan["options"].remove(f"--{layer}"),
            plan,
        )[-1],
    )
    ended = inside.enter("B", tmp_path, "echo began")
    assert opening in ended.news[-1].decode()
    assert ended.output == ""
