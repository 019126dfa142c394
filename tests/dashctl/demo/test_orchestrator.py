"""The orchestrator's side: a real MCP server as a child, in front of a scripted dashd."""

import os

import pytest
import trio

from dashctl import calling, daemon_process
from dashctl.demo import orchestrator
from dashd.wire.methods import event
from tests.fakes import daemon as fake

pytestmark = pytest.mark.slow


async def test_a_swarm_costs_three_calls_and_the_audience_is_not_counted(tmp_path):
    path = str(tmp_path / "dashd.sock")
    with trio.fail_after(60):
        async with (
            fake.open_daemon(path) as dashd,
            orchestrator.open_session(
                path,
                cwd=tmp_path,
                environ=daemon_process.environ_of(os.environ),
                log=tmp_path / "mcp.log",
            ) as session,
        ):
            ended = event.Events(events=[fake.an_event(9, "swarm.completed")], cursor=9, more=False)
            dashd.on("event.wait", ended)
            dashd.on("event.list", ended)
            created = await session.call("swarm_create", task="t", argv=["true"])
            found, cursor, ended = await session.events(
                created["id"], created["cursor"], ["task.*"], timeout_s=0
            )
            await session.wait_ended(created["id"], created["cursor"])
            report = await session.call("swarm_report", swarm=created["id"])
            assert dashd.asked("swarm.create")[0]["cwd"] == str(tmp_path)
            assert ([each["kind"] for each in found], cursor) == (["swarm.completed"], 9)
            assert not ended  # the swarm that is asked for its state is active
            assert report["summary"] == "19 of 20 tasks done."
            assert session.calls == {"swarm_create": 1, "event_wait": 1, "swarm_report": 1}
            with pytest.raises(calling.Failure, match=r"refused swarm_get: .*no such swarm"):
                await session.call("swarm_get", swarm="nobody")
