"""The parameters of `worktree.*`, `swarm.land` and `agent.diff`."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, text):
    return msgspec.json.decode(text, type=methods.METHODS[method].params)


def test_what_is_not_said():
    assert decode("agent.diff", b'{"agent":"a"}').patch_bytes == 65_536
    assert decode("worktree.cleanup", b'{"worktree":"a"}').give_up is False
    assert decode("swarm.land", b'{"swarm":"a"}').onto is msgspec.UNSET


@pytest.mark.parametrize("ref", ["-x", "a b", "a\\n", "", "\\u007f"])
def test_what_is_no_ref(ref):
    with pytest.raises(msgspec.ValidationError):
        decode("swarm.land", f'{{"swarm":"a","onto":"{ref}"}}'.encode())


@pytest.mark.parametrize("ref", ["main", "HEAD~2", "v1.0", "feature/ü"])
def test_what_is_one(ref):
    assert decode("swarm.plan", f'{{"task":"t","base":"{ref}"}}'.encode()).base == ref
