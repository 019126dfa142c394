"""The MCP server in both eras: the story of three calls, the listing, refusals in words, and lost daemons."""

import json

import trio

from dashd.wire import errors
from dashd.wire.methods import agent, event, swarm
from mcp_server import server, tools
from tests.fakes import daemon as fake

THREE = {"task": "lint", "agents": 20, "argv": ["true"]}


async def test_a_swarm_costs_three_calls(connect, era):
    async with connect(era) as (dashd, tool):
        dashd.on(
            "event.wait", event.Events(events=[fake.an_event(9, "swarm.completed")], cursor=9, more=False)
        )
        made = await tool.ok("swarm_create", THREE)
        assert (made["id"], made["cursor"], made["deduplicated"]) == (fake.ID, 5, False)
        assert "event_wait {swarm: 7k2m9q, since: 5}" in made["hint"]
        stands = iter([fake.a_swarm(), fake.a_swarm(state="completed", tasks={"completed": 20})])
        dashd.on("swarm.get", lambda params: next(stands))
        waited = await tool.ok("event_wait", {"swarm": made["id"], "since": made["cursor"]})
        assert [found["kind"] for found in waited["events"]] == ["swarm.completed"]
        assert (waited["next"], waited["timed_out"], waited["state"]) == (9, False, "completed")
        assert "swarm_report {swarm: 7k2m9q}" in waited["hint"]
        told = await tool.ok("swarm_report", {"swarm": made["id"]})
        assert (told["outcome"], told["tasks"]) == ("partial", {"completed": 19, "dead": 1})
    (asked,) = dashd.asked("event.wait")
    assert (asked["swarm"], asked["since"], asked["attention"]) == (fake.ID, 5, True)


async def test_the_listing_is_small_and_complete(connect, era):
    async with connect(era) as (_, tool):
        listed = (await tool.client.list_tools()).tools
        assert [each.name for each in listed] == [
            "swarm_create", "swarm_get", "event_wait", "agent_spawn", "session_fork", "agent_kill",
            "budget_status", "budget_extend", "approval_resolve", "swarm_report",
        ]  # fmt: skip
        assert tool.client.instructions == server.INSTRUCTIONS
    shown = [{"name": t.name, "description": t.description, "inputSchema": t.input_schema} for t in listed]
    assert len(json.dumps(shown, separators=(",", ":"))) <= 6 * 1024
    (spawn,) = [each for each in listed if each.name == "agent_spawn"]
    assert spawn.input_schema["properties"]["parent"] == {"type": "string"}
    assert len(server.INSTRUCTIONS.encode()) <= 1024
    text = json.dumps(shown)
    for noise in ("anyOf", "$ref", "$defs", '"title"', '"null"'):
        assert noise not in text


def test_every_tool_has_all_four_annotations():
    hints = {each.name: each.annotations for each in server.listing()}
    for name, hint in hints.items():
        given = (hint.read_only_hint, hint.destructive_hint, hint.idempotent_hint, hint.open_world_hint)
        assert None not in given, name
    assert {name for name, hint in hints.items() if hint.destructive_hint} == {"agent_kill"}
    assert {name for name, hint in hints.items() if hint.read_only_hint} == {
        "swarm_get",
        "event_wait",
        "budget_status",
        "swarm_report",
    }
    assert {name for name, hint in hints.items() if hint.open_world_hint} == {
        "swarm_create",
        "agent_spawn",
        "session_fork",
    }


def unknown_swarm(params):
    return errors.UnknownSwarm(f"there is no swarm `{params.swarm}`")


async def test_an_unknown_swarm_is_answered_with_those_there_are(connect, era):
    async with connect(era) as (dashd, tool):
        dashd.on("swarm.report", unknown_swarm)
        text = await tool.refused("swarm_report", {"swarm": "nope"})
        assert text.splitlines() == [
            "swarm_report failed: there is no swarm `nope`. [UnknownSwarm]",
            "Swarms: 7k2m9q (lint, active).",
        ]
        dashd.on("swarm.list", swarm.SwarmList(items=[], next_cursor="", total=0))
        assert "start one with swarm_create" in await tool.refused("swarm_report", {"swarm": "nope"})


async def test_an_unknown_agent_is_answered_with_its_swarms_agents(connect):
    async with connect() as (dashd, tool):
        dashd.on("agent.kill", errors.UnknownAgent("there is no agent `7k2m9q-9`", hint="ids are long"))
        dashd.on("agent.list", agent.AgentList(items=[fake.an_agent()], next_cursor="", total=20))
        text = await tool.refused("agent_kill", {"agent": "7k2m9q-9"})
        assert dashd.asked("agent.list") == [{"swarm": "7k2m9q", "limit": server.AGENTS_SHOWN_MAX}]
        dashd.on("agent.list", unknown_swarm)
        other = await tool.refused("agent_kill", {"agent": "nope"})
    assert text.splitlines()[1:] == ["Agents of 7k2m9q: 7k2m9q-001 (running) and 19 more."]
    assert "Swarms: 7k2m9q" in other


async def test_an_error_does_not_wait_long_for_the_ids(connect, autojump_clock):
    async with connect() as (dashd, tool):
        dashd.on("swarm.report", unknown_swarm)
        dashd.on("swarm.list", fake.wait_for_ever)
        with trio.fail_after(server.LISTING_S_MAX + 1):
            assert "there is no swarm" in await tool.refused("swarm_report", {"swarm": "nope"})


