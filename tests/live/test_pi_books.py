"""The real Pi's costs: the books agree to the token, whatever happens to an agent or to its calls."""

import pytest
import trio

from tests.fakes.provider import MODEL, Act
from tests.live.scenes import DONE, acts, end_node, pids_of, result, scene
from tests.live.stepping import Stepping, item_of
from tests.whole import door

pytestmark = pytest.mark.live


def _rows(rows: list[dict], agent: str, *, confirmed: bool) -> list[tuple[int, int]]:
    of_agent = [row for row in rows if row["agent"] == agent and row["confirmed"] is confirmed]
    return sorted((row["input_tokens"], row["output_tokens"]) for row in of_agent)


@pytest.mark.parametrize("what", ["nothing", "broken off", "killed in a tool", "ended in a tool"])
async def test_the_ledger_is_the_model_s_own_count_to_the_token(start_daemon, tmp_path, what) -> None:
    """Three agents at once: one is interfered with while its tool works, and no call of theirs is cut."""
    model = Stepping(DONE, tool="bash", wait="sleep 1")
    async with scene(start_daemon(), tmp_path, model, within_s=120.0) as on:
        swarm = await on.swarm("step {item}", agents=3, items=["i1", "i2", "i3"])
        while not (tmp_path / "i1.marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
        (task, *_) = (await on.dash.call("task.list", swarm=swarm))["items"]
        agent = task["agent"]
        match what:
            case "broken off":
                await on.dash.call("agent.message", agent=agent, text="mind the gap", when="now")
            case "killed in a tool":
                end_node(agent)
            case "ended in a tool":
                await on.dash.call("agent.kill", agent=agent)
        report = await on.dash.ended(swarm)
        completed = 2 if what == "ended in a tool" else 3
        assert report["tasks"]["completed"] == completed, report
        rows = await on.calls(swarm)
        asked = {item_of(body) for body in model.bodies}
        assert len(asked) == 3
        for item in asked:
            who = {each["agent"] for each in (await on.dash.call("task.list", swarm=swarm))["items"]
                   if each["item"] == item}  # fmt: skip
            (name,) = who
            assert _rows(rows, name, confirmed=True) == sorted(model.used[item]), item
            assert _rows(rows, name, confirmed=False) == []
        await on.balanced(swarm)
        for item in asked - ({"i1"} if what == "ended in a tool" else set()):
            assert (tmp_path / f"{item}.marks").read_text().split() == ["1", "2", "3"]


@pytest.mark.parametrize("answers_s", [3.0, 60.0], ids=["it answers soon", "it does not"])
@pytest.mark.parametrize("what", ["broken off", "killed", "ended"])
async def test_a_call_whose_caller_has_gone(start_daemon, tmp_path, what, answers_s) -> None:
    """It is listened to for a while: then it is booked to the token like the others, or shown apart as
    unconfirmed, and not below what is billed.
    """
    model = Stepping(DONE, tool="bash", wait="true")
    slow = trio.Event()
    script = model.script

    def stalls(number: int) -> Act:
        act = script(number)
        return Act(delay_s=answers_s) if number == 2 else act

    model.script = stalls
    async with scene(start_daemon(), tmp_path, model, within_s=120.0) as on:

        async def note() -> None:
            if model.calls == 3:
                slow.set()

        model.on_call = note
        swarm = await on.swarm("step {item}", items=["i1"])
        await slow.wait()
        agent = f"{swarm}-001"
        match what:
            case "broken off":
                await on.dash.call("agent.message", agent=agent, text="mind the gap", when="now")
            case "killed":
                end_node(agent)
            case "ended":
                await on.dash.call("agent.kill", agent=agent)
        await on.dash.ended(swarm)
        node = await on.settled(swarm)
        rows = await on.calls(swarm)
        cut = [row for row in rows if not row["confirmed"]]
        complete = model.used["i1"] if answers_s < 10 else model.used["i1"][:2] + model.used["i1"][3:]
        assert _rows(rows, agent, confirmed=True) == sorted(complete)
        assert len(cut) == (0 if answers_s < 10 else 1)
        await (on.not_below(swarm) if cut else on.balanced(swarm))
        assert node["unconfirmed_usd"] == pytest.approx(sum(row["usd"] for row in cut))
        marks = (tmp_path / "i1.marks").read_text().split()
        assert marks == (["1", "2"] if what == "ended" else ["1", "2", "3"])
        assert pids_of(agent) == []


async def test_it_calls_a_model_that_is_served_in_anthropics_format_alone(start_daemon, tmp_path) -> None:
    """It is told that format when it starts, and while it runs its model is swapped within that alone."""
    look = Act(text="I look.", tool=("bash", {"command": "echo hi > note.txt; sleep 1"}))
    async with scene(start_daemon(), tmp_path, acts(look, DONE), form="anthropic") as on:
        for name, form in (("other", "anthropic"), ("chatty", "openai-chat")):
            given = {"name": name, "format": form, "url": on.provider.url, "models": [name]}
            await on.dash.call("provider.add", **given)
            await on.dash.call("model.set", model=name, input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
        swarm = await on.swarm()
        agent = f"{swarm}-001"
        await on.dash.events(swarm, "agent.progress")
        with pytest.raises(door.Refused, match="'chatty' is served in the format openai-chat"):
            await on.dash.call("agent.set_model", agent=agent, model="chatty")
        await on.dash.call("agent.set_model", agent=agent, model="other")
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        assert (tmp_path / "note.txt").read_text() == "hi\n"
        assert [body["model"] for body in on.provider.bodies] == [MODEL, "other"]
        assert all("system" in body for body in on.provider.bodies)  # which is Anthropic's
        await on.balanced(swarm)
