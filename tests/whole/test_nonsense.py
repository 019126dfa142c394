"""Nonsense about money, for every parameter of every method: said to be wrong, and nothing has changed."""

from typing import Any

import msgspec
import pytest

from dashd.wire import methods
from tests.whole.door import Refused, open_door

pytestmark = pytest.mark.slow

NOUNS = ("budget", "gateway", "instance", "key", "model", "provider")
METHODS = sorted(
    [name for name in methods.METHODS if name.partition(".")[0] in NOUNS] + ["swarm.plan", "swarm.costs"]
)
NONSENSE: list[Any] = [
    *("", " ", "nope", "💥", "a" * 20_000, "\0", "../../etc", "-1", "NaN", "\u202e"),
    *(-1, 10**30, -(10**30), 1.5, 1e308, -1e-9, None, True, [], {}, [None], {"a": -1}),
]
GOOD: dict[str, dict[str, Any]] = {
    "budget.set": {"budget": "project", "limit_usd": 5},
    "budget.extend": {"budget": "project", "usd": 1},
    "gateway.add": {"name": "one", "url": "ws://127.0.0.1:9", "token": "t", "unsafe_no_jail": True},
    "gateway.get": {"name": "nobody"},
    "gateway.health": {"name": "nobody"},
    "gateway.drain": {"name": "nobody"},
    "gateway.remove": {"name": "nobody"},
    "instance.add": {"name": "one", "program": "/usr/bin/env"},
    "instance.get": {"name": "nobody"},
    "instance.health": {"name": "nobody"},
    "instance.drain": {"name": "nobody"},
    "instance.remove": {"name": "nobody"},
    "key.create": {"name": "one", "expires_in_s": 60},
    "key.rotate": {"key": "kept"},
    "key.revoke": {"key": "nobody"},
    "model.get": {"model": "offline"},
    "model.set": {"model": "m-1", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
    "provider.add": {"name": "one", "format": "openai-chat", "url": "https://one.example.com/v1"},
    "provider.test": {"name": "nobody"},
    "provider.remove": {"name": "nobody"},
    "swarm.costs": {"swarm": "nobody"},
    "swarm.plan": {"task": "t", "driver": "embedded", "cwd": "/"},
}


async def everything(dash) -> str:
    """All that a refused call could have changed."""
    found = [
        await dash.call("budget.status", children=True),
        await dash.call("budget.history"),
        await dash.call("key.list", all=True),
        await dash.call("model.list"),
        await dash.call("provider.list"),
        await dash.call("swarm.list"),
        # What is seen of them changes by itself.
        [each["name"] for each in (await dash.call("gateway.list"))["gateways"]],
        [each["name"] for each in (await dash.call("instance.list"))["instances"]],
    ]
    return msgspec.json.encode(found).decode()


async def asked(dash, method: str, params: dict[str, Any]) -> Refused | None:
    try:
        await dash.call(method, **params)
    except Refused as refusal:
        return refusal
    return None


async def test_nonsense_is_explained_and_changes_nothing(start_daemon):
    daemon = start_daemon()
    wrong: list[Any] = []
    async with open_door(daemon.socket) as dash:
        await dash.call("budget.set", budget="project", limit_usd=100)
        await dash.call("key.create", name="kept")
        for method in METHODS:
            before = await everything(dash)
            for field in methods.METHODS[method].params.__struct_fields__:
                refused = 0
                for value in NONSENSE:
                    refusal = await asked(dash, method, GOOD.get(method, {}) | {field: value})
                    after = await everything(dash) if methods.METHODS[method].changes else before
                    if refusal is not None:
                        refused += 1
                        explained = refusal.message and refusal.hint and refusal.category != "internal_error"
                        if not explained or after != before:
                            wrong.append((method, field, value, str(refusal)))
                    before = after
                if refused < len(NONSENSE) // 2:
                    wrong.append((method, field, f"{refused} of {len(NONSENSE)} refused"))
    assert wrong == []
