"""The parameters of `program.*`."""

import msgspec
import pytest

from dashd.wire import methods


def test_an_installation_changes_something_and_looking_does_not():
    assert methods.METHODS["program.install"].changes
    assert methods.METHODS["program.install"].idempotent
    assert not methods.METHODS["program.list"].changes
    assert not methods.METHODS["program.check"].changes


@pytest.mark.parametrize("text", [b"{}", b'{"name":""}', b'{"name":"pi","version":"1"}'])
def test_a_program_has_a_name_and_dash_pins_its_version(text):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=methods.METHODS["program.install"].params)
