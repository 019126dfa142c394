"""The parameters of `merge.*`."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, text):
    return msgspec.json.decode(text, type=methods.METHODS[method].params)


def test_gates_are_argument_lists():
    made = decode("merge.enqueue", b'{"swarm":"a","gates":[["make","test"]]}')
    assert (made.gates, made.agents) == ([["make", "test"]], msgspec.UNSET)


@pytest.mark.parametrize(
    "more", ['"gates":["make test"]', '"gates":[[]]', '"agents":[]', '"target":"-x"', '"states":["done"]']
)
def test_what_is_none(more):
    with pytest.raises(msgspec.ValidationError):
        decode("merge.enqueue", f'{{"swarm":"a",{more}}}'.encode())
