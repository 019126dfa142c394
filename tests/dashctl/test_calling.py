"""What a failed call means for a shell, and what repeats safely."""

import os

import pytest

from dashctl import calling
from dashd import client_blocking
from dashd.wire import errors, tenant
from dashd.wire.methods import rpc


@pytest.mark.parametrize("kind", errors.BY_KIND.values(), ids=lambda kind: kind.__name__)
def test_the_exit_code_is_the_one_of_the_wire(kind: type[errors.DashError]):
    assert calling.exit_code(client_blocking.Refused(kind().to_wire())) == kind.exit_code


def test_an_unreachable_daemon_is_69_a_forbidden_socket_5_a_deadline_6():
    assert calling.exit_code(client_blocking.Unreachable("absent", "")) == 69
    assert calling.exit_code(client_blocking.Unreachable("denied", "")) == 5
    assert calling.exit_code(client_blocking.DeadlinePassed("")) == 6
    assert calling.exit_code(client_blocking.ProtocolBroken("")) == 1


def test_parameters_that_are_none_are_not_sent(dashd):
    dash = calling.Dash({"DASH_SOCKET": dashd.path})
    dash.call("swarm.list", limit=5, cursor=None)
    dash.close()
    assert dashd.asked("swarm.list") == [{"limit": 5}]


def test_a_creation_has_a_key_of_its_own_or_the_one_given(dashd):
    dash = calling.Dash({"DASH_SOCKET": dashd.path})
    for key in (None, None, "k"):
        dash.create("swarm.create", key=key, task="x")
    dash.close()
    keys = [params["idempotency_key"] for params in dashd.asked("swarm.create")]
    assert len(set(keys)) == 3
    assert keys[2] == "k"


def test_a_creation_whose_answer_was_lost_says_how_to_repeat_it(dashd, tmp_path):
    dash = calling.Dash({"DASH_SOCKET": dashd.path, "DASH_STATE_DIR": str(tmp_path)})
    dash.call("daemon.ping")
    dashd.die()
    with pytest.raises(client_blocking.Unreachable) as lost:
        dash.create("swarm.create", key="k1", task="x")
    assert "--key k1" in lost.value.hint
    dash.close()
    with pytest.raises(client_blocking.Unreachable) as never_sent:
        dash.create("swarm.create", key="k1", task="x")
    assert never_sent.value.hint == "dashctl up"


def test_where_the_socket_is(tmp_path):
    assert calling.Dash({"DASH_STATE_DIR": str(tmp_path)}).socket_path == f"{tmp_path}/run/dashd.sock"
    dash = calling.Dash({})
    dash.at("/elsewhere")
    assert dash.socket_path == "/elsewhere"


@pytest.fixture
def works_in(tmp_path):
    """`works_in(socket)`: a dashd with that socket works in the state folder `tmp_path`, pid 7."""
    opened = []

    def work(socket: str) -> None:
        fd = os.open(tenant.lock_path(str(tmp_path)), os.O_RDWR | os.O_CREAT)
        opened.append(fd)
        assert tenant.take(fd)
        tenant.note(fd, 7, socket)

    yield work
    for fd in opened:
        os.close(fd)


def test_a_daemon_that_serves_another_socket_is_found_by_its_note(dashd, works_in, tmp_path):
    works_in(dashd.path)
    dash = calling.Dash({"DASH_STATE_DIR": str(tmp_path)})
    assert dash.call("daemon.ping")["pid"] == 1
    assert dash.socket_path == dashd.path
    dash.forget()
    assert dash.socket_path == str(tmp_path / "run" / "dashd.sock")


def test_a_socket_named_by_hand_is_meant(dashd, works_in, tmp_path):
    works_in(dashd.path)
    dash = calling.Dash({"DASH_STATE_DIR": str(tmp_path), "DASH_SOCKET": str(tmp_path / "none")})
    with pytest.raises(
        client_blocking.Unreachable, match=r"no socket at .*none; dashd \(pid 7\) of "
    ) as caught:
        dash.call("daemon.ping")
    assert f"--socket {dashd.path}" in caught.value.hint
    assert not isinstance(caught.value, calling.Unheard)  # so that `down` leaves it alone
    assert calling.exit_code(caught.value) == 69


@pytest.mark.parametrize("noted", ["{}/gone", "{}/run/dashd.sock"])
def test_a_daemon_whose_socket_is_gone_is_named(works_in, tmp_path, noted):
    works_in(noted.format(tmp_path))
    with pytest.raises(calling.Unheard, match=r"runs, but its socket .* is gone") as caught:
        calling.Dash({"DASH_STATE_DIR": str(tmp_path)}).call("daemon.ping")
    assert caught.value.hint.startswith("dashctl restart")
    assert (caught.value.pid, caught.value.state_dir) == (7, str(tmp_path))


def test_a_key_in_the_environment_says_who_speaks(dashd):
    dashd.on("rpc.hello", rpc.Welcome(version="", actor="operator", uid=1, methods=[]))
    dash = calling.Dash({"DASH_SOCKET": dashd.path, "DASH_KEY": "good"})
    dash.call("daemon.ping")
    dash.call("daemon.ping")
    dash.close()
    assert dashd.asked("rpc.hello") == [{"client": "dashctl", "key": "good"}]


def test_a_key_that_dashd_does_not_know_stops_the_command(dashd):
    dashd.on("rpc.hello", errors.Unauthorized())
    dash = calling.Dash({"DASH_SOCKET": dashd.path, "DASH_KEY": "bad"})
    with pytest.raises(client_blocking.Refused) as refused:
        dash.call("daemon.ping")
    assert calling.exit_code(refused.value) == 5
    assert dashd.asked("daemon.ping") == []
