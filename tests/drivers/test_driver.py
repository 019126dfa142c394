"""What every driver of this build must be."""

import inspect
import json

import pytest

from dashd.drivers import Programs, embedded_agent, over
from dashd.drivers.driver import Conversation, Driver, OutputReader, Work
from dashd.proxy import formats

DRIVERS = over(Programs())
MEASURED_BYTES = {"pi": 6_156, "openclaw": 13_840}
"""What the proxy counted of a first call of Pi 1.5.2 and OpenClaw 2026.9.6, their task a word or two."""
QUESTIONS = [name for name, each in vars(Driver).items() if inspect.isfunction(each) and name[0] != "_"]
WORK = Work((), "an item", "a task", "/", "aaaaaa", "aaaaaa-001", "aaaaaa-t1", 300.0)


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_a_driver_is_what_the_protocol_says(name: str) -> None:
    driver = DRIVERS[name]
    assert driver.name == name
    assert driver.pause in ("hard", "soft")
    assert isinstance(driver.takes_messages, bool)
    assert driver.can_ask == (name in ("embedded", "openclaw", "pi"))
    assert driver.refusals in ("embedded", "pi", "openclaw")
    assert driver.needs_model == bool(driver.formats)
    assert set(driver.formats) <= set(formats.FORMATS)
    for question in QUESTIONS:  # their names as well, which mypy lets differ and a call may give
        asked, answered = getattr(Driver, question), getattr(type(driver), question)
        assert list(inspect.signature(asked).parameters) == list(inspect.signature(answered).parameters)


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_a_driver_talks_or_reads_what_its_program_prints(name: str) -> None:
    driver = DRIVERS[name]
    printed = driver.printed
    assert (printed is None) == (driver.conversation(WORK, {}) is not None)
    if printed is not None:
        assert 0 < printed.result_bytes_max <= 1 << 20
        reader = printed.reader()
        assert all(hasattr(reader, name) for name in vars(OutputReader) if not name.startswith("_"))
        assert printed.reader() is not reader
        assert reader.pending is False


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_who_takes_messages_has_a_conversation(name: str) -> None:
    driver = DRIVERS[name]
    conversation = driver.conversation(WORK, {})
    assert (conversation is not None) >= driver.takes_messages
    if conversation is not None:
        wanted = [*vars(Conversation), "inputs", "stage", "feed", "pending"]
        assert all(hasattr(conversation, name) for name in wanted if not name.startswith("_"))
        assert conversation.starting
        assert driver.conversation(WORK, {}) is not conversation


def _embedded_bytes() -> int:
    agent = embedded_agent.Agent({"task": "do it", "item": ""}, None)
    told = {"model": "m", "messages": agent.messages, "tools": embedded_agent.TOOLS}
    return formats.FORMATS["openai-chat"].parse(json.dumps(told, ensure_ascii=False).encode()).input_bytes


@pytest.mark.parametrize("name", [name for name in sorted(DRIVERS) if DRIVERS[name].needs_model])
def test_a_first_call_is_not_larger_than_its_driver_says(name: str) -> None:
    """And not much smaller: a budget that could start it is refused below that."""
    measured = MEASURED_BYTES[name] if name in MEASURED_BYTES else _embedded_bytes()
    assert measured <= DRIVERS[name].first_bytes <= 1.35 * measured
