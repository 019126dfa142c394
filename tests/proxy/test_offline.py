"""The stand-in: the same messages give the same answer, it runs its commands one by one, and keeps a bill."""

import json
from typing import Any

import pytest
import trio

from dashd.domain import prices
from dashd.drivers import embedded_agent
from dashd.proxy.offline import GREEDY_STEPS, STAND_IN, Billed, OfflineModel
from dashd.proxy.prices import OFFLINE_PRICE
from dashd.proxy.upstream import Request, UpstreamBroken

TASK = "Task: count with `wc -l {item} > out.txt` and then `cat out.txt`.\nYour item: a b.txt\nFolder: /x"


async def called(
    model: OfflineModel, messages: list[dict[str, Any]], *, tools: bool = True, limit: int = 4_000
) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": messages, "max_completion_tokens": limit}
    if tools:
        body["tools"] = embedded_agent.TOOLS
    request = Request("offline", "openai-chat", "", {}, json.dumps(body).encode(), stream=False)
    answer = await model.send(request)
    assert request.sent
    data = await answer.receive()
    assert await answer.receive() == b""
    await answer.aclose()
    return json.loads(data)


async def worked(task: str, model: OfflineModel | None = None) -> tuple[list[str], dict[str, Any]]:
    """(commands it ran, what it finished with), each command answered by its own text."""
    model = model or OfflineModel()
    messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": task}]
    commands: list[str] = []
    for _ in range(60):
        message = (await called(model, messages))["choices"][0]["message"]
        messages.append(message)
        (call,) = message["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        if call["function"]["name"] == "finish":
            return commands, arguments
        commands.append(arguments.get("command", call["function"]["name"]))
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"did {len(commands)}"})
    raise AssertionError("it did not finish")


async def test_it_runs_each_command_with_its_item_and_finishes():
    commands, finish = await worked(TASK)
    assert commands == ["wc -l 'a b.txt' > out.txt", "cat out.txt"]
    assert finish["files_changed"] == ["out.txt"]
    assert STAND_IN in finish["summary"]
    assert "did 2" in finish["summary"]


async def test_without_commands_it_looks_around():
    commands, finish = await worked("Task: think")
    assert commands == ["list"]
    assert STAND_IN in finish["summary"]


async def test_a_greedy_task_is_long_and_dear():
    modest, greedy = OfflineModel(), OfflineModel()
    await worked(TASK, modest)
    commands, _ = await worked(f"{TASK} Explain at length.", greedy)
    assert len(commands) == GREEDY_STEPS
    assert "cat out.txt" not in commands, "it never comes to the last of them"
    assert greedy.bill_nusd > 100 * modest.bill_nusd


async def test_without_tools_it_answers_in_words_and_says_what_it_is():
    said = await called(OfflineModel(), [{"role": "user", "content": "hello"}], tools=False)
    message = said["choices"][0]["message"]
    assert message["content"].startswith(STAND_IN)
    assert "tool_calls" not in message
    assert said["model"] == "offline"


async def test_the_same_messages_give_the_same_answer():
    first, second = [await called(OfflineModel(), [{"role": "user", "content": TASK}]) for _ in range(2)]
    assert first == second


@pytest.mark.parametrize("limit", [1, 5, 20, 300])
async def test_it_keeps_its_output_limit(limit: int):
    for task in (TASK, f"{TASK} at length", "hi"):
        for tools in (False, True):
            said = await called(OfflineModel(), [{"role": "user", "content": task}], tools=tools, limit=limit)
            assert 1 <= said["usage"]["completion_tokens"] <= limit
            for call in said["choices"][0]["message"].get("tool_calls", ()):
                json.loads(call["function"]["arguments"])


async def test_its_bill_is_what_its_usage_says():
    lines: list[Billed] = []
    model = OfflineModel(billed=lines.append)
    used = (await called(model, [{"role": "user", "content": TASK}]))["usage"]
    (line,) = lines
    assert (line.usage.input, line.usage.output) == (used["prompt_tokens"], used["completion_tokens"])
    assert line.item == "a b.txt"
    assert model.bill_nusd == line.nusd == prices.cost(line.usage, OFFLINE_PRICE)


async def test_a_staged_outage_costs_nothing_and_ends():
    down = {"offline"}
    model = OfflineModel(is_down=down.__contains__)
    for _ in range(2):
        request = Request("offline", "openai-chat", "", {}, b'{"messages":[]}', stream=False)
        with pytest.raises(UpstreamBroken, match="an outage, staged"):
            await model.send(request)
        assert not request.sent
    assert model.bill_nusd == 0
    down.clear()
    await called(model, [{"role": "user", "content": "x"}])
    assert model.calls["offline"] == 3
    assert model.bill_nusd > 0


async def test_it_thinks_and_paces_as_told(autojump_clock: trio.testing.MockClock):
    model = OfflineModel(think_s=2, pace_s=0.5)
    began = trio.current_time()
    body = b'{"messages":[{"role":"user","content":"hi"}]}'
    answer = await model.send(Request("offline", "openai-chat", "", {}, body, stream=True))
    assert trio.current_time() - began == pytest.approx(2)
    pieces = 0
    while await answer.receive():
        pieces += 1
    assert trio.current_time() - began == pytest.approx(2 + 0.5 * (pieces + 1))
