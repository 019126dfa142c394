"""`dashctl provider …` against a scripted dashd."""

import json

import pytest

from dashctl import commands
from dashd.wire import errors
from dashd.wire.methods import provider

KEY = "sk-canary-1"
ADD = ("provider", "add", "one", "--format", "openai-chat", "--url", "https://one/v1")


def a_provider(**changes):
    made = {"name": "one", "format": "openai-chat", "url": "https://one/v1", "secret": "file"}
    return provider.Provider(**(made | {"circuit": "closed", "frozen": None, "models": 2} | changes))


def test_add_reads_the_secret_from_stdin_and_says_what_is_next(dashd, ctl):
    dashd.on("provider.add", a_provider())
    ran = ctl(*ADD, "--model", "m-1", "--model", "m-2", typed=f"{KEY}\n")
    assert ran.out.splitlines() == [
        "Provider one added: 2 priced models, secret: file",
        "Next: dashctl provider test one",
    ]
    asked = dashd.asked("provider.add")[0]
    assert (asked["secret"], asked["models"]) == (KEY, ["m-1", "m-2"])
    assert KEY not in ran.out + ran.err
    dashd.on("provider.add", a_provider(models=0))
    assert "dashctl model set NAME --provider one" in ctl(*ADD, typed=KEY).out


def test_add_without_a_secret_or_with_a_command(dashd, ctl):
    dashd.on("provider.add", a_provider(secret="none"))
    assert ctl(*ADD, "--no-secret").code == 0
    assert ctl(*ADD, "--secret-command", "pass", "one").code == 0
    without, command = dashd.asked("provider.add")
    assert "secret" not in without
    assert (command["secret_command"], "secret" in command) == (["pass", "one"], False)


@pytest.mark.parametrize("command", [["sh", "-c", "echo K"], ["pass", "--json", "one", "--no-secret"]])
def test_a_secret_command_keeps_its_options(dashd, ctl, command):
    dashd.on("provider.add", a_provider(secret="command"))
    assert ctl(*ADD, "--secret-command", *command).code == 0
    assert [each["secret_command"] for each in dashd.asked("provider.add")] == [command]


@pytest.mark.parametrize(
    ("more", "typed", "said"),
    [
        ((), "", "no secret came on stdin"),
        ((), "k" * 10_001, "longer than 10000 characters"),
        (("--no-secret", "--secret-command", "pass"), "", "contradict"),
        (("--secret-command",), KEY, "there must be a program"),
        (("--secret", KEY), "", "there is no option '--secret'"),
    ],
)
def test_add_refuses(dashd, ctl, more, typed, said):
    ran = ctl(*ADD, *more, typed=typed)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert dashd.asked("provider.add") == []


def test_list(dashd, ctl):
    dashd.on("provider.list", provider.ProviderList(providers=[]))
    assert "only pretends" in ctl("provider", "list").out
    rows = [
        a_provider(heard=True),
        a_provider(name="new"),
        a_provider(name="two", frozen="HTTP 402 \x1b[31m"),
        a_provider(circuit="open"),
    ]
    dashd.on("provider.list", provider.ProviderList(providers=rows))
    ran = ctl("provider", "list")
    assert [line.split()[-1] for line in ran.out.splitlines()[1:3]] == ["up", "unknown"]
    assert "frozen: HTTP 402" in ran.out
    assert "circuit open" in ran.out
    assert "\x1b" not in ran.out
    assert len(json.loads(ctl("provider", "list", "--json").out)) == 4


def test_test_of_all_and_its_exit_code(dashd, ctl):
    dashd.on("provider.list", provider.ProviderList(providers=[a_provider()]))
    well = provider.ProviderTested(name="one", ok=True, status=200, latency_ms=12.4, text="takes the key")
    dashd.on("provider.test", well)
    ran = ctl("provider", "test")
    assert (ran.code, ran.out) == (0, "one: ok: takes the key (12 ms)\n")
    down = provider.ProviderTested(
        name="one", ok=False, status=None, latency_ms=None, text="cannot be reached"
    )
    dashd.on("provider.test", down)
    ran = ctl("provider", "test", "one")
    assert (ran.code, ran.out) == (1, "one: not ok: cannot be reached\n")
    assert json.loads(ctl("provider", "test", "one", "--json").out)[0]["ok"] is False


def test_remove(dashd, ctl):
    dashd.on("provider.remove", provider.ProviderChanged(name="one", changed=True))
    assert ctl("provider", "remove", "one").out == "Provider one and its secret are gone\n"
    dashd.on("provider.remove", errors.NotFound("there is no provider 'noe'", hint="providers: one"))
    ran = ctl("provider", "remove", "noe")
    assert (ran.code, ran.out) == (3, "")
    assert "no provider 'noe'" in ran.err
    assert "providers: one" in ran.err


def test_every_command_of_the_module_is_tried_here():
    assert set(commands.of_module("provider")) == {"add", "list", "test", "remove"}
