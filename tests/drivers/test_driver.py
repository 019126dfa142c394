"""What every driver of this build must be."""

import inspect

import pytest

from dashd.drivers import DRIVERS
from dashd.drivers.driver import Conversation, Driver, OutputReader, Work


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_a_driver_is_what_the_protocol_says(name: str) -> None:
    driver = DRIVERS[name]
    assert driver.name == name
    assert driver.pause in ("hard", "soft")
    assert 0 < driver.result_bytes_max <= 1 << 20
    assert isinstance(driver.takes_messages, bool)
    assert driver.can_ask == (name in ("embedded", "openclaw", "pi"))
    assert driver.refusals in ("embedded", "pi", "openclaw")
    for question in ("check", "remarks", "command", "reader", "conversation", "ending"):
        asked, answered = getattr(Driver, question), getattr(type(driver), question)
        assert list(inspect.signature(asked).parameters) == list(inspect.signature(answered).parameters)
    reader = driver.reader()
    assert all(hasattr(reader, name) for name in vars(OutputReader) if not name.startswith("_"))
    assert driver.reader() is not reader
    assert reader.pending is False


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_who_takes_messages_has_a_conversation(name: str) -> None:
    driver = DRIVERS[name]
    work = Work((), "an item", "a task", "/", "aaaaaa", "aaaaaa-001", "aaaaaa-t1", 300.0)
    conversation = driver.conversation(work, {})
    assert (conversation is not None) >= driver.takes_messages
    if conversation is not None:
        wanted = [*vars(Conversation), "inputs", "stage", "feed", "pending"]
        assert all(hasattr(conversation, name) for name in wanted if not name.startswith("_"))
        assert conversation.starting
        assert driver.conversation(work, {}) is not conversation
