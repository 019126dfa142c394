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
