"""What a swarm's methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_a_swarm_needs_only_a_task():
    create = decode("swarm.create", b'{"task":"lint"}')
    assert (create.agents, create.priority, create.strategy, create.lease_s) == (
        1,
        "medium",
        "parallel",
        120.0,
    )


@pytest.mark.parametrize("agents", [0, 101])
def test_a_swarm_has_1_to_100_agents(agents):
    with pytest.raises(msgspec.ValidationError):
        decode("swarm.create", b'{"task":"x","agents":%d}' % agents)


def test_a_task_has_1_to_10_000_characters_of_any_kind():
    odd = "; rm -rf / $(x) \u00e9\n" * 400
    assert decode("swarm.create", msgspec.json.encode({"task": odd})).task == odd
    with pytest.raises(msgspec.ValidationError):
        decode("swarm.create", msgspec.json.encode({"task": "x" * 10_001}))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("swarm.create", {"task": "t"}),
        ("swarm.create", {"task": "t" * 10_000, "agents": 100, "items": [""] * 10_000, "lease_s": 0.5}),
        ("swarm.create", {"task": "x; rm -rf $(y) | `z` > &", "name": "n" * 100, "priority": "low"}),
        ("swarm.create", {"task": "t", "argv": ["a", ""], "cwd": "/", "limits": {"retries": 0}}),
        ("swarm.list", {"states": ["active"], "limit": 100}),
        ("swarm.scale", {"swarm": "s", "agents": 1}),
        ("swarm.report", {"swarm": "s", "detail": "full"}),
    ],
)
def test_it_takes(method: str, params: dict) -> None:
    decoded = decode(method, msgspec.json.encode(params))
    for name, value in params.items():
        assert msgspec.to_builtins(getattr(decoded, name)) == value
    # What was left out is left out again on its way to a daemon.
    assert set(msgspec.to_builtins(decoded)) <= set(params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("swarm.create", {}),
        ("swarm.create", {"task": ""}),
        ("swarm.create", {"task": "t" * 10_001}),
        ("swarm.create", {"task": None}),
        ("swarm.create", {"task": "t", "agents": 0}),
        ("swarm.create", {"task": "t", "agents": 101}),
        ("swarm.create", {"task": "t", "agents": "5"}),
        ("swarm.create", {"task": "t", "agents": 1.5}),
        ("swarm.create", {"task": "t", "items": []}),
        ("swarm.create", {"task": "t", "items": ["x"] * 10_001}),
        ("swarm.create", {"task": "t", "items": ["x" * 10_001]}),
        ("swarm.create", {"task": "t", "items": "abc"}),
        ("swarm.create", {"task": "t", "argv": []}),
        ("swarm.create", {"task": "t", "argv": "true"}),
        ("swarm.create", {"task": "t", "name": ""}),
        ("swarm.create", {"task": "t", "name": "n" * 101}),
        ("swarm.create", {"task": "t", "priority": "urgent"}),
        ("swarm.create", {"task": "t", "strategy": "swarm"}),
        ("swarm.create", {"task": "t", "lease_s": -1}),
        ("swarm.create", {"task": "t", "idempotency_key": ""}),
        ("swarm.create", {"task": "t", "limits": {"retry": 1}}),
        ("swarm.list", {"limit": 0}),
        ("swarm.list", {"limit": 101}),
        ("swarm.list", {"states": ["gone"]}),
        ("swarm.get", {"swarm": ""}),
        ("swarm.get", {"swarm": "s" * 65}),
        ("swarm.scale", {"swarm": "s"}),
        ("swarm.scale", {"swarm": "s", "agents": 0}),
        ("swarm.report", {"swarm": "s", "detail": "short"}),
    ],
)
def test_it_refuses(method: str, params: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(method, msgspec.json.encode(params))
