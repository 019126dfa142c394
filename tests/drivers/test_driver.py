"""What every driver of this build must be."""

import inspect

import pytest

from dashd.drivers import DRIVERS
from dashd.drivers.driver import Driver, OutputReader


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_a_driver_is_what_the_protocol_says(name: str) -> None:
    driver = DRIVERS[name]
    assert driver.name == name
    assert driver.pause in ("hard", "soft")
    assert 0 < driver.result_bytes_max <= 1 << 20
    assert isinstance(driver.takes_messages, bool)
    for question in ("check", "command", "reader", "ending"):
        asked, answered = getattr(Driver, question), getattr(type(driver), question)
        assert list(inspect.signature(asked).parameters) == list(inspect.signature(answered).parameters)
    reader = driver.reader()
    assert all(hasattr(reader, name) for name in vars(OutputReader) if not name.startswith("_"))
    assert driver.reader() is not reader
    assert reader.pending is False
