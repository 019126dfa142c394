"""Composition: what the innermost ring watches, and one whole life."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
import trio
import trio.testing

from dashd import app, config
from dashd.app import StopRequest
from dashd.client import open_client
from dashd.runtime.trouble import Trouble
from dashd.service.core import Daemon
from dashd.store import open_store
from dashd.wire import errors, tenant
from tests.fakes.clock import FixedClock
from tests.whole.daemons import WITHOUT_WALLS

# --- what the rings watch -----------------------------------------------------------------------------------


async def test_the_first_request_to_stop_decides() -> None:
    stop = StopRequest()
    stop("stop")
    stop("detach")
    assert (stop.agents, stop.event.is_set()) == ("stop", True)


def test_two_daemons_do_not_share_a_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with app._only_one(state, Path("/run/x.sock")):
        assert tenant.find(str(state)) == (os.getpid(), "/run/x.sock")
        second = app._only_one(state, Path("/run/y.sock"))
        with pytest.raises(errors.Conflict, match=rf"pid {os.getpid()}, socket /run/x\.sock") as caught:
            second.__enter__()
        assert "another dashd" in caught.value.message
        assert "dashctl restart" in caught.value.hint
    assert (tenant.find(str(state)), (state / "dashd.lock").read_bytes()) == (None, b"")
    with app._only_one(state, Path("/run/y.sock")):
        assert state.stat().st_mode & 0o777 == 0o700


def test_who_has_left_no_note_is_refused_all_the_same(tmp_path: Path) -> None:
    with app._only_one(tmp_path, Path("/x")):
        (tmp_path / "dashd.lock").write_bytes(b"")
        with pytest.raises(errors.Conflict, match=r"^another dashd works in "):
            app._only_one(tmp_path, Path("/y")).__enter__()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_in_which_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(errors.Forbidden, match=f"mode {mode:04o}") as caught:
        app._only_one(tmp_path, Path("/x")).__enter__()
    assert caught.value.hint == f"chmod 700 {tmp_path}"
    tmp_path.chmod(0o755)
    with app._only_one(tmp_path, Path("/x")):
        assert tenant.find(str(tmp_path)) is not None


def test_a_busy_error_from_within_is_not_taken_for_another_daemon(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), app._only_one(tmp_path, Path("/x")):
        raise BlockingIOError


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(errors.Unavailable, match=r"file/dashd\.lock") as caught,
        app._only_one(tmp_path / "file", Path("/x")),
    ):
        pass
    assert "DASH_STATE_DIR" in caught.value.hint


async def test_trouble_is_shown_as_long_as_it_lasts(nursery, autojump_clock) -> None:
    world = SimpleNamespace(trouble=Trouble())
    daemon = Daemon("v", 1, 1, 0, "s", state="ready", warnings=["x"])
    nursery.start_soon(app._show_trouble, world, daemon)
    shown = []
    for change in (lambda: None, lambda: world.trouble.say("full"), lambda: world.trouble.say("fuller"),
                   world.trouble.clear):  # fmt: skip
        change()
        await trio.testing.wait_all_tasks_blocked()
        shown.append((daemon.shown_state, list(daemon.troubles)))
    assert shown == [("ready", []), ("degraded", ["full"]), ("degraded", ["fuller"]), ("ready", [])]
    assert daemon.warnings == ["x"]


@pytest.mark.parametrize("damaged", [False, True])
async def test_a_damaged_database_stops_new_starts_and_says_so(database_path: Path, damaged: bool) -> None:
    if damaged:
        db = apsw.Connection(str(database_path))
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event_swarm'").get
        db.close()
        with database_path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 100)
    daemon = Daemon("v", 1, 1, 0, "s", state="ready")
    starts = trio.CancelScope()
    with trio.fail_after(20):
        async with open_store(database_path, FixedClock()) as store:
            await app._check_database(store, daemon, starts)
            assert (starts.cancel_called, daemon.shown_state) == (damaged, "degraded" if damaged else "ready")
            assert store.tail.last_seq == int(damaged)


async def test_a_daemon_dies_with_its_store() -> None:
    broken = trio.Event()
    broken.set()
    with trio.fail_after(5), pytest.raises(errors.StoreBroken):
        await app._die_with_the_store(SimpleNamespace(writer=SimpleNamespace(broken=broken)))  # type: ignore[arg-type]


# --- one whole life -----------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> config.Config:
    return config.load({"HOME": str(tmp_path), "DASH_STATE_DIR": str(tmp_path / "s"), **WITHOUT_WALLS}, {})


@pytest.mark.slow
async def test_a_daemon_serves_runs_an_agent_and_ends_it_on_request(
    settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            ready: list[str] = []
            served = trio.Event()

            def tell(path: str) -> None:
                ready.append(path)
                served.set()

            async def live() -> None:
                await app.run(settings, ready=tell)

            nursery.start_soon(live)
            await served.wait()
            assert ready == [str(settings.daemon.socket)]
            async with open_client(ready[0]) as dash:
                argv = ["sh", "-c", "env; echo started; exec sleep 60"]
                made = await dash.call(
                    "swarm.create",
                    {"task": "t", "argv": argv, "cwd": str(tmp_path), "limits": {"grace_s": 5}},
                )
                agent = f"{made.id}-001"
                logs = await dash.call("agent.logs", {"agent": agent})
                while "started" not in logs.text:
                    logs = await dash.call("agent.logs", {"agent": agent, "wait_s": 10})
                assert "canary" not in logs.text
                assert f"DASH_AGENT={agent}" in logs.text
                with pytest.raises(errors.InvalidParams):
                    await dash.call("agent.logs", {"agent": agent, "offset": 3})
                await dash.call("daemon.stop", {"agents": "stop"})
        # The agent was ended, its task given back, and nobody waited for a time limit.
    async with open_store(settings.daemon.database, FixedClock()) as store:
        states = await store.reader.read(
            lambda db: db.execute("SELECT t.state, a.state, a.stop FROM task t JOIN attempt a").fetchall()
        )
        events = await store.reader.read(
            lambda db: [json.loads(body)["kind"] for (body,) in db.execute("SELECT body FROM event")]
        )
    assert states == [("ready", "cancelled", "requeue")]
    assert events[-3:] == ["task.retrying", "task.ready", "agent.status"]


@pytest.mark.slow
async def test_a_signal_ends_it_and_a_second_daemon_is_refused_meanwhile(settings: config.Config) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            served = trio.Event()

            async def live() -> None:
                await app.run(settings, ready=lambda path: served.set())

            nursery.start_soon(live)
            await served.wait()
            with pytest.RaisesGroup(errors.Conflict, flatten_subgroups=True):
                await app.run(settings, ready=lambda path: None)
            os.kill(os.getpid(), signal.SIGTERM)
    assert not settings.daemon.socket.exists()
