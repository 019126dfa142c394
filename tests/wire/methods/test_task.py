"""What a task's methods take."""

import msgspec
import pytest

from dashd.wire import methods


def decode(method, params):
    return msgspec.json.decode(params, type=methods.METHODS[method].params)


def test_a_list_has_pages():
    assert decode("task.list", b"{}").limit == 20
    with pytest.raises(msgspec.ValidationError):
        decode("task.list", b'{"limit":101}')


def test_states_are_known_words():
    assert decode("task.list", b'{"states":["dead","ready"]}').states == ["dead", "ready"]
    with pytest.raises(msgspec.ValidationError):
        decode("task.list", b'{"states":["done"]}')
