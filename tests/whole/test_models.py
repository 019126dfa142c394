"""An agent's model is what was set last: before its attempt began, while it runs, and by what it must be."""

import pytest

from tests.whole.door import Refused, open_door

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


async def test_a_running_agent_s_next_call_goes_to_the_new_model(start_daemon, gate, tmp_path):
    daemon = start_daemon()
    async with open_door(daemon.socket) as dash:
        made = await dash.call(
            "swarm.create",
            task=f"`read -r _ < {gate.path}`, then `true`",
            driver="embedded",
            budget=1.0,
            cwd=str(tmp_path),
            model={"prefer": "cost", "fallback_allowed": False},
        )
        dash.swarms.append(made["id"])
        agent = f"{made['id']}-001"
        await dash.events(made["id"], "model.call")
        before = await dash.call("agent.get", agent=agent)
        await dash.call("agent.set_model", agent=agent, model="offline-b")
        gate.let()
        report = await dash.ended(made["id"])
        assert (report["outcome"], report["attempts"]["total"], before["state"]) == ("complete", 1, "running")
        calls = (await dash.call("budget.export", swarm=made["id"]))["rows"]
        assert [call["model"] for call in calls] == ["offline", "offline-b", "offline-b"]


async def test_a_model_may_be_what_it_must_be(dash, tmp_path):
    given = {"task": "Write a note", "driver": "embedded", "budget": 1.0, "cwd": str(tmp_path)}
    with pytest.raises(Refused, match="with these capabilities"):
        await dash.call("swarm.create", **given, model={"capabilities": ["flight"]})
    with pytest.raises(Refused) as refused:
        await dash.call("swarm.create", **given, model={"prefer": "luck"})
    assert refused.value.category in ("validation_error", "invalid_request")
    await dash.call("model.set", model="offline-b", capabilities=["notes"])
    made = await dash.call("swarm.create", **given, model={"capabilities": ["notes"], "cost_limit": 100})
    dash.swarms.append(made["id"])
    assert (await dash.ended(made["id"]))["outcome"] == "complete"
    costs = await dash.call("swarm.costs", swarm=made["id"])
    assert [line["key"] for line in costs["models"]] == ["offline-b"]
    shown = (await dash.call("swarm.get", swarm=made["id"]))["model"]
    assert shown == '{"capabilities":["notes"],"cost_limit":100.0}'
    assert (await dash.call("swarm.plan", **given, model=shown))["model"] == "offline-b"


async def test_a_model_in_a_format_that_its_program_does_not_speak_is_never_begun(
    start_daemon, gate, tmp_path
) -> None:
    """Nothing is called: neither of them is there."""
    daemon = start_daemon()
    url = "http://127.0.0.1:1/v1"
    async with open_door(daemon.socket) as dash:
        for model, form in (("chat-x", "openai-chat"), ("claude-x", "anthropic")):
            await dash.call("provider.add", name=f"p-{model}", format=form, url=url, models=[model])
            await dash.call("model.set", model=model, input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
        await dash.call("model.set", model="claude-x", capabilities=["notes"])
        given = {"task": f"`read -r _ < {gate.path}`", "driver": "embedded", "cwd": str(tmp_path)}
        said = "driver embedded speaks openai-chat, and 'claude-x' is served in the format anthropic"
        for method in ("swarm.plan", "swarm.create"):
            with pytest.raises(Refused, match=said) as refused:
                await dash.call(method, **given, model="claude-x")
            assert "models that it can call: chat-x" in refused.value.hint
            with pytest.raises(Refused, match="these capabilities in the format openai-chat"):
                await dash.call(method, **given, model={"capabilities": ["notes"]})
        assert (await dash.call("swarm.list"))["items"] == []
        assert (await dash.call("swarm.plan", **given, model={}))["model"] == "chat-x"
        plan = await dash.call("swarm.plan", **given, model="claude-x -> chat-x")
        assert plan["model"] == "chat-x"
        assert any(note.startswith("p-claude-x/claude-x is never called") for note in plan["notes"]), plan
        made = await dash.call("swarm.create", **given, model="offline", budget=1.0)
        dash.swarms.append(made["id"])
        await dash.events(made["id"], "model.call")
        with pytest.raises(Refused, match="is served in the format anthropic"):
            await dash.call("agent.set_model", agent=f"{made['id']}-001", model="claude-x")
        gate.let()
        assert (await dash.ended(made["id"]))["outcome"] == "complete"
