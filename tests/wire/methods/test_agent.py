"""What an agent's methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_an_agent_needs_only_a_task():
    spawn = decode("agent.spawn", b'{"task":"lint"}')
    assert (spawn.task, spawn.swarm, spawn.item) == ("lint", msgspec.UNSET, "")


def test_killing_leaves_the_task_cancelled_unless_asked():
    assert decode("agent.kill", b'{"agent":"a"}').requeue is False


@pytest.mark.parametrize("params", [b"{}", b'{"agent":""}', b'{"agent":3}', b'{"agent":"a","force":true}'])
def test_an_agent_is_named_by_id(params):
    with pytest.raises(msgspec.ValidationError):
        decode("agent.get", params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("agent.spawn", {"task": "t"}),
        ("agent.spawn", {"task": "t", "swarm": "s", "item": "x", "priority": "critical"}),
        ("agent.list", {"swarm": "s", "states": ["idle", "killed"]}),
        ("agent.kill", {"agent": "a", "requeue": True}),
        ("agent.logs", {"agent": "a", "attempt": 1, "offset": 0, "bytes_max": 1, "wait_s": 60.0}),
        ("agent.logs", {"agent": "a", "stream": "stderr"}),
        ("agent.message", {"agent": "a", "text": "hello"}),
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
        ("agent.spawn", {}),
        ("agent.spawn", {"task": "t", "agents": 2}),
        ("agent.list", {"states": ["waiting"]}),
        ("agent.kill", {"agent": "a", "requeue": "yes"}),
        ("agent.logs", {"agent": "a", "attempt": 0}),
        ("agent.logs", {"agent": "a", "offset": -1}),
        ("agent.logs", {"agent": "a", "bytes_max": 0}),
        ("agent.logs", {"agent": "a", "bytes_max": 1_048_577}),
        ("agent.logs", {"agent": "a", "wait_s": 61}),
        ("agent.logs", {"agent": "a", "stream": "stdin"}),
        ("agent.message", {"agent": "a", "text": ""}),
        ("agent.get", {}),
    ],
)
def test_it_refuses(method: str, params: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(method, msgspec.json.encode(params))


def test_every_reason_to_wait_can_be_said() -> None:
    """The words of `domain.waiting` and of the wire are the same."""
    import re
    from pathlib import Path
    from typing import get_args

    from dashd.domain import waiting
    from dashd.wire.methods import agent

    source = Path(waiting.__file__).read_text()
    said = set(re.findall(r'Waiting\(\s*"(\w+)"', source))
    said |= set(get_args(waiting.Facts.__annotations__["call"])) - {""}
    assert said == set(get_args(agent.Waiting))