async def test_bad_arguments_are_all_named_in_our_own_words(connect, era):
    async with connect(era) as (dashd, tool):
        text = await tool.refused("swarm_create", {"tsk": "x", "agents": "many", "retries": 11})
    for part in (
        "task is missing: a string of 1 to 10,000 characters",
        "'tsk' is not an argument; did you mean task?",
        "agents must be an integer from 1 to 100, not 'many'",
        "retries must be an integer from 0 to 10, not 11",
        "The arguments are: task (required), agents, items",
    ):
        assert part in text
    assert "pydantic" not in text
    assert dashd.received == []


async def test_an_unknown_tool_is_answered_with_the_tools(connect, era):
    async with connect(era) as (_, tool):
        assert "The tools are: swarm_create, swarm_get" in await tool.refused("swarm_explode")


async def test_hints_and_paths_of_dashd_reach_the_model(connect):
    async with connect() as (dashd, tool):
        dashd.on("swarm.create", errors.Unsupported("not built in", path="driver", hint="drivers: command"))
        text = await tool.refused("swarm_create", THREE)
    assert text == "swarm_create failed: not built in. (argument driver) [Unsupported]\ndrivers: command."


async def test_without_a_daemon_the_error_comes_at_once_and_says_what_to_run(connect, era):
    async with connect(era) as (dashd, tool):
        await dashd.die()
        with trio.fail_after(1):
            text = await tool.refused("swarm_create", THREE)
        assert "no dashd answers at" in text
        assert "dashctl up" in text
        await dashd.live()
        assert (await tool.ok("swarm_create", THREE))["id"] == fake.ID


async def test_a_wait_survives_a_restart_of_dashd(connect, era, autojump_clock):
    """It goes on from the same cursor, for the rest of its time."""
    async with connect(era) as (dashd, tool), trio.open_nursery() as nursery:
        got = {}

        async def wait():
            got.update(await tool.ok("event_wait", {"swarm": fake.ID, "since": 5, "timeout_s": 40}))

        nursery.start_soon(wait)
        await dashd.wait_asked("event.wait")
        await dashd.die()
        await trio.sleep(5)
        dashd.on("event.wait", event.Events(events=[fake.an_event(6)], cursor=6, more=False))
        await dashd.live()
    first, second = dashd.asked("event.wait")
    assert got["next"] == 6
    assert (first["since"], second["since"]) == (5, 5)
    assert first["timeout_s"] == 40
    assert 30 < second["timeout_s"] <= 35


async def test_a_create_that_broke_is_repeated_with_its_key(connect, autojump_clock):
    async with connect() as (dashd, tool), trio.open_nursery() as nursery:
        dashd.on("swarm.create", fake.wait_for_ever)
        nursery.start_soon(tool.ok, "swarm_create", THREE)
        await dashd.wait_asked("swarm.create")
        await dashd.die()
        dashd.on("swarm.create", fake.created(deduplicated=True))
        await dashd.live()
    first, second = dashd.asked("swarm.create")
    assert first == second
    assert first["idempotency_key"] == "key-1"


async def test_a_dashd_that_stays_away_is_an_error_after_a_while(connect, autojump_clock):
    async with connect() as (dashd, tool):
        await tool.ok("swarm_get", {"swarm": fake.ID})
        await dashd.die()
        started = trio.current_time()
        text = await tool.refused("swarm_get", {"swarm": fake.ID})
    assert "no dashd answers" in text
    assert 15 <= trio.current_time() - started < 17


async def test_a_cancelled_wait_is_cancelled_at_dashd(connect, era):
    with trio.fail_after(5):
        async with connect(era) as (dashd, tool):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tool.ok, "event_wait", {"swarm": fake.ID})
                await dashd.wait_asked("event.wait")
                nursery.cancel_scope.cancel()
            await dashd.wait_cancelled("event.wait")
            assert (await tool.ok("swarm_get", {"swarm": fake.ID}))["id"] == fake.ID


async def test_a_waiting_client_hears_that_we_live_and_not_too_often(connect, era, autojump_clock):
    heard = []

    async def note(progress, total, message):
        heard.append((progress, total))

    async def wait(params):
        await trio.sleep(params.timeout_s)
        return event.Events(events=[], cursor=5, more=False, timed_out=True)

    async with connect(era) as (dashd, tool):
        dashd.on("event.wait", wait)
        answer = await tool.ok("event_wait", {"swarm": fake.ID, "timeout_s": 35}, progress_callback=note)
    assert heard == [(10, 35), (20, 35), (30, 35)]
    assert (answer["timed_out"], answer["next"]) == (True, 5)
    assert "event_wait {swarm: 7k2m9q, since: 5}" in answer["hint"]


async def test_the_wait_fits_the_client(connect):
    async def longest(name):
        async with connect(client_name=name) as (dashd, tool):
            dashd.on("event.wait", event.Events(events=[], cursor=5, more=False, timed_out=True))
            await tool.ok("event_wait", {"swarm": fake.ID, "timeout_s": 3600})
            await tool.ok("event_wait", {"swarm": fake.ID})
            return [round(asked["timeout_s"]) for asked in dashd.asked("event.wait")]

    assert await longest("claude-code") == [170, 50]
    assert await longest("codex-mcp-client") == [150, 50]
    assert await longest("anything else") == [50, 50]


def test_what_is_known_of_clients_never_shortens_the_default():
    assert all(wait_s >= tools.WAIT_S for wait_s in tools.WAIT_S_MAX.values())
