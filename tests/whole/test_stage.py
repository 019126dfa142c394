"""A staged dashd: everybody can see that it is one, its bill stays, and nobody gets it by accident."""

import json

import pytest
import trio

from tests.whole import daemons, door

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(tmp_path_factory):
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("k"))
    yield made
    made.end()


async def _worked(dash, folder):
    created = await dash.call(
        "swarm.create", task="`true`", cwd=str(folder), driver="embedded", budget=1, items=["a.py"], agents=1
    )
    assert (await dash.ended(created["id"]))["outcome"] == "complete"
    return created["id"]


async def test_it_says_so_bills_on_disk_and_fails_over(daemon, tmp_path):
    stage = tmp_path / "stage"
    (stage / "down").mkdir(parents=True)
    daemon.start("--stage", str(stage))
    async with door.open_door(daemon.socket) as dash:
        assert "on a stage" in " ".join((await dash.call("daemon.status"))["warnings"])
        assert "on a stage" in (await dash.call("model.list"))["why_default"]
        (stage / "down" / "offline").touch()
        swarm = await _worked(dash, tmp_path)
        rows = (await dash.call("budget.export", swarm=swarm))["rows"]
        health = {each["provider"]: each["health"] for each in (await dash.call("model.list"))["models"]}
        assert health["offline"] == "down"
        (first, *_) = await dash.events(swarm, "model.failover")
        assert (first["data"]["from"], first["data"]["to"]) == ("offline/offline", "offline-b/offline")
    bill = [json.loads(line) for line in (stage / "bill.jsonl").read_text().splitlines()]
    assert {(line["provider"], line["item"]) for line in bill} == {("offline-b", "a.py")}
    assert [line["nusd"] for line in bill] == [round(row["usd"] * 1e9) for row in rows if row["usd"]]


async def test_without_the_flag_there_is_none_whatever_the_environment_says(start_daemon, tmp_path):
    daemon = start_daemon(DASH_STAGE=str(tmp_path), STAGE=str(tmp_path))
    async with door.open_door(daemon.socket) as dash:
        (tmp_path / "down").mkdir()
        (tmp_path / "down" / "offline").touch()
        assert "stage" not in json.dumps(await dash.call("daemon.status"))
        swarm = await _worked(dash, tmp_path)
        rows = (await dash.call("budget.export", swarm=swarm))["rows"]
        assert {row["provider"] for row in rows} == {"offline"}
    assert not (tmp_path / "bill.jsonl").exists()


async def test_it_does_not_start_where_a_real_provider_is_known(daemon, tmp_path):
    daemon.start()
    async with door.open_door(daemon.socket) as dash:
        await dash.call(
            "provider.add", name="real", format="openai-chat", url="http://127.0.0.1:9/v1", models=["m"]
        )
    assert await trio.to_thread.run_sync(daemon.stop, "stop") == 0
    with pytest.raises(AssertionError, match="are real providers: real"):
        daemon.start("--stage", str(tmp_path))
