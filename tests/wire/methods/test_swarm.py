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
