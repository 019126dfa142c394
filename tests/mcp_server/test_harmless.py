"""Nothing that somebody wrote reaches a model as it was: every tool, every text of every answer poisoned."""

import contextlib

import msgspec
import pytest

from dashd.wire import errors, methods
from mcp_server import tools
from tests.fakes import daemon as fake
from tests.fakes.hostile import EVERYTHING, made, offending, poisoned

GIVEN = {
    "swarm_create": {"task": "t"},
    "swarm_get": {"swarm": fake.ID},
    "event_wait": {"since": 1},
    "agent_spawn": {"task": "t"},
    "session_fork": {"session": fake.ID, "task": "t"},
    "agent_kill": {"agent": fake.ID},
    "budget_status": {"budget": fake.ID},
    "budget_extend": {"budget": fake.ID, "usd": 1},
    "approval_resolve": {"approvals": ["ap1"], "decision": "deny"},
    "swarm_report": {"swarm": fake.ID},
}


def test_every_tool_is_here():
    assert GIVEN.keys() == tools.TOOLS.keys()


@pytest.mark.parametrize("name", GIVEN)
async def test_no_answer_lets_an_attack_through(connect, name):
    async with connect() as (dashd, tool):
        for method, row in methods.METHODS.items():
            with contextlib.suppress(msgspec.ValidationError):
                dashd.on(method, poisoned(made(row.result)))
        told = await tool.ok(name, GIVEN[name])
    assert offending("".join(texts(told))) == set()


@pytest.mark.parametrize("name", GIVEN)
async def test_no_refusal_does(connect, name):
    async with connect() as (dashd, tool):
        for method in methods.METHODS:
            wrong = errors.Conflict(EVERYTHING[:-2], hint=EVERYTHING[:-2], path=EVERYTHING[:-2])
            dashd.on(method, wrong)
        said = await tool.refused(name, GIVEN[name])
    assert offending(said) == set()
    assert "[Conflict]" in said


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
