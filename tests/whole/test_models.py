"""An agent's model is what was set last, also where that was before its attempt began."""

import pytest

from tests.whole.door import open_door

pytestmark = pytest.mark.slow


async def test_an_agents_model_is_swapped_and_paid_for(start_daemon, gate, tmp_path):
    daemon = start_daemon(DASH_MAX_AGENTS="1")
    async with open_door(daemon.socket) as dash:
        first = await dash.swarm('read -r _ < "$1"', gate.path)
        await dash.events(first["id"], "agent.started")
        made = await dash.call(
            "swarm.create", task="Write a note", driver="embedded", budget=1.0, cwd=str(tmp_path)
        )
        dash.swarms.append(made["id"])
        assert any("no provider is configured" in note for note in made["notes"]), made["notes"]
        agent = f"{made['id']}-001"
        swapped = await dash.call("agent.set_model", agent=agent, model="offline-b")
        assert (swapped["first"], swapped["changed"]) == ("offline-b", True)
        assert (await dash.call("agent.get", agent=agent))["model"] == "offline-b"
        gate.let()
        assert (await dash.ended(made["id"]))["outcome"] == "complete"
        costs = await dash.call("swarm.costs", swarm=made["id"])
        assert [line["key"] for line in costs["models"]] == ["offline-b"]
