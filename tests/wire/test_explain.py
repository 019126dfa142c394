"""Wrong parameters are explained by path, fault and remedy."""

import msgspec
import pytest

from dashd.wire import errors, explain, methods

TEXT = "It is a string of 1 to 10,000 characters."
AGENTS = "It is an integer from 1 to 100."
BY_NAME = 'Parameters go by name: {"name": value}.'


def explained(method: str, params: bytes) -> errors.InvalidParams:
    kind = methods.METHODS[method].params
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as caught:
        msgspec.json.decode(params, type=kind)
    return explain.invalid_params(kind, caught.value)


@pytest.mark.parametrize(
    ("method", "params", "path", "message", "hint"),
    [
        ("swarm.create", b"{}", "task", "`task` is missing.", TEXT),
        (
            "swarm.create",
            b'{"task":"x","agentz":3}',
            "agentz",
            "There is no parameter `agentz`.",
            "Did you mean `agents`?",
        ),
        ("daemon.ping", b'{"x":1}', "x", "There is no parameter `x`.", "It takes no parameters."),
        ("event.unsubscribe", b'{"zzz":1}', "zzz", "There is no parameter `zzz`.", "Known: subscription."),
        ("swarm.create", b'{"task":""}', "task", "`task` is too short.", TEXT),
        ("swarm.create", b'{"task":"x","agents":1000}', "agents", "`agents` is too large.", AGENTS),
        ("event.list", b'{"since":-1}', "since", "`since` is too small.", None),
        ("budget.export", b'{"since":1000000000000000000000}', "since", "`since` is too large.", None),
        ("swarm.create", b'{"task":"x","agents":"3"}', "agents", "`agents` may not be a string.", AGENTS),
        (
            "swarm.create",
            b'{"task":"x","items":["a",5]}',
            "items[1]",
            "`items[1]` may not be an integer.",
            "It is a string of at most 10,000 characters.",
        ),
        (
            "swarm.create",
            b'{"task":"x","items":[]}',
            "items",
            "`items` is too short.",
            "It is a list of 1 to 10,000 entries.",
        ),
        (
            "swarm.create",
            b'{"task":"x","limits":{"timeout":3}}',
            "limits.timeout",
            "There is no parameter `limits.timeout`.",
            "Did you mean `timeout_s`?",
        ),
        (
            "swarm.create",
            b'{"task":"x","limits":{"retries":99}}',
            "limits.retries",
            "`limits.retries` is too large.",
            "It is an integer from 0 to 10.",
        ),
        (
            "event.list",
            b'{"attention":1}',
            "attention",
            "`attention` may not be an integer.",
            "It is true or false.",
        ),
        ("event.list", b'{"since":1.5}', "since", "`since` may not be a number.", None),
        ("event.list", b'{"swarm":null}', "swarm", "`swarm` may not be null.", None),
        ("event.list", b"[1]", "", "`params` must be an object, not a list.", BY_NAME),
        ("event.list", b"null", "", "`params` must be an object, not null.", BY_NAME),
        ("swarm.create", b'{"task":"\xff"}', "", "The parameters are not valid UTF-8.", ""),
        ("swarm.create", b'{"task":"\\ud800"}', "", None, ""),
    ],
)
def test_explained(method, params, path, message, hint):
    error = explained(method, params)
    assert error.path == path
    assert message is None or error.message == message
    assert hint is None or error.hint == hint


def test_a_choice_names_the_nearest_and_all():
    error = explained("swarm.create", b'{"task":"x","priority":"hihg"}')
    assert error.message == "`priority` may not be 'hihg'."
    assert error.hint.startswith("Did you mean `high`? It is one of ")
    assert all(level in error.hint for level in ("critical", "high", "medium", "low"))


def test_brackets_without_end():
    error = explain.invalid_params(methods.METHODS["daemon.ping"].params, RecursionError())
    assert error.message == "The parameters are nested too deep."


def test_long_names_are_shortened():
    error = explained("daemon.ping", b'{"' + b"x" * 5_000 + b'":1}')
    assert len(error.message) < 120


def test_did_you_mean():
    assert (
        explain.did_you_mean("swarm.craete", ["swarm.create", "swarm.list"]) == "Did you mean `swarm.create`?"
    )
    assert explain.did_you_mean("zzz", ["swarm.create"], otherwise="Look.") == "Look."


def test_every_parameter_of_the_table_can_be_described():
    for method in methods.METHODS.values():
        for field in msgspec.inspect.type_info(method.params).fields:
            assert explain.describe(field.type) != "a JSON value", f"{method.name} {field.name}"
